"""Calibration: a table from samples and from how much the answers depend on the tensor. No training, no gradients.

1. The channels are weighted by W = F^(1/2), F being the channels' sensitivity, so that equal errors in weighted channels change
   the answers equally; frequencies are weighted likewise.
2. Their Karhunen-Loeve transform U (eigenvectors of the covariance of W x) packs them into as few coefficients as can be:
   A = U W. Uniform noise of one step in every coefficient is then what costs least for what it does to the answers.
3. The spread of each coefficient says which row of frequencies codes it; the rows are counted over several steps.

Where channels are sparse, mixing them costs more than it gains: W alone is tried as well, and what codes held-out samples in
fewer bits is kept. A is scaled so that the root mean square of all coefficients is 1: steps mean the same for every tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt.basis import Basis, product
from splitinfer.codec.klt.layout import Floats, Layout
from splitinfer.codec.klt.quantiser import Quantiser, levels
from splitinfer.codec.klt.rows import COUNT, HIGHEST, LOWEST, SYMBOLS, Row, laplace, rows_of
from splitinfer.codec.klt.sensitivity import Sensitivity
from splitinfer.codec.klt.steps import PER_OCTAVE
from splitinfer.codec.klt.table import QUARTERS, Table, rounded

Doubles = npt.NDArray[np.float64]

_EVEN = 0.1
"""Share of the mean sensitivity that every channel has, measured or not."""
_EXACT = 2.0**-20
"""Of the largest value or mean: smaller variations are what float32 computes a constant with."""
_EXPONENT_MIN = -100
"""Of two. What is smaller is as good as zero."""
_HELD_OUT = 4
"""Every fourth item decides between ways that the others were calibrated with."""
_COUNTED_MAX = 1 << 21


def layout_for(candidates: Sequence[Layout], items: Sequence[Floats]) -> Layout:
    """The layout that packs the items' energy best: by the rate of a Gaussian source at a tenth of the mean variance."""
    _, near_one = _near_one(items)
    return min(candidates, key=lambda layout: _gaussian_bits(layout, near_one))


def _gaussian_bits(layout: Layout, items: Sequence[Floats]) -> float:
    basis, unseen = _basis(layout, items, np.eye(layout.channels), np.ones(layout.blocks), mixes=True)
    coefficients = _all_blocks(basis, items)
    variances = coefficients.var(axis=0, dtype=np.float64) + unseen
    relative = variances / (variances.mean() or 1.0)
    return float(np.log2(1 + 10 * relative).sum() * len(coefficients) / 2)


def fit(layout: Layout, items: Sequence[Floats], sensitivity: Sensitivity) -> Table:
    """A table for a layout.

    Args:
        layout: of the items.
        items: calibration samples, one item each.
        sensitivity: of the answers.
    """
    exponent, items = _near_one(items)
    weighting = _root(_evened(sensitivity.channels))
    frequencies = np.sqrt(sensitivity.frequencies)
    mixes = _mixing_pays(layout, items, weighting, frequencies)
    table = _table(layout, items, weighting if mixes else np.diag(np.diag(weighting)), frequencies, mixes)
    return replace(table, basis=replace(table.basis, mixing=np.ldexp(table.basis.mixing, -exponent)))


def _near_one(items: Sequence[Floats]) -> tuple[int, Sequence[Floats]]:
    """An exponent, and the items without it: so that tensors in any unit can be computed with in float32."""
    peak = max(float(np.abs(item).max()) for item in items)
    exponent = max(int(np.frexp(peak)[1]), _EXPONENT_MIN)
    return exponent, [np.ldexp(item, -exponent) for item in items]


def _mixing_pays(layout: Layout, items: Sequence[Floats], weighting: Doubles, frequencies: Doubles) -> bool:
    """By the bits of every fourth item with what the others give."""
    held_out = items[::_HELD_OUT]
    known = [item for index, item in enumerate(items) if index % _HELD_OUT]
    if not known:
        return True
    mixed, plain = (
        _table(layout, known, w, frequencies, mixes) for w, mixes in ((weighting, True), (np.diag(np.diag(weighting)), False))
    )
    return _bits(mixed, held_out) <= _bits(plain, held_out)


def _bits(table: Table, items: Sequence[Floats]) -> float:
    """Ideal length at three steps a factor of two apart."""
    blocks = _all_blocks(table.basis, items)
    return sum(Quantiser.at(table, quarters).ideal_bits(blocks) for quarters in (-8, -4, 0))


def _table(layout: Layout, items: Sequence[Floats], weighting: Doubles, frequencies: Doubles, mixes: bool) -> Table:
    basis, unseen = _basis(layout, items, weighting, frequencies, mixes)
    blocks = _all_blocks(basis, items)
    mean, variances = blocks.mean(axis=0, dtype=np.float64), blocks.var(axis=0, dtype=np.float64) + unseen
    unit = max(np.sqrt(variances.mean()), _EXACT * max(1.0, np.abs(mean).max()))
    basis = rounded(Basis(layout, basis.mixing / unit, basis.weight, (mean / unit).astype(np.float32)))
    blocks = _all_blocks(basis, items)
    basis = _centred(basis, blocks)
    deviation = np.sqrt(np.square(blocks, dtype=np.float64).mean(axis=0) + unseen / unit**2)
    spread = np.floor(PER_OCTAVE * np.log2(np.maximum(deviation, 2.0**-30)) + 0.5)
    spread = np.clip(spread, -127, 127).astype(np.int8)
    ungained = Table(basis, spread, _rows(blocks, spread), np.ones((len(QUARTERS), layout.channels), np.float32))
    return replace(ungained, gains=_gains(ungained, blocks))


