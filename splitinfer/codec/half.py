"""`half`: floats as float16, which holds any activation a network in half precision could hold.

Values beyond +-65504, infinities and NaN are `Uncodable`: one value out of range must not become an infinity, nor silently
another number, that poisons the tail.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from splitinfer.codec.items import Chunk, SizedItemCodec, check_nbytes
from splitinfer.model import Array, TensorSpec

_HALF = np.dtype("<f2")
_WORD = np.dtype("<u2")
_BLOCK = 1 << 14


class Half(SizedItemCodec):
    """Two bytes a value."""

    id = "half"
    lossless = False

    def accepts(self, spec: TensorSpec) -> bool:
        """Floats that are wider than 16 bits."""
        dtype = np.dtype(spec.dtype)
        return dtype.kind == "f" and dtype.itemsize > _HALF.itemsize

    def largest(self, table: bytes | None) -> float:
        """65504."""
        return float(np.finfo(np.float16).max)

    def item(self, spec: TensorSpec, table: bytes | None) -> HalfItem:
        """Needs no table."""
        return HalfItem(np.dtype(spec.dtype))


class HalfItem:
    """Values <-> float16."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self._dtype = dtype

    def nbytes(self, size: int) -> int:
        """Two a value."""
        return size * _HALF.itemsize

    def encode(self, values: Array) -> bytes:
        """Rounds to nearest."""
        return values.astype(_HALF).tobytes()

    def decode(self, chunk: Chunk, size: int) -> Array:
        """Looks each value up, which takes half the time of numpy's conversion; in blocks, because its indices are wide."""
        check_nbytes(chunk, self.nbytes(size))
        words, table = np.frombuffer(chunk, _WORD), _widened(self._dtype)
        values = np.empty(size, self._dtype)
        for start in range(0, size, _BLOCK):
            at = slice(start, start + _BLOCK)
            np.take(table, words[at], out=values[at], mode="clip")  # no index is out of bounds; to say so saves a copy
        return values


@cache
def _widened(dtype: np.dtype[np.generic]) -> Array:
    """All 65536 values."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(dtype)
