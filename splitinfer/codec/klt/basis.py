"""The linear transform: channels mixed by a matrix, then a discrete cosine transform over each block of the plane.

    y = weight * D_h (A x) D_w'  -  mean          x = gain A^-1 (D_h' (y / weight) D_w)  +  A^-1 (D_h' (mean / weight) D_w)

A is a Karhunen-Loeve transform in units of what the answers depend on (`fit`), D_n the orthonormal DCT-II of length n. Both
ends compute in float32 and need not agree to the last bit: what is entropy coded are integers, and no decision of the decoder
depends on a float. A gain for each channel gives back what quantisation takes (`fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from splitinfer.codec.klt.layout import Floats, Layout
from splitinfer.model import Array

_PIECE = 1 << 18


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
        """The item of this shape, from its coefficients, which are used up.

        Args:
            coefficients: [C, rows, height, columns, width].
            gain: [C], of the channels of the item.
            shape: of the item.
        """
        return self.layout.from_blocks(self.inverse_blocks(coefficients, gain), shape)

    def inverse_blocks(self, coefficients: Floats, gain: Floats) -> Floats:
        """Values of blocks from their coefficients, which are used up; shapes as in `forward`."""
        coefficients *= self._per_weight
        values = self._unmixed(coefficients, gain)
        values += self._mean_values
        return values

    def _unmixed(self, coefficients: Floats, gain: Floats) -> Floats:
        height, width = self.layout.blocks
        mixed = spectrum(coefficients, dct_matrix(height).T, dct_matrix(width).T)
        return product(self._inverse_mixing * gain[:, None], mixed.reshape(len(mixed), -1)).reshape(mixed.shape)

    @cached_property
    def _inverse_mixing(self) -> Floats:
        inverse: Floats = np.linalg.inv(self.mixing.astype(np.float64)).astype(np.float32)
        return inverse

    @cached_property
    def _mean_values(self) -> Floats:
        return self._unmixed(self._mean * self._per_weight, np.ones(self.layout.channels, np.float32))

    @cached_property
    def _weight(self) -> Floats:
        return self.weight[None, :, None, :]

    @cached_property
    def _per_weight(self) -> Floats:
        return np.float32(1) / self._weight

    @cached_property
    def _mean(self) -> Floats:
        return self.mean[:, None, :, None, :]


def product(matrix: Floats, columns: Floats) -> Floats:
    """Matrix @ columns, in pieces that the BLAS computes in this thread.

    OpenBLAS takes several threads from 2^18 multiplications on, and what they spin while they wait for one another takes more
    of the processor than such a product does.
    """
    size, count = len(matrix), columns.shape[1]
    piece = max(1, _PIECE // size**2)
    if piece >= count:
        return matrix @ columns
    out = np.empty((size, count), np.float32)
    for at in range(0, count, piece):
        np.matmul(matrix, columns[:, at : at + piece], out=out[:, at : at + piece])
    return out


def spectrum(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Both matrices applied to each block of [C, rows, height, columns, width]."""
    if columns.shape != (1, 1):
        values = values @ columns.T
    if rows.shape != (1, 1):
        flat = values.reshape(values.shape[0] * values.shape[1], values.shape[2], -1)
        values = (rows @ flat).reshape(values.shape)
    return values


@lru_cache(64)
def dct_matrix(n: int) -> Floats:
    """The orthonormal DCT-II, [n, n] (Ahmed, Natarajan and Rao 1974)."""
    place, frequency = np.arange(n) + 0.5, np.arange(n)[:, None]
    matrix = np.sqrt(2 / n) * np.cos(np.pi / n * frequency * place)
    matrix[0] /= np.sqrt(2)
    exact: Floats = matrix.astype(np.float32)
    return exact
