"""The drop of a metric of one's own, and how sure it is, from the same samples drawn again and again.

No bound holds for whatever function: this one is the 95th percentile of the drop over 200 seeded resamples of the groups
(Efron, Annals of Statistics 7, 1979). It is too narrow where groups are few, and 0 where no resample shows a drop. Knows no
plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

import numpy as np

from splitinfer.build.bounds import CONFIDENCE
from splitinfer.build.metric import Metric, Rows, call, metric_name
from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors

_RESAMPLES = 200
_DEFINED = 0.5
"""The least share of the resamples that must have a score. Some may have none (one class only)."""


@dataclass(frozen=True)
class Resampled:
    """A metric of the uncut model, to hold plans against.

    Attributes:
        metric: of the task.
        wanted: outputs of the uncut model.
        labels: one a sample; None = the metric is given `wanted` instead.
        groups: index of the group of each sample.

    Raises:
        InvalidInput: the uncut model's own answers have no score.
    """

    metric: Metric
    wanted: Rows
    labels: Array | None
    groups: Array

    def __post_init__(self) -> None:
        if not isfinite(self.uncut):
            raise InvalidInput(f"the metric {metric_name(self.metric)} gave {self.uncut} for the uncut model: no finite number")

    @cached_property
    def uncut(self) -> float:
        """Score of the uncut model."""
        return self._score(self.wanted, self._every)

    def drop(self, got: Rows) -> tuple[float, float]:
        """How much lower a plan scores, at least 0, and a bound. A plan whose answers have no score scores 0."""
        drops = [before - self._or_zero(got, rows) for before, rows in self._drawn]
        loss = max(0.0, self.uncut - self._or_zero(got, self._every))
        return loss, max(loss, float(np.quantile(drops, CONFIDENCE)))

    @cached_property
    def _every(self) -> Array:
        return np.arange(len(self.groups))

    @cached_property
    def _drawn(self) -> list[tuple[float, Array]]:
        """Samples of as many groups as there are, drawn with replacement, and the score of the uncut model on them."""
        members = [np.nonzero(self.groups == group)[0] for group in range(int(self.groups.max()) + 1)]
        random = np.random.default_rng(0)
        draws = (random.integers(0, len(members), len(members)) for _ in range(_RESAMPLES))
        tried = (np.concatenate([members[group] for group in draw]) for draw in draws)
        found = [(score, rows) for rows in tried if (score := self._or_none(rows)) is not None]
        if len(found) < _DEFINED * _RESAMPLES:
            raise InvalidInput(f"the metric {metric_name(self.metric)} has no score for most resamples: give more samples")
        return found

    def _or_none(self, rows: Array) -> float | None:
        try:
            score = self._score(self.wanted, rows)
        except InvalidInput:
            return None
        return score if isfinite(score) else None

    def _or_zero(self, got: Rows, rows: Array) -> float:
        score = self._score(got, rows)
        return score if isfinite(score) else 0.0

    def _score(self, outputs: Rows, rows: Array) -> float:
        labels = _taken(self.wanted, rows) if self.labels is None else self.labels[rows]
        return call(self.metric, _taken(outputs, rows), labels)


def has_rows(outputs: Tensors, samples: int) -> bool:
    """Whether axis 0 of every output is that of the samples."""
    return all(array.shape[:1] == (samples,) for array in outputs.values())


def stacked(parts: Sequence[Tensors]) -> dict[str, Array]:
    """Batches one after the other along axis 0; a single one may hold scalars."""
    return dict(parts[0]) if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_sample(runs: Sequence[Tensors], samples: Sequence[int]) -> Rows:
    """Outputs by sample: rows of one array, or one array each where a run is of one sample and has no row for it."""
    if all(map(has_rows, runs, samples)):
        return stacked(runs)
    return {name: [run[name] for run in runs] for name in runs[0]}


def _taken(rows: Rows, index: Array) -> Rows:
    return {name: each[index] if isinstance(each, np.ndarray) else [each[at] for at in index] for name, each in rows.items()}
