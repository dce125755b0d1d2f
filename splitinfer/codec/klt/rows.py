"""How likely each level is, one row of integer frequencies for each quarter octave of spread over step.

A coefficient whose standard deviation is 2^(r/4) steps is coded with row r. Rows are symmetric, and end in an escape for what
is beyond them. Since a row depends on nothing but that ratio, the rows of one calibration serve every step.

Only integers decide what is coded how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt.entropy import Distribution, distribution
from splitinfer.codec.klt.steps import PER_OCTAVE

Counts = npt.NDArray[np.float64]

LOWEST, HIGHEST = -8, 12
"""Rows. Below, a coefficient is as good as always zero and is not coded (half of Lite0's at step 1; coding them, too, gains
nothing); above, its low bits are sent as they are."""
COUNT = HIGHEST - LOWEST + 1
TOTAL = 1 << 14
"""Sum of a row's frequencies."""
RATE_WEIGHT = 0.1
"""Lambda of rate-distortion optimised rounding, in squared steps a bit. (A uniform quantiser trades (ln 2)/6 = 0.116.)"""
_SPREADS_COVERED = 5.0
ESCAPE = 0
"""The symbol that stands for every magnitude beyond a row. A stack that was cut short gives it for all that is missing."""


def largest(row: int) -> int:
    """The largest magnitude that a row codes without an escape."""
    return max(2, round(_SPREADS_COVERED * 2 ** (row / PER_OCTAVE)) + 1)


SYMBOLS = tuple(largest(row) + 2 for row in range(LOWEST, HIGHEST + 1))
"""Frequencies of each row: magnitudes 0 to the largest, and the escape."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        frequencies: of magnitudes 0, 1, .., the largest, and of the escape; integers above 0.
        points: where magnitudes 1, and 2 and more, are reconstructed: this much above themselves, in steps.
    """

    frequencies: tuple[int, ...]
    points: tuple[float, float]

    @property
    def largest(self) -> int:
        """Magnitude."""
        return len(self.frequencies) - 2

    @property
    def zero(self) -> int:
        """The symbol of level 0."""
        return self.largest + 1

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """Of the symbols: `ESCAPE`, then -largest..largest; whole numbers."""
        zero, *others, escape = self.frequencies
        return np.array([2 * escape, *others[::-1], 2 * zero, *others], np.float64)

    @cached_property
    def bits(self) -> npt.NDArray[np.float64]:
        """Ideal length of each symbol."""
        lengths: npt.NDArray[np.float64] = -np.log2(self.weights / self.weights.sum())
        return lengths

    @property
    def entropy_bits(self) -> float:
        """Mean length of a symbol."""
        return float((self.weights / self.weights.sum() * self.bits).sum())

    @cached_property
    def model(self) -> Distribution:
        """Of the entropy coder."""
        return distribution(self.weights)

    @cached_property
    def thresholds(self) -> tuple[float, float]:
        """Magnitudes in steps from which 1 and 2 pay, by distortion + RATE_WEIGHT * bits."""
        zero, one, two = self.bits[self.zero : self.zero + 3]
        first, second = 1 + self.points[0], 2 + self.points[1]
        from_one = (first**2 + RATE_WEIGHT * (one - zero)) / (2 * first)
        from_two = (first + second) / 2 + RATE_WEIGHT * max(0.0, two - one) / (2 * (second - first))
        return min(from_one, 1.5), min(max(from_two, from_one), 2.5)


def rows_of(counts: Sequence[Counts], excess: Sequence[tuple[float, float]]) -> tuple[Row, ...]:
    """Rows from what was counted, with a Laplace distribution of the same spread behind rare symbols.

    Args:
        counts: of each row's magnitudes and its escape, lowest row first.
        excess: mean of |value| / step - magnitude where the magnitude is 1, and where it is more.
    """
    return tuple(
        Row(_frequencies(seen + _PRIOR_COUNT * laplace(row)), points)
        for row, seen, points in zip(range(LOWEST, HIGHEST + 1), counts, excess, strict=True)
    )


_PRIOR_COUNT = 40.0


def laplace(row: int) -> npt.NDArray[np.float64]:
    """Probabilities of a row's magnitudes and its escape where values are Laplace distributed; up to 0.66 they become 0."""
    scale = 2 ** (row / PER_OCTAVE) / np.sqrt(2)
    edges = np.concatenate([[0.0], np.arange(largest(row) + 1) + 0.66, [np.inf]])
    beyond = np.exp(-edges / scale)
    probabilities: npt.NDArray[np.float64] = beyond[:-1] - beyond[1:]
    return probabilities


def _frequencies(weights: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Integers above 0 with sum TOTAL, of which magnitude 0 takes what rounding leaves."""
    scaled = np.maximum(1, np.rint(weights / weights.sum() * (TOTAL - len(weights))).astype(int))
    scaled[0] += TOTAL - scaled.sum()
    if scaled[0] < 1:
        scaled[scaled.argmax()] += scaled[0] - 1
        scaled[0] = 1
    return tuple(scaled.tolist())
