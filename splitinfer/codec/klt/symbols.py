"""Levels of a quantiser <-> the entropy coder's stack, run by run.

A level beyond its row becomes the row's escape, and is said elsewhere (`side`). The low bits of a run that has some are sent as
they are, the row codes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from splitinfer.codec.items import Chunk
from splitinfer.codec.klt.entropy import Stack, even
from splitinfer.codec.klt.quantiser import LEVEL_MAX, Levels, Quantiser, Run
from splitinfer.errors import CorruptPayload


def write(quantiser: Quantiser, levels: Levels) -> tuple[bytes, list[int]]:
    """The stack, and what escaped, in the order of coding.

    Args:
        quantiser: that made the levels.
        levels: [places, blocks].
    """
    low = [_low_bits(levels, run) for run in quantiser.runs]
    symbols, escapes = symbols_of(quantiser, levels)
    stack = Stack()
    for run, bits in zip(reversed(quantiser.runs), reversed(low), strict=True):
        if bits is not None:
            stack.push(bits, even(run.low_bits))
        stack.push(symbols[run.start : run.stop].ravel(), run.row.model)
    return stack.to_bytes(), escapes


def symbols_of(quantiser: Quantiser, levels: Levels) -> tuple[Levels, list[int]]:
    """Symbols of the rows, and what escaped."""
    high = levels >> _shifts(quantiser) if quantiser.has_low_bits else levels
    symbols = high + quantiser.largest
    odd = np.flatnonzero(symbols.view(np.uint32) > 2 * quantiser.largest.view(np.uint32))
    if not odd.size:
        return symbols, []
    symbols.ravel()[odd] = 2 * quantiser.largest.ravel()[odd // levels.shape[1]] + 1
    return symbols, high.ravel()[odd].tolist()


def read(quantiser: Quantiser, data: Chunk, escapes: Sequence[int], blocks: int) -> Levels:
    """The levels, [places, blocks].

    Raises:
        CorruptPayload: the stack does not hold exactly so many symbols, or not as many escapes as there are.
    """
    stack = Stack(data)
    levels = np.empty((len(quantiser.places), blocks), np.int32)
    low: list[tuple[Run, Levels]] = []
    for run in quantiser.runs:
        count = (run.stop - run.start) * blocks
        levels[run.start : run.stop] = stack.pop(count, run.row.model).reshape(-1, blocks)
        if run.low_bits:
            low.append((run, stack.pop(count, even(run.low_bits)).reshape(-1, blocks)))
    if not stack.is_empty():
        raise CorruptPayload("the symbols of a transform are not those of its coefficients")
    odd = np.flatnonzero(levels == 2 * quantiser.largest + 1)
    levels -= quantiser.largest
    _put(quantiser, levels, odd, escapes)
    for run, bits in low:
        levels[run.start : run.stop] <<= run.low_bits
        levels[run.start : run.stop] |= bits
    return levels


def _put(quantiser: Quantiser, levels: Levels, odd: npt.NDArray[np.intp], escapes: Sequence[int]) -> None:
    if len(odd) != len(escapes):
        raise CorruptPayload("a transform has more or fewer escapes than levels that need them")
    if not escapes:
        return
    found = np.array(escapes)
    at = odd // levels.shape[1]
    largest, most = quantiser.largest.ravel()[at], LEVEL_MAX >> _shifts(quantiser).ravel()[at]
    if not ((np.abs(found) > largest) & (np.abs(found) <= most)).all():
        raise CorruptPayload("an escape of a transform is none, or too large")
    levels.ravel()[odd] = found


def _shifts(quantiser: Quantiser) -> Levels:
    shifts = np.zeros_like(quantiser.largest)
    for run in quantiser.runs:
        shifts[run.start : run.stop] = run.low_bits
    return shifts


def _low_bits(levels: Levels, run: Run) -> Levels | None:
    return levels[run.start : run.stop].ravel() & ((1 << run.low_bits) - 1) if run.low_bits else None
