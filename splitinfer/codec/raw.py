"""`raw`: the values as they are, little-endian. Takes every tensor of numbers or truth values."""

from __future__ import annotations

import numpy as np

from splitinfer.codec.items import Chunk, SizedItemCodec, check_nbytes
from splitinfer.errors import CorruptPayload
from splitinfer.model import Array, TensorSpec


class Raw(SizedItemCodec):
    """The plain bytes."""

    id = "raw"
    lossless = True

    def accepts(self, spec: TensorSpec) -> bool:
        """Booleans, integers and floats; not strings."""
        return np.dtype(spec.dtype).kind in "biuf"

    def item(self, spec: TensorSpec, table: bytes | None) -> RawItem:
        """Needs no table."""
        return RawItem(np.dtype(spec.dtype))


class RawItem:
    """Values <-> their bytes."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self._dtype = dtype.newbyteorder("<")

    def nbytes(self, size: int) -> int:
        """Plain size."""
        return size * self._dtype.itemsize

    def encode(self, values: Array) -> bytes:
        """Copies."""
        return values.astype(self._dtype, copy=False).tobytes()

    def decode(self, chunk: Chunk, size: int) -> Array:
        """A read-only view; only a chunk that lies askew in memory is copied."""
        check_nbytes(chunk, self.nbytes(size))
        values: Array = np.frombuffer(chunk, self._dtype)
        if self._dtype.kind == "b" and np.frombuffer(chunk, np.uint8).max() > 1:
            raise CorruptPayload("a truth value is neither 0 nor 1")
        return values if values.flags.aligned else values.copy()
