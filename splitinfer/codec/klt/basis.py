"""The linear transform: channels mixed by a matrix, then a discrete cosine transform over each block of the plane.

    y = weight * D_h (A x) D_w'  -  mean          x = gain A^-1 (D_h' (y / weight) D_w)  +  A^-1 (D_h' (mean / weight) D_w)

A is a Karhunen-Loeve transform in units of what the answers depend on (`fit`), D_n the orthonormal DCT-II of length n. Both
ends compute in float32 and need not agree to the last bit: what is entropy coded are integers, and no decision of the decoder
depends on a float. A gain for each channel gives back what quantisation takes (`fit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product as product_of
from math import prod

import numpy as np

from splitinfer.codec.klt.layout import Floats, Layout
from splitinfer.model import Array

_PIECE = 1 << 18
_IN_PLACE = 1 << 13
"""Numbers that are taken at a time where a result replaces what it is made of."""


@dataclass(frozen=True)
class Basis:
    """A transform.

    Attributes:
        layout: of items.
        mixing: A, [C, C]; invertible.
        weight: [height, width]: steps of frequencies, relative to one another.
        mean: of the coefficients, [C, height, width].
    """

    layout: Layout
    mixing: Floats
    weight: Floats
    mean: Floats

    def forward(self, item: Array) -> Floats:
        """Coefficients of an item, [C, rows, height, columns, width]."""
        values = self.layout.to_blocks(item)
        mixed = product(self.mixing, values.reshape(len(values), -1)).reshape(values.shape)
        rows, columns = dct_matrix(values.shape[2]), dct_matrix(values.shape[4])
        return spectrum(mixed, rows, columns) * self._weight - self._mean

    def inverse(self, coefficients: Floats, gain: Floats, shape: tuple[int, ...]) -> Floats:
        """The item of this shape, from its coefficients, in whose memory it is worked out.

        Args:
            coefficients: [C * height * width, blocks], places of a block in order; used up.
            gain: [C], of the channels of the item.
            shape: of the item.
        """
        blocks = self._unmixed(coefficients, gain, self.layout.grid(shape))
        blocks += self._mean_values
        return self.layout.from_blocks(blocks, shape)

    def _unmixed(self, coefficients: Floats, gain: Floats, grid: tuple[int, int]) -> Floats:
        """Blocks [C, rows, height, columns, width], a view of what the coefficients have become."""
        height, width = self.layout.blocks
        blocks = coefficients.reshape(*self.layout.shape, *grid).transpose(0, 3, 1, 4, 2)
        blocks *= self._per_weight
        for part in _parts(blocks.shape):
            blocks[part] = spectrum(blocks[part], dct_matrix(height).T, dct_matrix(width).T)
        by_channel = coefficients.reshape(len(blocks), -1)
        product(self.inverse_mixing * gain[:, None], by_channel, by_channel)
        return blocks

    @cached_property
    def inverse_mixing(self) -> Floats:
        """A^-1."""
        inverse: Floats = np.linalg.inv(self.mixing.astype(np.float64)).astype(np.float32)
        return inverse

    @cached_property
    def _mean_values(self) -> Floats:
        coefficients = self.mean.reshape(-1, 1).copy()
        return self._unmixed(coefficients, np.ones(self.layout.channels, np.float32), (1, 1))

    @cached_property
    def _weight(self) -> Floats:
        return self.weight[None, :, None, :]

    @cached_property
    def _per_weight(self) -> Floats:
        return np.float32(1) / self._weight

    @cached_property
    def _mean(self) -> Floats:
        return self.mean[:, None, :, None, :]


def product(matrix: Floats, columns: Floats, out: Floats | None = None) -> Floats:
    """Matrix @ columns, in pieces that the BLAS computes in this thread; `out` may be the columns themselves.

    OpenBLAS takes several threads from 2^18 multiplications on, and what they spin while they wait for one another takes more
    of the processor than such a product does.
    """
    size, count = len(matrix), columns.shape[1]
    piece = max(1, min(_PIECE // size, _IN_PLACE) // size)
    if out is None:
        out = np.empty((size, count), np.float32)
    for at in range(0, count, piece):
        out[:, at : at + piece] = matrix @ columns[:, at : at + piece]
    return out


def _parts(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Of channels and rows of blocks, few enough at a time."""
    channels, rows, *row = shape
    high = min(rows, max(1, _IN_PLACE // prod(row)))
    deep = max(1, _IN_PLACE // (high * prod(row)))
    for channel, start in product_of(range(0, channels, deep), range(0, rows, high)):
        yield slice(channel, channel + deep), slice(start, start + high)


def spectrum(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Both matrices applied to each block of [C, rows, height, columns, width], in pieces as in `product`."""
    if columns.shape != (1, 1):
        high = _divisor(values.shape[2] * values.shape[3], _PIECE // columns.size)
        values = (values.reshape(-1, high, len(columns)) @ columns.T).reshape(values.shape)
    if rows.shape != (1, 1):
        flat = values.reshape(values.shape[0] * values.shape[1], len(rows), -1)
        wide = _divisor(flat.shape[2], _PIECE // rows.size)
        parts = [rows @ flat[:, :, at : at + wide] for at in range(0, flat.shape[2], wide)]
        values = (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)).reshape(values.shape)
    return values


def _divisor(number: int, most: int) -> int:
    """The largest divisor up to `most`, at least 1."""
    return next((n for n in range(min(number, most), 1, -1) if number % n == 0), 1)


@lru_cache(64)
def dct_matrix(n: int) -> Floats:
    """The orthonormal DCT-II, [n, n] (Ahmed, Natarajan and Rao 1974)."""
    place, frequency = np.arange(n) + 0.5, np.arange(n)[:, None]
    matrix = np.sqrt(2 / n) * np.cos(np.pi / n * frequency * place)
    matrix[0] /= np.sqrt(2)
    exact: Floats = matrix.astype(np.float32)
    return exact