def _centred(basis: Basis, blocks: Floats) -> Basis:
    """The basis with the mean that is left after rounding, which is taken off the blocks."""
    centred = rounded(replace(basis, mean=basis.mean + blocks.mean(axis=0, dtype=np.float64).astype(np.float32)))
    blocks -= centred.mean - basis.mean
    return centred


def _gains(table: Table, blocks: Floats) -> Floats:
    """For each step and channel what gives back the deviation that quantisation takes.

    Levels and points are those of least squared error, which draws all towards the mean; networks mind a loss of scale more
    than that error. (Lite0: no gain costs 11 % more bytes at equal answers, half of it 3 %, more gains nothing.)
    """
    before = _deviations(table.basis, blocks)
    gains = []
    for quarters in QUARTERS:
        after = _deviations(table.basis, Quantiser.at(table, quarters).requantised(blocks))
        gains.append(np.divide(before, after, out=np.ones_like(before), where=after > 0))
    return np.array(gains, np.float32)


def _deviations(basis: Basis, blocks: Floats) -> Doubles:
    """Of each channel around its mean, frequencies weighted as they matter: what nobody minds is not missed."""
    by_channel = blocks.transpose(1, 0, 2, 3).reshape(blocks.shape[1], -1)
    deviations: Doubles = product(basis.inverse_mixing, by_channel).std(axis=1, dtype=np.float64)
    return deviations


def _basis(
    layout: Layout, items: Sequence[Floats], weighting: Doubles, frequencies: Doubles, mixes: bool
) -> tuple[Basis, Doubles]:
    """A basis without a mean, and what to add to the variances that it was fitted to: few samples leave them too small."""
    columns = _columns(layout, items)
    weighted = weighting @ columns
    weighted -= weighted.mean(axis=1, keepdims=True)
    covariance = weighted @ weighted.T / weighted.shape[1]
    trust = weighted.shape[1] / (weighted.shape[1] + len(covariance))
    shrunk = trust * covariance + (1 - trust) * np.diag(np.diag(covariance))
    mixing, unseen = weighting, np.full(len(covariance), np.trace(covariance) / weighted.size)
    if mixes:
        values, vectors = np.linalg.eigh(shrunk)
        values = np.maximum(values, 0)
        mixing = vectors[:, ::-1].T @ weighting
        unseen += (1 - trust) * values[::-1]
    zeros = np.zeros(layout.shape, np.float32)
    basis = Basis(layout, mixing.astype(np.float32), frequencies.astype(np.float32), zeros)
    return basis, unseen[:, None, None] * frequencies**2


def _columns(layout: Layout, items: Sequence[Floats]) -> Doubles:
    """All places of all items, [C, places]."""
    return np.concatenate([layout.to_blocks(item).reshape(layout.channels, -1) for item in items], axis=1).astype(np.float64)


def _all_blocks(basis: Basis, items: Sequence[Floats]) -> Floats:
    """Coefficients of all blocks of all items, [blocks, C, height, width]."""
    found = []
    for item in items:
        coefficients = basis.forward(item)
        channels, rows, height, columns, width = coefficients.shape
        found.append(coefficients.transpose(1, 3, 0, 2, 4).reshape(rows * columns, channels, height, width))
    return np.concatenate(found)


def _evened(channels: Doubles) -> Doubles:
    mean = np.trace(channels) / len(channels)
    return (1 - _EVEN) * channels / mean + _EVEN * np.eye(len(channels)) if mean > 0 else np.eye(len(channels))


def _root(matrix: Doubles) -> Doubles:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    root: Doubles = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def _rows(blocks: Floats, spread: npt.NDArray[np.int8]) -> tuple[Row, ...]:
    """Counted twice: where it pays to round up depends on the rows."""
    flat = blocks.reshape(len(blocks), -1)
    flat = flat[:: -(-flat.size // _COUNTED_MAX)]
    classes = spread.ravel().astype(int)
    rows = rows_of([laplace(row) for row in range(LOWEST, HIGHEST + 1)], [(0.0, 0.0)] * COUNT)
    for _ in range(2):
        counted = _Counted()
        for quarters in QUARTERS:
            counted.add(flat, classes - quarters, 2 ** (quarters / PER_OCTAVE), rows)
        rows = rows_of(counted.symbols, list(counted.points()))
    return rows


class _Counted:
    """What was seen, row by row."""

    def __init__(self) -> None:
        self.symbols: list[Doubles] = [np.zeros(size) for size in SYMBOLS]
        self._seen = np.zeros((COUNT, 2))
        self._excess = np.zeros((COUNT, 2))

    def add(self, coefficients: Floats, classes: npt.NDArray[np.int_], step: float, rows: Sequence[Row]) -> None:
        """Quantises with a step, and counts."""
        for row in range(LOWEST, HIGHEST + 1):
            chosen = classes == row
            if not chosen.any():
                continue
            at, model = row - LOWEST, rows[row - LOWEST]
            values = np.abs(coefficients[:, chosen]).ravel() * np.float32(1 / step)
            one, two = np.array(model.thresholds, np.float32)
            found = levels(values.copy(), one, two, values)
            self.symbols[at] += np.bincount(np.minimum(found, model.largest + 1), minlength=SYMBOLS[at])
            for column, which in enumerate((found == 1, found > 1)):
                self._seen[at, column] += which.sum()
                self._excess[at, column] += (values[which] - found[which]).sum()

    def points(self) -> Iterator[tuple[float, float]]:
        """Mean excess of each row, drawn to 0 where little was seen."""
        means = self._excess / (self._seen + 10)
        yield from ((one, more) for one, more in np.clip(means, -0.5, 0.49).tolist())
