"""A table at one step: which row codes each coefficient, where rounding pays, what it costs.

Coefficients are coded row by row, widest spread first, which is the order of `places`; within a row by their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt.layout import Floats
from splitinfer.codec.klt.rows import ESCAPE, HIGHEST, LOWEST, TOTAL, Row
from splitinfer.codec.klt.steps import PER_OCTAVE
from splitinfer.codec.klt.table import Table

Levels = npt.NDArray[np.int32]

LEVEL_MAX = 1 << 24
"""Magnitudes are exact in float32 up to here; what lies beyond is uncodable."""
TOGETHER = 1 << 13
"""Levels that are read at a time, so that memory stays small. Low bits follow the symbols of each piece: bytes depend on it."""
_WIDEST = HIGHEST + PER_OCTAVE * 19
"""Coefficients of any wider spread would mostly be beyond `LEVEL_MAX`; their row must not have more than 24 low bits."""


@dataclass(frozen=True)
class Run:
    """Neighbours in the order of coding that share a row.

    Attributes:
        start: first.
        stop: one past the last.
        row: their frequencies.
        low_bits: of each level, sent as they are; the row codes the rest.
    """

    start: int
    stop: int
    row: Row
    low_bits: int


Piece = tuple[slice, Sequence[Run]]
"""Places, and the runs over them."""


@dataclass(frozen=True)
class Quantiser:
    """A table at one step.

    Attributes:
        places: flat places in a block of the coefficients that are coded, in the order of coding.
        runs: over them.
        size: coefficients of a block.
        step: of the quantiser; 1 is the root mean square of all coefficients of the samples.
    """

    places: npt.NDArray[np.intp]
    runs: tuple[Run, ...]
    size: int
    step: np.float32

    @classmethod
    def at(cls, table: Table, quarters: int, step: float | None = None) -> Quantiser:
        """A table at a step.

        Args:
            table: from calibration.
            quarters: 4 log2(step), rounded; decides about rows.
            step: exact; by default 2^(quarters / 4).
        """
        classes = np.minimum(table.spread.ravel().astype(np.int64) - quarters, _WIDEST)
        places = np.argsort(-classes, kind="stable")
        places = places[: int((classes >= LOWEST).sum())]
        ordered = classes[places]
        starts = np.flatnonzero(np.diff(ordered, prepend=HIGHEST + 1000))
        bounds = pairwise([*starts.tolist(), len(ordered)])
        runs = tuple(Run(start, stop, *_row(table, int(ordered[start]))) for start, stop in bounds)
        return cls(places, runs, len(classes), np.float32(2 ** (quarters / PER_OCTAVE) if step is None else step))

    def pieces(self, blocks: int) -> Sequence[Piece]:
        """Places, `TOGETHER` levels at a time, and the runs over them."""
        return self._pieces_of_one if blocks == 1 else _pieces(self.runs, len(self.places), max(1, TOGETHER // blocks))

    @cached_property
    def _pieces_of_one(self) -> Sequence[Piece]:
        return _pieces(self.runs, len(self.places), TOGETHER)

    @cached_property
    def uncoded(self) -> npt.NDArray[np.intp]:
        """Places that are as good as always zero."""
        coded = np.zeros(self.size, bool)
        coded[self.places] = True
        return np.flatnonzero(~coded)

    @cached_property
    def largest(self) -> Levels:
        """The largest magnitude that the row of each place codes, [places, 1]."""
        found = np.empty((len(self.places), 1), np.int32)
        for run in self.runs:
            found[run.start : run.stop] = run.row.largest
        return found

    @cached_property
    def shifts(self) -> Levels:
        """Low bits of the levels of each place, [places, 1]."""
        found = np.empty((len(self.places), 1), np.int32)
        for run in self.runs:
            found[run.start : run.stop] = run.low_bits
        return found

    @cached_property
    def has_low_bits(self) -> bool:
        """Whether some levels are coded in two parts."""
        return any(run.low_bits for run in self.runs)

    @cached_property
    def thresholds(self) -> Floats:
        """Magnitudes from which 1 and 2 pay, [2, places, 1]."""
        return self._by_place(lambda run: (0.5, 1.5) if run.low_bits else run.row.thresholds)

    @cached_property
    def points(self) -> Floats:
        """What is added to magnitudes 1, and 2 and more, [2, places, 1]."""
        return self._by_place(lambda run: (0.0, 0.0) if run.low_bits else run.row.points)

    def _by_place(self, pair_of: Callable[[Run], tuple[float, float]]) -> Floats:
        pairs = np.empty((2, len(self.places), 1), np.float32)
        for run in self.runs:
            pairs[:, run.start : run.stop, 0] = np.array(pair_of(run), np.float32)[:, None]
        return pairs

    @cached_property
    def expected_bits(self) -> float:
        """Mean length of a block like those of the samples."""
        return sum((run.stop - run.start) * (run.row.entropy_bits + run.low_bits) for run in self.runs)

    @cached_property
    def expected_escapes(self) -> float:
        """Mean number of escapes in a block like those of the samples."""
        return sum((run.stop - run.start) * run.row.frequencies[-1] for run in self.runs) / TOTAL

    def quantise(self, values: Floats) -> Levels:
        """Signed levels of coefficients [places, blocks] in the order of coding."""
        magnitudes = np.abs(values)
        magnitudes *= np.float32(1 / self.step)
        one, two = self.thresholds
        return levels(magnitudes, one, two, values)

    def values(self, found: Levels, part: slice = slice(None)) -> Floats:
        """What levels [places, blocks] stand for, of all places or a part of them."""
        magnitudes = np.abs(found)
        one, more = self.points[:, part]
        values: Floats = np.where(magnitudes > 1, more, one)
        values *= magnitudes > 0
        values += magnitudes
        values *= self.step
        np.copysign(values, found, out=values, casting="same_kind")
        return values

    def requantised(self, blocks: Floats) -> Floats:
        """Blocks [n, C, height, width] as they come back."""
        flat = blocks.reshape(len(blocks), -1)
        found = self.quantise(flat[:, self.places].T)
        back = np.zeros_like(flat)
        back[:, self.places] = self.values(found).T
        return back.reshape(blocks.shape)

    def ideal_bits(self, blocks: Floats) -> float:
        """Length of blocks [n, C, height, width] by the rows, escapes counted as 16 bits."""
        flat = self.quantise(blocks.reshape(len(blocks), -1)[:, self.places].T)
        return sum(_ideal_bits(flat[run.start : run.stop], run) for run in self.runs)


def levels(magnitudes: Floats, one: Floats, two: Floats, signs: Floats) -> Levels:
    """Levels: 0 below `one`, 1 below `two`, and so on in steps of one, with the signs of `signs`. Magnitudes are used up."""
    some = magnitudes >= one
    magnitudes += 2 - two
    np.maximum(magnitudes, 1, out=magnitudes)
    magnitudes *= some
    np.copysign(magnitudes, signs, out=magnitudes)
    return magnitudes.astype(np.int32)


def _pieces(runs: Sequence[Run], count: int, most: int) -> list[Piece]:
    if count <= most:
        return [(slice(0, count), runs)]
    parts = (slice(start, min(start + most, count)) for start in range(0, count, most))
    return [(part, _within(runs, part)) for part in parts]


def _within(runs: Sequence[Run], part: slice) -> list[Run]:
    return [
        Run(max(run.start, part.start), min(run.stop, part.stop), run.row, run.low_bits)
        for run in runs
        if run.start < part.stop and run.stop > part.start
    ]


def _row(table: Table, row: int) -> tuple[Row, int]:
    low_bits = max(0, -(-(row - HIGHEST) // PER_OCTAVE))
    return table.rows[row - PER_OCTAVE * low_bits - LOWEST], low_bits


def _ideal_bits(found: Levels, run: Run) -> float:
    high = found >> run.low_bits
    escapes = np.abs(high) > run.row.largest
    symbols = np.where(escapes, ESCAPE, high + run.row.zero)
    return float(run.row.bits[symbols].sum()) + 16.0 * int(escapes.sum()) + run.low_bits * found.size
