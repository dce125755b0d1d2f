"""How most codecs see a tensor: the batch taken apart, each item a flat row of values that becomes one chunk.

A tensor has a batch axis where axis 0 of its spec is dynamic; then every index of axis 0 is an item. Any other tensor, scalars
included, is one item. Knows no file format and no quantiser.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf, prod
from typing import Protocol

import numpy as np

from splitinfer.codec.finite import LARGEST, check_finite
from splitinfer.errors import CodecError, CorruptPayload, InvalidInput
from splitinfer.model import Array, TensorSpec

Chunk = bytes | memoryview


class Item(Protocol):
    """One item <-> one chunk."""

    def encode(self, values: Array) -> bytes:
        """Codes a flat, contiguous, non-empty row of values."""
        ...

    def decode(self, chunk: Chunk, size: int) -> Array:
        """Reads `size` values back, and allocates no more than they need."""
        ...


class SizedItem(Item, Protocol):
    """An item whose chunk has a bound that follows from the number of values."""

    def nbytes(self, size: int) -> int:
        """The most bytes that the chunk of `size` values may have. `decode` refuses what is not exactly right."""
        ...


class ItemCoder:
    """Codes a tensor item by item."""

    def __init__(self, spec: TensorSpec, item: Item, largest: float = inf) -> None:
        """Binds.

        Args:
            spec: of the tensor.
            item: codes one item.
            largest: magnitude of floats that it can code; inf = it codes every value, NaN and infinities too.
        """
        self._spec = spec
        self._dtype = np.dtype(spec.dtype)
        self._item = item
        self._largest = largest

    def encode(self, array: Array) -> list[bytes]:
        """One chunk an item."""
        check_array(self._spec, array)
        rows = np.ascontiguousarray(array, dtype=self._dtype).reshape(self._count(array.shape), -1)
        if self._largest < inf:
            check_finite(self._spec, rows, self._largest)
        return [self._item.encode(row) for row in rows]

    def decode(self, chunks: Sequence[Chunk], shape: tuple[int, ...]) -> Array:
        """The tensor; a single item may be a read-only view of its chunk."""
        count = self._count(shape)
        check_count(chunks, count)
        if not all(shape):
            raise CorruptPayload(f"tensor {self._spec.name!r} is empty")
        size = prod(shape) // count
        if count == 1:
            return self._item.decode(chunks[0], size).reshape(shape)
        rows = np.empty((count, size), self._dtype)
        for row, chunk in zip(rows, chunks, strict=True):
            row[:] = self._item.decode(chunk, size)
        return rows.reshape(shape)

    def _count(self, shape: tuple[int, ...]) -> int:
        batched = bool(self._spec.shape) and self._spec.shape[0] is None
        return shape[0] if batched else 1


class ItemCodec(ABC):
    """A codec that works item by item; `item` is all that differs."""

    id: str
    lossless: bool
    needs_table: bool = False

    @abstractmethod
    def accepts(self, spec: TensorSpec) -> bool:
        """Whether it can code such a tensor."""

    @abstractmethod
    def item(self, spec: TensorSpec, table: bytes | None) -> Item:
        """Codes one item of such a tensor."""

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """No table."""
        return None

    def largest(self, table: bytes | None) -> float:
        """A lossy codec is asked to code finite floats up to this magnitude only; the others are `Uncodable`."""
        return LARGEST

    def bind(self, spec: TensorSpec, table: bytes | None = None) -> ItemCoder:
        """A coder for one tensor."""
        check_accepted(self.id, self.accepts(spec), spec)
        return ItemCoder(spec, self.item(spec, table), inf if self.lossless else self.largest(table))


class SizedItemCodec(ItemCodec):
    """One whose chunks have a bound that is known before: a byte compressor may follow, because its output can be checked."""

    @abstractmethod
    def item(self, spec: TensorSpec, table: bytes | None) -> SizedItem:
        """Codes one item of such a tensor."""


def check_accepted(id: str, accepted: bool, spec: TensorSpec) -> None:
    """Refuses to bind a codec to a tensor that it cannot code."""
    if not accepted:
        raise CodecError(f"codec {id!r} cannot code tensor {spec.name!r} ({spec.dtype} {list(spec.shape)}); choose another one")


def check_array(spec: TensorSpec, array: Array) -> None:
    """Refuses an array that is not of the spec, or empty."""
    if array.dtype.name != spec.dtype or not spec.fits(array.shape):
        want = ["?" if d is None else d for d in spec.shape]
        raise InvalidInput(f"tensor {spec.name!r}: expected {spec.dtype} {want}, got {array.dtype.name} {list(array.shape)}")
    if not array.size:
        raise InvalidInput(f"tensor {spec.name!r} is empty ({list(array.shape)}): send at least one item")


def check_count(chunks: Sequence[Chunk], count: int) -> None:
    """Refuses another number of chunks than the shape asks for."""
    if len(chunks) != count:
        raise CorruptPayload(f"expected {count} chunks, got {len(chunks)}")


def check_nbytes(chunk: Chunk, nbytes: int) -> None:
    """Refuses a chunk of another size."""
    if len(chunk) != nbytes:
        raise CorruptPayload(f"expected a chunk of {nbytes} bytes, got {len(chunk)}")
