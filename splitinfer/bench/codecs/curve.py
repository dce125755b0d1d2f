"""Bytes against answers: what was measured of one setting of a codec, and the least bytes that keep the answers.

A `Bar` is what must be kept; the figure of a family of settings is the least mean bytes of those that pass it. Standard errors
come from seeded resamples of the photos, whole groups at a time, in which the least bytes are found anew: the luck of which
setting just passes is part of them. Knows no codec and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, nan

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MARGIN = 0.05
"""A setting this far below the lowest bar, twice in a row, ends the walk towards fewer bytes."""
_RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class Point:
    """One setting of one codec on all items that report.

    Attributes:
        label: of codec and setting.
        sizes: bytes of each item.
        agrees: whether its answer is that of the uncut model.
        gained: +1 where its answer became the right one, -1 where it no longer is; None = nobody knows what is right.
    """

    label: str
    sizes: Floats
    agrees: Flags
    gained: Floats | None = None

    @property
    def nbytes(self) -> float:
        """Mean bytes."""
        return float(self.sizes.mean())

    @property
    def agreement(self) -> float:
        """Share of unchanged answers."""
        return float(self.agrees.mean())


@dataclass(frozen=True)
class Bar:
    """What must be kept: a mean over the items.

    Attributes:
        text: for people.
        least: the mean that is enough.
        of: what it is a mean of, one number an item.
    """

    text: str
    least: float
    of: Callable[[Point], Floats]

    def passed(self, point: Point) -> bool:
        """Whether a setting keeps enough. A hair is allowed for the sum of floats."""
        return float(self.of(point).mean()) >= self.least - 1e-12


def agreement(least: float) -> Bar:
    """At least this share of the answers stays."""
    return Bar(f"agreement >= {least:g}", least, lambda point: point.agrees.astype(np.float64))


def change(least: float) -> Bar:
    """The share of right answers falls by no more than this."""

    def gained(point: Point) -> Floats:
        assert point.gained is not None, "asked for where there are labels only"
        return point.gained

    return Bar(f"top-1 change >= {100 * least:g} points", least, gained)


def lowest(points: Sequence[Point], bar: Bar) -> Point | None:
    """The setting of least mean bytes that passes; None where none does."""
    return min((point for point in points if bar.passed(point)), key=lambda point: point.nbytes, default=None)


def between(points: Sequence[Point], bar: Bar) -> float:
    """Bytes at the bar by log-linear interpolation: less noisy than the rule, and for information only.

    Settings are sorted by bytes; of two neighbours the better answer counts for both, so that the curve rises.
    """
    ordered = sorted(points, key=lambda point: point.nbytes)
    if not ordered:
        return nan
    kept = np.maximum.accumulate([float(bar.of(point).mean()) for point in ordered])
    above = int(np.argmax(kept >= bar.least)) if kept[-1] >= bar.least else None
    if above is None:
        return inf
    if above == 0:
        return ordered[0].nbytes
    share = (bar.least - kept[above - 1]) / (kept[above] - kept[above - 1])
    low, high = log(ordered[above - 1].nbytes), log(ordered[above].nbytes)
    return exp(low + share * (high - low))


def explore(settings: int, stride: int, bars: Sequence[Bar], measure: Callable[[int], Point]) -> dict[int, Point]:
    """Walks a family from the best answers towards the fewest bytes in strides, then looks closely around each bar.

    Args:
        settings: how many there are; the first one keeps most.
        stride: of the walk.
        bars: at what the close look is.
        measure: one setting by its place.

    Returns:
        What was measured, by place.
    """
    found: dict[int, Point] = {}
    lost = 0
    for at in range(0, settings, stride):
        found[at] = measure(at)
        lost = lost + 1 if all(_far_below(found[at], bar) for bar in bars) else 0
        if lost == 2:
            break
    for bar in bars:
        best = cheapest(found, bar)
        if best is not None:
            around = range(max(0, best - stride + 1), min(settings, best + stride))
            found |= {at: measure(at) for at in around if at not in found}
    return found


def cheapest(found: Mapping[int, Point], bar: Bar) -> int | None:
    """The place of the setting of least mean bytes that passes; None where none does."""
    return min((at for at in found if bar.passed(found[at])), key=lambda at: found[at].nbytes, default=None)


def _far_below(point: Point, bar: Bar) -> bool:
    return float(bar.of(point).mean()) < bar.least - MARGIN


def error_of_ratio(ours: Sequence[Point], rivals: Sequence[Point], bar: Bar, groups: npt.NDArray[np.intp]) -> float:
    """Standard error of our lowest bytes over the rivals' at a bar.

    Args:
        ours: our settings.
        rivals: theirs, on the same items.
        bar: what must be kept.
        groups: which items belong together.
    """
    weights = np.stack([*_resamples(groups)])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _lowest_of(ours, bar, weights) / _lowest_of(rivals, bar, weights)
    ratios = ratios[np.isfinite(ratios)]
    return float(ratios.std()) if ratios.size else nan


def error_of_mean(values: Floats, groups: npt.NDArray[np.intp]) -> float:
    """Standard error of a mean over items."""
    return float(np.std([float(values @ weights / weights.sum()) for weights in _resamples(groups)]))


def _resamples(groups: npt.NDArray[np.intp]) -> Iterator[Floats]:
    """How often each item was drawn, groups being drawn with replacement; the same draws each time."""
    random = np.random.default_rng(0)
    count = int(groups.max()) + 1
    for _ in range(_RESAMPLES):
        yield np.bincount(random.integers(0, count, count), minlength=count)[groups].astype(np.float64)


def _lowest_of(points: Sequence[Point], bar: Bar, weights: Floats) -> Floats:
    """Least mean bytes of each resample; infinite where no setting passes."""
    totals = np.maximum(weights.sum(axis=1), 1)  # a resample of empty groups does not exist, but nothing may divide by 0
    sizes = weights @ np.stack([point.sizes for point in points], axis=1) / totals[:, None]
    kept = weights @ np.stack([bar.of(point) for point in points], axis=1) / totals[:, None]
    return np.asarray(np.where(kept >= bar.least - 1e-12, sizes, inf).min(axis=1))
