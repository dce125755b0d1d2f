"""How a transform sees an item: channels, and blocks of a plane whose two axes may be missing.

A feature map [C, H, W] has C channels on a plane of H x W, a sequence [T, D] has D channels on a plane of T x 1, a vector [D]
on a plane of 1 x 1. Which axis holds the channels is told from the data (`fit`), not from names. Each axis of the plane is
taken in blocks of one length; the last block is filled up by repeating the edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array, TensorSpec

Floats = npt.NDArray[np.float32]

AXES_MAX = 3
CHANNELS_MAX = 512
"""With more, the matrix that mixes them would cost more than it saves."""
DYNAMIC_BLOCKS = (1, 8)
"""Lengths of blocks on an axis whose length varies."""
WHOLE_MAX = 128
"""A fixed axis up to this length may be one block."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the channels are, and how long blocks are.

    Attributes:
        dims: of an item without leading ones; None = varies.
        channel: axis of the channels.
        blocks: lengths along the two axes of the plane; 1 where there is no axis.
    """

    dims: tuple[int | None, ...]
    channel: int
    blocks: tuple[int, int]

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.dims[self.channel] or 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the coefficients of one block."""
        return (self.channels, *self.blocks)

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Number of blocks along both axes of the plane, for an item of this shape."""
        plane = self._plane(shape)
        rows, columns = (-(-length // block) for length, block in zip(plane, self.blocks, strict=True))
        return rows, columns

    def to_blocks(self, item: Array) -> Floats:
        """[C, rows, height, columns, width] of an item, in float32."""
        values: npt.NDArray[Any] = np.moveaxis(item.reshape(item.shape[-len(self.dims) :]), self.channel, 0).astype(
            np.float32, copy=False
        )
        height, width = self._plane(item.shape)
        rows, columns = self.grid(item.shape)
        values = values.reshape(self.channels, height, width)
        missing = rows * self.blocks[0] - height, columns * self.blocks[1] - width
        if any(missing):
            values = np.pad(values, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
        return values.reshape(self.channels, rows, self.blocks[0], columns, self.blocks[1])

    def from_blocks(self, blocks: Floats, shape: tuple[int, ...]) -> Floats:
        """The item of this shape again."""
        height, width = self._plane(shape)
        rows, columns = blocks.shape[1] * self.blocks[0], blocks.shape[3] * self.blocks[1]
        values = blocks.reshape(self.channels, rows, columns)[:, :height, :width]
        own = shape[-len(self.dims) :]
        plane = tuple(dim for axis, dim in enumerate(own) if axis != self.channel)
        return np.moveaxis(values.reshape(self.channels, *plane), 0, self.channel).reshape(shape)

    def _plane(self, shape: tuple[int, ...]) -> tuple[int, int]:
        own = shape[-len(self.dims) :]
        plane = [dim for axis, dim in enumerate(own) if axis != self.channel]
        first, second = (*plane, 1, 1)[:2]
        return first, second


def item_dims(spec: TensorSpec) -> tuple[int | None, ...]:
    """Dimensions of one item of a tensor, without leading ones."""
    dims = spec.shape[1:] if spec.shape[:1] == (None,) else spec.shape
    while len(dims) > 1 and dims[0] == 1:
        dims = dims[1:]
    return dims


def layouts(dims: tuple[int | None, ...]) -> tuple[Layout, ...]:
    """All that are worth a try: each fixed axis as the channels, each sensible length of blocks."""
    if not 0 < len(dims) <= AXES_MAX:
        return ()
    found = []
    for channel, size in enumerate(dims):
        if size is None or not 1 < size <= CHANNELS_MAX:
            continue
        plane = [dim for axis, dim in enumerate(dims) if axis != channel]
        lengths = [_lengths(dim) for dim in plane] + [(1,)] * (2 - len(plane))
        pairs = product(*lengths) if len(plane) < 2 else ((a, b) for a, b in product(*lengths) if min(a, b) > 1 or a == b)
        found += [Layout(dims, channel, (first, second)) for first, second in pairs]
    return tuple(found)


def _lengths(dim: int | None) -> tuple[int, ...]:
    if dim is None:
        return DYNAMIC_BLOCKS
    if dim <= 16:
        return (dim,) if dim < 3 else (dim, 1)
    return (dim, 8, 1) if dim <= WHOLE_MAX else (8, 1)
