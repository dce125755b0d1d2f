"""`int8`, `int7`, ... `int2`: floats on evenly spaced levels between the lowest and the highest value of an item.

    chunk = lo (float32), hi (float32), symbols          little-endian
    symbol = round((value - lo) / step)                  step = float32((hi - lo) / (2**bits - 1))
    value = float32(symbol) * step + lo

lo and hi travel in the chunk, so that decoding needs no table. A table (lo, hi from samples, `clip.best_clip`) only tells the
encoder which range to use: four bits gain most by giving up the rare extremes.

NaN, infinities and values beyond half of float32's range, where hi - lo would overflow, are `Uncodable`; with a table, so are
values far beyond its range (`finite.FAR`): inputs are not what the samples were.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from splitinfer.codec.bits import pack, packed_nbytes, unpack
from splitinfer.codec.clip import best_clip
from splitinfer.codec.finite import FAR, LARGEST
from splitinfer.codec.items import Chunk, SizedItemCodec, check_nbytes
from splitinfer.errors import CorruptBundle, CorruptPayload
from splitinfer.model import Array, TensorSpec

_RANGE = struct.Struct("<ff")
_SMALLEST_STEP = float(np.finfo(np.float32).tiny)
_BLOCK = 1 << 14
"""Values are decoded in blocks that stay in the cache; float16 would need three times its memory in one piece."""

Floats = npt.NDArray[np.float32]


class Affine(SizedItemCodec):
    """Floats as unsigned integers of 2 to 8 bits."""

    lossless = False

    def __init__(self, bits: int, packed: bool = True) -> None:
        """Makes a codec.

        Args:
            bits: of a symbol.
            packed: False leaves one symbol a byte, for a byte compressor that makes more of it than of packed ones.
        """
        self.id = f"int{bits}"
        self._bits = bits
        self._packed = packed

    def accepts(self, spec: TensorSpec) -> bool:
        """Floats of any width."""
        return not spec.lossless_only

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """The range with the least mean squared error over the samples; None where no sample has a finite value."""
        found = best_clip([_narrow(sample).ravel() for sample in samples], 2**self._bits - 1)
        return found and _RANGE.pack(*found)

    def largest(self, table: bytes | None) -> float:
        """Some times the farther end of the table's range."""
        return LARGEST if table is None else min(FAR * max(map(abs, _read_table(table))), LARGEST)

    def item(self, spec: TensorSpec, table: bytes | None) -> AffineItem:
        """Without a table each item's own lowest and highest value are the range."""
        clip = None if table is None else _read_table(table)
        return AffineItem(np.dtype(spec.dtype), self._bits if self._packed else 8, 2**self._bits - 1, clip)


class AffineItem:
    """Values <-> range and symbols."""

    def __init__(self, dtype: np.dtype[np.generic], stored_bits: int, levels: int, clip: tuple[float, float] | None) -> None:
        self._dtype = dtype
        self._stored_bits = stored_bits
        self._levels = levels
        self._clip = clip
        self._most = min(LARGEST, float(np.finfo(dtype.name).max))

    def nbytes(self, size: int) -> int:
        """Range and symbols."""
        return _RANGE.size + packed_nbytes(size, self._stored_bits)

    def encode(self, values: Array) -> bytes:
        """Clips, scales and rounds in one buffer. The values are finite (`finite.check_finite`).

        `clip` takes a sixth of the time of `maximum` and `minimum`.
        """
        floats = values.astype(np.float32, copy=False)
        lo, hi = self._clip or _span(floats)
        step = (hi - lo) / self._levels
        if step < _SMALLEST_STEP:
            lo, hi, step = lo, lo, 1.0
        scaled = np.clip(floats, np.float32(lo), np.float32(hi))
        scaled -= np.float32(lo)
        scaled *= np.float32(1.0 / step)
        scaled += np.float32(0.5)
        return _RANGE.pack(lo, hi) + pack(scaled.astype(np.uint8), self._stored_bits)

    def decode(self, chunk: Chunk, size: int) -> Array:
        """Level times step plus lo."""
        check_nbytes(chunk, self.nbytes(size))
        lo, hi = _RANGE.unpack_from(chunk)
        if not -self._most <= lo <= hi <= self._most:  # false for NaN, too
            raise CorruptPayload("the range of a quantised tensor is not lo <= hi, both finite")
        symbols = unpack(np.frombuffer(chunk, np.uint8, offset=_RANGE.size), self._stored_bits, size)
        if symbols.max() > self._levels:
            raise CorruptPayload("a symbol is beyond the highest level")
        step = np.float32((hi - lo) / self._levels)
        values = np.empty(size, self._dtype)
        for start in range(0, size, _BLOCK):
            block = np.multiply(symbols[start : start + _BLOCK], step, dtype=np.float32)
            values[start : start + _BLOCK] = np.add(block, np.float32(lo), out=block)
        return values


def _narrow(values: Array) -> Floats:
    """As float32; wider values saturate."""
    if values.dtype.itemsize > 4:
        values = np.clip(values, -LARGEST, LARGEST)
    return values.astype(np.float32, copy=False)


def _span(values: Floats) -> tuple[float, float]:
    """Lowest and highest value."""
    return float(values.min()), float(values.max())


def _read_table(table: bytes) -> tuple[float, float]:
    if len(table) == _RANGE.size:
        lo, hi = _RANGE.unpack(table)
        if -LARGEST <= lo <= hi <= LARGEST:
            return lo, hi
    raise CorruptBundle("a quantiser's table is not a range: build the bundle again")
