"""What counts as an answer, how many of them changed, and how sure that is.

The bound is one-sided at 95 %: with so few samples, the true share of changed answers is no larger than this in 95 of 100
cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lgamma, log, log1p

import numpy as np

from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors

Metric = Callable[[Tensors, Array], float]
"""(outputs, labels) -> score, higher is better."""

MOVED = 0.01
"""A model with one number an item gives another answer when that number moves by more than this share of the largest."""
_RESAMPLES = 200


@dataclass(frozen=True)
class Judge:
    """Compares the answers of a plan with those of the uncut model.

    Attributes:
        wanted: outputs of the uncut model, run by run.
        samples: how many samples went into each run.
        labels: one a sample; None = compare answers only.
        metric: of the task; None = share of right labels.

    Raises:
        InvalidInput: there are labels, but not one answer for each.
    """

    wanted: Sequence[Tensors]
    samples: Sequence[int]
    labels: Array | None = None
    metric: Metric | None = None

    def __post_init__(self) -> None:
        if self.labels is None:
            return
        plain = self.metric is None and self.labels.ndim > 1
        if plain or not all(map(self._one_each, self.wanted, self.samples)):
            raise InvalidInput(
                "labels and answers do not go in pairs: this needs one number a label, and outputs with one row a sample"
            )

    def _one_each(self, outputs: Tensors, samples: int) -> bool:
        if self.metric is None:
            return answers(outputs, samples).shape == (samples,)
        return all(array.shape[:1] == (samples,) for array in outputs.values())

    @property
    def name(self) -> str:
        """What a loss means here."""
        if self.labels is None:
            return "agreement"
        return "accuracy" if self.metric is None else getattr(self.metric, "__name__", "metric")

    @property
    def n(self) -> int:
        """Answers that are compared."""
        return sum(map(len, self._answers(self.wanted)))

    def loss(self, got: Sequence[Tensors]) -> tuple[float, float]:
        """Loss of a plan, and its upper bound.

        Without labels: the share of answers that differ. With labels: the drop of the share of right ones; the bound then
        counts the answers that became wrong and not those that became right, which can only make it larger. With a metric:
        its drop, and the 95th percentile of the drop over 200 seeded resamples of the samples.

        Args:
            got: outputs with the plan, run by run.
        """
        if self.labels is not None and self.metric is not None:
            return self._metric_loss(stacked(got), self.labels, self.metric)
        before, after = self._answers(self.wanted), self._answers(got)
        if self.labels is None:
            changed = differs(after, before)
            return float(changed.mean()), upper_bound(int(changed.sum()), len(changed))
        right, still = (np.concatenate(found) == self.labels for found in (before, after))
        spoilt = int((right & ~still).sum())
        return max(0.0, float(right.mean() - still.mean())), upper_bound(spoilt, len(right))

    def _answers(self, runs: Sequence[Tensors]) -> list[Array]:
        return [answers(outputs, n) for outputs, n in zip(runs, self.samples, strict=True)]

    def _metric_loss(self, got: Tensors, labels: Array, metric: Metric) -> tuple[float, float]:
        wanted = stacked(self.wanted)

        def drop(rows: Array) -> float:
            before = {name: array[rows] for name, array in wanted.items()}
            after = {name: array[rows] for name, array in got.items()}
            return metric(before, labels[rows]) - metric(after, labels[rows])

        n = len(labels)
        random = np.random.default_rng(0)
        drops = [drop(random.integers(0, n, n)) for _ in range(_RESAMPLES)]
        loss = max(0.0, drop(np.arange(n)))
        return loss, max(loss, float(np.quantile(drops, 0.95)))


def answers(outputs: Tensors, samples: int) -> Array:
    """One answer a sample; one for all of them where axis 0 of the output is not theirs (a scalar, the finds of a detector).

    Of the first float output the place of the largest number, or the number where there is only one. Without a float output:
    what the first output holds.
    """
    first = next((array for array in outputs.values() if array.dtype.kind == "f"), next(iter(outputs.values())))
    rows = first.reshape(samples if first.shape[:1] == (samples,) else 1, -1)
    if rows.shape[1] == 1:
        return rows[:, 0]
    return np.asarray(rows.argmax(axis=1)) if rows.dtype.kind == "f" and rows.size else rows


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


def stacked(parts: Sequence[Tensors]) -> dict[str, Array]:
    """Batches one after the other along axis 0; a single one may hold scalars."""
    return dict(parts[0]) if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_labels(labels: Array, samples: int) -> None:
    """Refuses labels that do not belong to the samples.

    Raises:
        InvalidInput: another number of them.
    """
    if len(labels) != samples:
        raise InvalidInput(f"there are {len(labels)} labels for {samples} samples: give one a sample")


def upper_bound(changed: int, n: int, confidence: float = 0.95) -> float:
    """Clopper-Pearson upper bound of a share, one-sided.

    The largest p for which seeing at most `changed` of `n` still has a probability of 1 - confidence; found by bisection on the
    binomial distribution. Source: Clopper and Pearson, Biometrika 26 (1934).

    Args:
        changed: of the samples.
        n: samples; at least 1.
        confidence: 0..1.
    """
    if changed >= n:
        return 1.0
    low, high = changed / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(changed, n, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial X(n, p), 0 < p < 1."""
    terms = [lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p) for i in range(k + 1)]
    return float(np.exp(terms).sum())
