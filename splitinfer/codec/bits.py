"""Symbols of 8, 6 or 4 bits in bytes, a few whole-array operations each.

    4 bits: byte i = symbol 2i | symbol 2i+1 << 4
    6 bits: the upper four bits of all symbols as above, then the lower two bits, four symbols a byte, first symbol lowest

A wider view of the array does the work: two symbols in a 16-bit word lie eight bits apart, so one shift by four brings them
together. Missing symbols at the end count as 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.uint8]

_WORD: np.dtype[np.uint16] = np.dtype("<u2")
_LONG: np.dtype[np.uint32] = np.dtype("<u4")
_TWO, _THREE = np.uint8(2), np.uint8(3)


def packed_nbytes(size: int, bits: int) -> int:
    """Bytes of `size` symbols."""
    if bits == 8:
        return size
    return -(-size // 2) + (-(-size // 4) if bits == 6 else 0)


def pack(symbols: Symbols, bits: int) -> bytes:
    """Packs symbols, each below 2**bits."""
    if bits == 8:
        return symbols.tobytes()
    if bits == 4:
        return _pack_fours(symbols)
    return _pack_fours(symbols >> _TWO) + _pack_pairs(symbols & _THREE)


def unpack(packed: Symbols, bits: int, size: int) -> Symbols:
    """Reads `size` symbols; `packed` has `packed_nbytes` bytes."""
    if bits == 8:
        return packed
    half = -(-size // 2)
    fours = _unpack_fours(packed[:half])[:size]
    if bits == 4:
        return fours
    return (fours << _TWO) | _unpack_pairs(packed[half:])[:size]


def _pack_fours(symbols: Symbols) -> bytes:
    words = _padded(symbols, 2).view(_WORD)
    return (words | (words >> 4)).astype(np.uint8).tobytes()


def _unpack_fours(packed: Symbols) -> Symbols:
    words = packed.astype(_WORD)
    return ((words | (words << 4)) & 0x0F0F).view(np.uint8)


def _pack_pairs(symbols: Symbols) -> bytes:
    words = _padded(symbols, 4).view(_LONG)
    return (words | (words >> 6) | (words >> 12) | (words >> 18)).astype(np.uint8).tobytes()


def _unpack_pairs(packed: Symbols) -> Symbols:
    words = packed.astype(_LONG)
    return ((words | (words << 6) | (words << 12) | (words << 18)) & 0x03030303).view(np.uint8)


def _padded(symbols: Symbols, to: int) -> Symbols:
    missing = -len(symbols) % to
    return np.concatenate([symbols, np.zeros(missing, np.uint8)]) if missing else symbols
