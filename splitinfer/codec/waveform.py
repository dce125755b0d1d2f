"""What `pcm16` and `ulaw` have in common: sound as whole numbers from -32768 to 32767, of a full scale that the samples tell.

    table = full scale (float32, little-endian): a power of two, 1 or more, that no sample exceeds

Sound that came from 16 bits (recordings, most files) comes back exactly from these numbers, whether the model takes it from -1
to 1 or from -32768 to 32767. What is louder than full scale is `Uncodable`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import frexp

import numpy as np
import numpy.typing as npt

from splitinfer.codec.finite import LARGEST
from splitinfer.codec.items import ItemCodec
from splitinfer.errors import CorruptBundle
from splitinfer.model import Array, TensorSpec

Samples = npt.NDArray[np.int16]

_TABLE = struct.Struct("<f")
_STEPS = 32768
_SHORTEST = 160
_POWER_OF_TWO = 0.5  # the mantissa of one


class WaveformCodec(ItemCodec):
    """A codec that sees samples of 16 bits."""

    lossless = False
    needs_table = True

    def accepts(self, spec: TensorSpec) -> bool:
        """Floats of 32 bits or more in one row an item; shorter ones are no longer than what this makes of them."""
        return not spec.lossless_only and spec.itemsize >= 4 and len(_row(spec)) == 1

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """The full scale; None where a sample is not finite, or there is none."""
        peak = float(max((np.abs(sample).max() for sample in samples), default=np.nan))
        if not peak <= LARGEST:
            return None
        mantissa, exponent = frexp(max(peak, 1.0))
        return _TABLE.pack(2.0 ** (exponent - (mantissa == _POWER_OF_TWO)))

    def largest(self, table: bytes | None) -> float:
        """Full scale."""
        return full_scale(table)


class Waveform:
    """Floats <-> samples of 16 bits."""

    def __init__(self, spec: TensorSpec, table: bytes | None) -> None:
        self._dtype = np.dtype(spec.dtype)
        self._step = full_scale(table) / _STEPS

    def sampled(self, values: Array) -> Samples:
        """Rounds to the nearest; full scale itself is one step too many."""
        scaled = np.multiply(values, 1 / self._step, dtype=self._dtype)
        np.rint(scaled, out=scaled)
        np.minimum(scaled, _STEPS - 1, out=scaled)
        return scaled.astype(np.int16)

    def values(self, samples: Samples) -> Array:
        """The other way, exactly: a step is a power of two."""
        return np.multiply(samples, self._step, dtype=self._dtype)


def may_be_sound(spec: TensorSpec) -> bool:
    """Whether an input is a row of floats as long as sound is: 10 ms at 16 kHz, or any length."""
    row = _row(spec)
    return not spec.lossless_only and len(row) == 1 and (row[0] is None or row[0] >= _SHORTEST)


def _row(spec: TensorSpec) -> list[int | None]:
    """The dimensions of an item that have several indices."""
    dims = spec.shape[1:] if spec.shape[:1] == (None,) else spec.shape
    return [dim for dim in dims if dim != 1]


def full_scale(table: bytes | None) -> float:
    """What a table says.

    Raises:
        CorruptBundle: it is none of these codecs', or there is none.
    """
    if table is None:
        raise CorruptBundle("a sound has no full scale: build the bundle again, with samples")
    found: float = _TABLE.unpack(table)[0] if len(table) == _TABLE.size else 0.0
    if not 1 <= found <= LARGEST or frexp(found)[0] != _POWER_OF_TWO:
        raise CorruptBundle("a table is not the full scale of a sound: build the bundle again")
    return found
