"""A table of the transform codec, and its bytes in a bundle.

    version, channel axis, block lengths, exponent (u8, u8, u16, u16, i16), then one Zstandard frame, all little-endian:
    mixing     f2 [C, C]                  times 2^exponent
    weight     f2 [height, width]
    spread     i1 [C, height, width]      quarter octaves of the standard deviation
    mean       i4 [C, height, width]      in 1/64
    rows       u2, lowest row first       frequencies
    points     u1 [rows, 2]               in 1/256, minus 1/2
    gains      u2 [steps, C]              in 1/16384

Arrays of several bytes are stored as all lowest bytes, then all next ones, which compress better.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from splitinfer.codec.items import Chunk
from splitinfer.codec.klt.basis import Basis
from splitinfer.codec.klt.layout import Floats, Layout, item_dims, layouts
from splitinfer.codec.klt.rows import COUNT, SYMBOLS, Row
from splitinfer.codec.zstd import inflate
from splitinfer.errors import CorruptBundle, CorruptPayload
from splitinfer.model import TensorSpec

MEANS_PER_UNIT = 64
_HEAD = struct.Struct("<BBHHh")
_VERSION = 1
_LEVEL = 19
_POINTS = 256
_GAINS = 1 << 14
QUARTERS = tuple(range(-12, 5, 2))
"""Steps that calibration looks at, in quarter octaves: 1/8 to 2."""


@dataclass(frozen=True)
class Table:
    """What calibration found.

    Attributes:
        basis: the transform.
        spread: quarter octaves of each coefficient's standard deviation, int8 [C, height, width].
        rows: `rows.COUNT` of them.
        gains: of channels after quantisation, float32 [len(QUARTERS), C].
    """

    basis: Basis
    spread: npt.NDArray[np.int8]
    rows: tuple[Row, ...]
    gains: Floats

    def gain(self, quarters: int) -> Floats:
        """The gains that were found at the nearest step."""
        nearest = min(range(len(QUARTERS)), key=lambda index: abs(QUARTERS[index] - quarters))
        gain: Floats = self.gains[nearest]
        return gain


def rounded(basis: Basis) -> Basis:
    """A basis as it comes back from its bytes."""
    exponent, halves = _halves(basis.mixing)
    mean = (np.rint(basis.mean * MEANS_PER_UNIT) / MEANS_PER_UNIT).astype(np.float32)
    return Basis(basis.layout, _scaled(halves, exponent), basis.weight.astype("<f2").astype(np.float32), mean)


def write(table: Table) -> bytes:
    """The bytes of a table."""
    basis = table.basis
    exponent, halves = _halves(basis.mixing)
    points = np.array([row.points for row in table.rows])
    body = [
        _split(halves),
        _split(basis.weight.astype("<f2")),
        table.spread.tobytes(),
        _split(np.rint(basis.mean * MEANS_PER_UNIT).astype("<i4")),
        _split(np.array([count for row in table.rows for count in row.frequencies], "<u2")),
        np.clip(np.rint((points + 0.5) * _POINTS), 0, _POINTS - 1).astype(np.uint8).tobytes(),
        _split(np.clip(np.rint(table.gains * _GAINS), 0, 2**16 - 1).astype("<u2")),
    ]
    layout = basis.layout
    return _HEAD.pack(_VERSION, layout.channel, *layout.blocks, exponent) + zstandard.compress(b"".join(body), _LEVEL)


def read(spec: TensorSpec, data: bytes) -> Table:
    """A table from its bytes.

    Raises:
        CorruptBundle: it is none, or not for such a tensor.
    """
    try:
        version, channel, height, width, exponent = _HEAD.unpack_from(data)
    except struct.error as error:
        raise _corrupt(spec) from error
    found = [one for one in layouts(item_dims(spec)) if (one.channel, *one.blocks) == (channel, height, width)]
    if version != _VERSION or not found:
        raise _corrupt(spec)
    try:
        body = inflate(memoryview(data)[_HEAD.size :], _nbytes(found[0]))
    except CorruptPayload as error:
        raise _corrupt(spec) from error
    if len(body) != _nbytes(found[0]):
        raise _corrupt(spec)
    table = _Body(body).table(found[0], exponent)
    if not _is_sound(table):
        raise _corrupt(spec)
    return table


class _Body:
    """Takes arrays off the front."""

    def __init__(self, data: Chunk) -> None:
        self._data = data
        self._at = 0

    def table(self, layout: Layout, exponent: int) -> Table:
        """All of them."""
        shape = channels, height, width = layout.shape
        mixing = _scaled(self._array((channels, channels), "<f2"), exponent)
        weight = self._array((height, width), "<f2")
        spread = np.frombuffer(self._take(channels * height * width), np.int8).reshape(shape)
        mean = self._array(shape, "<i4") / np.float32(MEANS_PER_UNIT)
        counts = self._array((sum(SYMBOLS),), "<u2").astype(int).tolist()
        points = np.frombuffer(self._take(2 * COUNT), np.uint8).reshape(COUNT, 2) / _POINTS - 0.5
        rows = []
        for size, (one, more) in zip(SYMBOLS, points.tolist(), strict=True):
            rows.append(Row(tuple(counts[:size]), (one, more)))
            counts = counts[size:]
        gains = self._array((len(QUARTERS), channels), "<u2") / np.float32(_GAINS)
        return Table(Basis(layout, mixing, weight, mean), spread, tuple(rows), gains)

    def _array(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[np.float32]:
        size, width = int(np.prod(shape)), np.dtype(dtype).itemsize
        planes = np.frombuffer(self._take(width * size), np.uint8).reshape(width, size)
        return np.ascontiguousarray(planes.T).view(dtype).reshape(shape).astype(np.float32)

    def _take(self, nbytes: int) -> Chunk:
        self._at += nbytes
        return self._data[self._at - nbytes : self._at]


def _nbytes(layout: Layout) -> int:
    channels, height, width = layout.shape
    maps = 2 * height * width + 5 * channels * height * width
    return 2 * channels**2 + maps + 2 * sum(SYMBOLS) + 2 * COUNT + 2 * len(QUARTERS) * channels


def _split(array: npt.NDArray[np.generic]) -> bytes:
    return array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def _halves(mixing: Floats) -> tuple[int, npt.NDArray[np.float16]]:
    """An exponent, and half floats up to 1 that it belongs to: tensors may have any unit."""
    exponent = int(np.frexp(np.abs(mixing).max())[1])
    return exponent, np.ldexp(mixing, -exponent).astype("<f2")


def _scaled(halves: npt.NDArray[np.floating], exponent: int) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # what a damaged table holds is looked at later
        scaled: Floats = np.ldexp(halves.astype(np.float32), exponent)
    return scaled


def _is_sound(table: Table) -> bool:
    """Whether it can be computed with."""
    basis = table.basis
    numbers = np.isfinite(basis.mixing).all() and (basis.weight > 0).all() and np.isfinite(basis.weight).all()
    return bool(numbers and all(min(row.frequencies) > 0 for row in table.rows) and _is_invertible(basis))


def _is_invertible(basis: Basis) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(basis.inverse_mixing).all())
    except np.linalg.LinAlgError:
        return False


def _corrupt(spec: TensorSpec) -> CorruptBundle:
    return CorruptBundle(f"the transform's table of tensor {spec.name!r} cannot be read: build the bundle again")
