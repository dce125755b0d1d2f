"""Levels of a quantiser <-> the entropy coder's stack, run by run.

A level beyond its row becomes the row's escape, and is said elsewhere (`side`). The low bits of a run that has some are sent as
they are, the row codes the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt.entropy import Stack, even
from splitinfer.codec.klt.quantiser import LEVEL_MAX, Levels, Quantiser, Run
from splitinfer.codec.klt.rows import ESCAPE
from splitinfer.errors import CorruptPayload


def write(quantiser: Quantiser, levels: Levels) -> tuple[bytes, list[int]]:
    """The stack, and what escaped, in the order of coding.

    Args:
        quantiser: that made the levels.
        levels: [places, blocks].
    """
    symbols, escapes = symbols_of(quantiser, levels)
    stack = Stack()
    for _, runs in reversed(quantiser.pieces(levels.shape[1])):
        for run in reversed(runs):
            if run.low_bits:
                stack.push(levels[run.start : run.stop].ravel() & ((1 << run.low_bits) - 1), even(run.low_bits))
            stack.push(symbols[run.start : run.stop].ravel(), run.row.model)
    return stack.to_bytes(), escapes


def symbols_of(quantiser: Quantiser, levels: Levels) -> tuple[Levels, list[int]]:
    """Symbols of the rows, and what escaped."""
    high = levels >> quantiser.shifts if quantiser.has_low_bits else levels
    symbols = high + quantiser.largest
    odd = np.flatnonzero(symbols.view(np.uint32) > 2 * quantiser.largest.view(np.uint32))
    symbols += 1
    symbols.ravel()[odd] = ESCAPE
    return symbols, high.ravel()[odd].tolist()


def read(quantiser: Quantiser, stack: Stack, escapes: Sequence[int], blocks: int) -> Iterator[tuple[slice, Levels]]:
    """Some places after the other with their levels, [places, blocks]: none counts before all have come.

    Raises:
        CorruptPayload: the stack does not hold exactly so many symbols, or not as many escapes as there are.
    """
    used = 0
    for part, runs in quantiser.pieces(blocks):
        levels, low = _popped(stack, part, runs, blocks)
        odd = np.flatnonzero(levels == ESCAPE)
        levels -= quantiser.largest[part] + 1
        _put(quantiser, part, levels, odd, escapes[used : used + len(odd)])
        used += len(odd)
        if low is not None:
            levels <<= quantiser.shifts[part]
            levels |= low
        yield part, levels
    if used != len(escapes) or not stack.is_empty():
        raise CorruptPayload("the symbols of a transform are not those of its coefficients")


def _popped(stack: Stack, part: slice, runs: Sequence[Run], blocks: int) -> tuple[Levels, Levels | None]:
    """Symbols of the rows of some places, and the low bits where there are some."""
    symbols = np.empty((part.stop - part.start, blocks), np.int32)
    low = np.zeros_like(symbols) if any(run.low_bits for run in runs) else None
    for run in runs:
        at, count = slice(run.start - part.start, run.stop - part.start), (run.stop - run.start) * blocks
        symbols[at] = stack.pop(count, run.row.model).reshape(-1, blocks)
        if low is not None and run.low_bits:
            low[at] = stack.pop(count, even(run.low_bits)).reshape(-1, blocks)
    return symbols, low


def _put(quantiser: Quantiser, part: slice, levels: Levels, odd: npt.NDArray[np.intp], escapes: Sequence[int]) -> None:
    if len(odd) != len(escapes):
        raise CorruptPayload("a transform has fewer escapes than levels that need them")
    if not escapes:
        return
    found = np.array(escapes)
    at = part.start + odd // levels.shape[1]
    largest, most = quantiser.largest.ravel()[at], LEVEL_MAX >> quantiser.shifts.ravel()[at]
    if not ((np.abs(found) > largest) & (np.abs(found) <= most)).all():
        raise CorruptPayload("an escape of a transform is none, or too large")
    levels.ravel()[odd] = found
