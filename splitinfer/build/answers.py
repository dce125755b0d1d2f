"""What counts as an answer, and how many of them a plan changes or spoils.

What belongs together (crops of one photo, windows of one recording) counts as one: a group's loss is the mean over its samples,
a plan's the mean over the groups, and the bound is over as many draws as there are groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from splitinfer.build.bounds import drop_bound, share_bound
from splitinfer.build.divergence import divergence
from splitinfer.build.metric import Metric, metric_name
from splitinfer.build.resample import Resampled, by_sample, has_rows
from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors

MOVED = 0.01
"""A model with one number an item gives another answer when that number moves by more than this share of the largest."""


@dataclass(frozen=True)
class Judge:
    """Compares the answers of a plan with those of the uncut model.

    Attributes:
        wanted: outputs of the uncut model, run by run.
        samples: how many samples went into each run.
        labels: one a sample; None = compare with the uncut model only.
        metric: of the task; None = share of right labels, or of equal answers.
        group_of: the group of each sample; None = each stands for itself.

    Raises:
        InvalidInput: there are labels, but not one answer for each; or the metric fails on the uncut model's own answers.
    """

    wanted: Sequence[Tensors]
    samples: Sequence[int]
    labels: Array | None = None
    metric: Metric | None = None
    group_of: Array | None = None

    def __post_init__(self) -> None:
        plain = self.metric is None and self.labels is not None and self.labels.ndim > 1
        judged = self.metric is not None or self.labels is not None
        if plain or (judged and not all(map(self._one_each, self.wanted, self.samples))):
            raise InvalidInput(
                "labels and answers do not go in pairs: this needs one number a label, and outputs with one row a sample"
            )
        _ = self._resampled  # a metric that fails is to be known before anything is measured

    def _one_each(self, outputs: Tensors, samples: int) -> bool:
        if self.metric is None:
            return answers(outputs, samples).shape == (samples,)
        return samples == 1 or has_rows(outputs, samples)

    @property
    def name(self) -> str:
        """What a loss means here."""
        if self.metric is not None:
            return metric_name(self.metric)
        return "agreement" if self.labels is None else "accuracy"

    @property
    def n(self) -> int:
        """Answers that are compared."""
        return len(self._group_of_answer)

    @property
    def groups(self) -> int:
        """Groups that they belong to; 0 = each stands for itself."""
        return 0 if self.group_of is None else len(np.unique(self.group_of))

    def loss(self, got: Sequence[Tensors]) -> tuple[float, float]:
        """Loss of a plan, and its upper bound.

        Without labels: the share of answers that differ. With labels: the drop of the share of right ones, which counts the
        answers that became right against those that became wrong. With a metric: its drop, and the 95th percentile of the drop
        over resamples of the groups (`build.resample`).

        Args:
            got: outputs with the plan, run by run.
        """
        if self._resampled is not None:
            return self._resampled.drop(by_sample(got, self.samples))
        before, after = self._answers(self.wanted), self._answers(got)
        if self.labels is None:
            changed = self._by_group(differs(after, before))
            return float(changed.mean()), share_bound(changed)
        right, still = ((np.concatenate(found) == self.labels).astype(np.int64) for found in (before, after))
        lost = self._by_group(right - still)
        return max(0.0, float(lost.mean())), drop_bound(lost)

    def divergence(self, got: Sequence[Tensors]) -> float | None:
        """How far the answers are from the uncut model's (`build.divergence`), a group counting as one."""
        after, before = ([_answering(run) for run in runs] for runs in (got, self.wanted))
        items = [len(found) for found in self._answers(self.wanted)]
        found = divergence(after, before, items, classifies=self.metric is None)
        return None if found is None else float(self._by_group(found).mean())

    def _answers(self, runs: Sequence[Tensors]) -> list[Array]:
        return [answers(outputs, n) for outputs, n in zip(runs, self.samples, strict=True)]

    @cached_property
    def _group_of_answer(self) -> Array:
        """The group of each answer, as an index; of one that is of several samples, that of the first."""
        ends = np.cumsum(self.samples)
        counts = [len(found) for found in self._answers(self.wanted)]
        at = [end - n + np.arange(count) for end, n, count in zip(ends, self.samples, counts, strict=True)]
        index = np.concatenate(at)
        return np.arange(len(index)) if self.group_of is None else np.unique(self.group_of[index], return_inverse=True)[1]

    def _by_group(self, values: Array) -> Array:
        """The mean of each group."""
        return np.bincount(self._group_of_answer, weights=values) / np.bincount(self._group_of_answer)

    @cached_property
    def _resampled(self) -> Resampled | None:
        if self.metric is None:
            return None
        groups = np.arange(sum(self.samples)) if self.group_of is None else np.unique(self.group_of, return_inverse=True)[1]
        return Resampled(self.metric, by_sample(self.wanted, self.samples), self.labels, groups)


def answers(outputs: Tensors, samples: int) -> Array:
    """One answer a sample; one for all of them where axis 0 of the output is not theirs (a scalar, the finds of a detector).

    Of the first float output the place of the largest number, or the number where there is only one. Without a float output:
    what the first output holds.
    """
    first = _answering(outputs)
    rows = first.reshape(samples if first.shape[:1] == (samples,) else 1, -1)
    if rows.shape[1] == 1:
        return rows[:, 0]
    return np.asarray(rows.argmax(axis=1)) if rows.dtype.kind == "f" and rows.size else rows


def _answering(outputs: Tensors) -> Array:
    """The output that answers are read from."""
    return next((array for array in outputs.values() if array.dtype.kind == "f"), next(iter(outputs.values())))


def differs(got: Sequence[Array], wanted: Sequence[Array]) -> Array:
    """Whether each answer differs, run by run. Numbers must move; where the shape is another one, all differ."""
    floats = [np.abs(found).max(initial=0.0) for found in wanted if found.dtype.kind == "f"]
    slack = MOVED * float(np.max(floats, initial=0.0))
    return np.concatenate([_differs(after, before, slack) for after, before in zip(got, wanted, strict=True)])


def _differs(got: Array, wanted: Array, slack: float) -> Array:
    if got.shape != wanted.shape:
        return np.ones(len(wanted), bool)
    numbers = wanted.dtype.kind == "f"
    same = np.abs(got.astype(np.float64) - wanted.astype(np.float64)) <= slack if numbers else got == wanted
    return np.asarray(~same.reshape(len(wanted), -1).all(axis=1))


def check_labels(labels: Array, samples: int) -> None:
    """Refuses labels that do not belong to the samples.

    Raises:
        InvalidInput: another number of them.
    """
    if len(labels) != samples:
        raise InvalidInput(f"there are {len(labels)} labels for {samples} samples: give one a sample")
