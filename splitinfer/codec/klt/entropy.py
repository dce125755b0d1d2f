"""The entropy coder: a stack of symbols on asymmetric numeral systems (Duda 2013), from the package `constriction`.

What went in first comes out last. The only module that knows the package; it is imported when something is first coded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from splitinfer.codec.items import Chunk
from splitinfer.errors import CorruptPayload

Symbols = npt.NDArray[np.int32]
Distribution = Any
"""Of the package."""


def distribution(weights: npt.NDArray[np.float64]) -> Distribution:
    """Symbols 0, 1, .. with these weights: whole numbers, which float64 holds exactly.

    The package scales them to 24 bits by one multiplication and one truncation each, which IEEE 754 defines to the last bit.
    """
    from constriction import stream

    return stream.model.Categorical(weights, perfect=False)


@lru_cache
def even(bits: int) -> Distribution:
    """Symbols of so many bits, all alike."""
    from constriction import stream

    return stream.model.Uniform(1 << bits)


class Stack:
    """A stack of symbols."""

    def __init__(self, data: Chunk = b"") -> None:
        """Makes a stack, empty or from what `to_bytes` gave.

        Raises:
            CorruptPayload: no stack gives such bytes.
        """
        from constriction import stream

        if len(data) and not data[-1]:
            raise CorruptPayload("the symbols of a transform end in zeros")
        words = np.zeros(-(-len(data) // 4), "<u4")
        words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
        self._coder = stream.stack.AnsCoder(words.astype(np.uint32, copy=False))

    def push(self, symbols: Symbols, model: Distribution) -> None:
        """Puts symbols on top; they come off in the order of the array."""
        self._coder.encode_reverse(symbols, model)

    def pop(self, count: int, model: Distribution) -> Symbols:
        """Takes symbols off the top; whether they were there `is_empty` tells in the end."""
        symbols: Symbols = self._coder.decode(model, count)
        return symbols

    def is_empty(self) -> bool:
        """Whether everything came off that was put on."""
        return bool(self._coder.is_empty())

    def to_bytes(self) -> bytes:
        """32-bit words, little-endian, without the zero bytes at their end."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))
