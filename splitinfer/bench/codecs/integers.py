"""The rivals at a cut: 2 to 8 bits a value, the range chosen on samples, then Zstandard level 1.

Each gets its best: one range for a tensor or one for each channel (or dimension of a sequence), symbols packed or one a byte,
whichever is smaller for an item; the ranges are known to both sides and cost nothing. Knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from splitinfer.codec.clip import best_clip
from splitinfer.model import Array, Tensors

BITS = (8, 7, 6, 5, 4, 3, 2)
_LEVEL = 1

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantiser:
    """Ranges of one tensor.

    Attributes:
        bits: of a symbol.
        low: of each range, as an array that broadcasts.
        step: between two levels, likewise.
    """

    bits: int
    low: Floats
    step: Floats

    def __call__(self, values: Array) -> tuple[Array, int]:
        """What arrives, and the bytes."""
        symbols = np.clip(np.rint((values.astype(np.float32) - self.low) / self.step), 0, 2**self.bits - 1).astype(np.uint8)
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        nbytes = min(len(compressor.compress(form.tobytes())) for form in (symbols, _dense(symbols, self.bits)))
        return (symbols * self.step + self.low).astype(values.dtype), nbytes


def quantiser(bits: int, samples: Sequence[Array], each: bool) -> Quantiser:
    """A quantiser from samples.

    Args:
        bits: of a symbol.
        samples: of one tensor, [1, ...].
        each: a range for each channel [1, C, H, W] or dimension [..., D].
    """
    stacked = np.concatenate(samples).astype(np.float32)
    if not each or stacked.ndim < 2:
        low, step = _range(stacked.ravel(), bits)
        return Quantiser(bits, np.array(low, np.float32), np.array(step, np.float32))
    axis = 1 if stacked.ndim == 4 else stacked.ndim - 1
    rows = np.moveaxis(stacked, axis, 0).reshape(stacked.shape[axis], -1)
    ranges = np.array([_range(row, bits) for row in rows], np.float32)
    shape = [-1 if at == axis else 1 for at in range(stacked.ndim)]
    return Quantiser(bits, ranges[:, 0].reshape(shape), ranges[:, 1].reshape(shape))


class Quantised:
    """All tensors of a cut with so many bits.

    Args:
        bits: of a symbol.
        samples: what crossed for samples.
        each: see `quantiser`.
    """

    def __init__(self, bits: int, samples: Sequence[Tensors], each: bool) -> None:
        self._of: Mapping[str, Quantiser] = {
            name: quantiser(bits, [tensors[name] for tensors in samples], each) for name in samples[0]
        }

    def __call__(self, tensors: Tensors) -> tuple[Tensors, int]:
        """What arrives, and the bytes."""
        coded = {name: self._of[name](array) for name, array in tensors.items()}
        return {name: values for name, (values, _) in coded.items()}, sum(nbytes for _, nbytes in coded.values())


def label(bits: int, each: bool) -> str:
    """For people."""
    return f"int{bits} a {'channel' if each else 'tensor'} + zstd1"


def _range(values: Floats, bits: int) -> tuple[float, float]:
    low, high = best_clip([values], 2**bits - 1) or (0.0, 0.0)
    return low, max(high - low, 1e-12) / (2**bits - 1)


def _dense(symbols: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Symbols bit after bit, the first one in the highest bits."""
    return np.packbits(np.unpackbits(symbols.reshape(-1, 1), axis=1)[:, 8 - bits :])
