"""The linear transform: channels mixed by a matrix, then a discrete cosine transform over each block of the plane.

    y = weight * D_h (A x) D_w'  -  mean          x = A^-1 (D_h' ((y + mean) / weight) D_w)

A is a Karhunen-Loeve transform in units of what the answers depend on (`fit`), D_n the orthonormal DCT-II of length n. Both
ends compute in float32 and need not agree to the last bit: what is entropy coded are integers, and no decision of the decoder
depends on a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from splitinfer.codec.klt.layout import Floats, Layout
from splitinfer.model import Array


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
        mixed = (self.mixing @ values.reshape(len(values), -1)).reshape(values.shape)
        rows, columns = dct_matrix(values.shape[2]), dct_matrix(values.shape[4])
        return spectrum(mixed, rows, columns) * self._weight - self._mean

    def inverse(self, coefficients: Floats, shape: tuple[int, ...]) -> Floats:
        """The item of this shape, from its coefficients."""
        height, width = self.layout.blocks
        mixed = spectrum((coefficients + self._mean) * self._per_weight, dct_matrix(height).T, dct_matrix(width).T)
        values: Floats = (self._unmixing @ mixed.reshape(len(mixed), -1)).reshape(mixed.shape)
        return self.layout.from_blocks(values, shape)

    @cached_property
    def _unmixing(self) -> Floats:
        inverse: Floats = np.linalg.inv(self.mixing.astype(np.float64)).astype(np.float32)
        return inverse

    @cached_property
    def _weight(self) -> Floats:
        return self.weight[None, :, None, :]

    @cached_property
    def _per_weight(self) -> Floats:
        return np.float32(1) / self._weight

    @cached_property
    def _mean(self) -> Floats:
        return self.mean[:, None, :, None, :]


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
