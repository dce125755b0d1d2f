"""Symbols of 1 to 8 bits in bytes, a few whole-array operations each.

A symbol is taken apart into groups of 4, 2 and 1 bits, as many as it needs; groups of the same width lie together, the highest
bits first, the first symbol in the lowest bits of a byte:

    4 bits: byte i = symbol 2i | symbol 2i+1 << 4
    6 bits: the upper four bits of all symbols as above, then the lower two bits, four symbols a byte
    7 bits: the upper four bits, the two bits below, the lowest bit, eight symbols a byte

A wider view of the array does the work: two symbols in a 16-bit word lie eight bits apart, so one shift by four brings them
together. Missing symbols at the end count as 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.uint8]

_WORD: np.dtype[np.uint16] = np.dtype("<u2")
_LONG: np.dtype[np.uint32] = np.dtype("<u4")


def packed_nbytes(size: int, bits: int) -> int:
    """Bytes of `size` symbols."""
    return sum(-(-size * width // 8) for width in _groups(bits))


def pack(symbols: Symbols, bits: int) -> bytes:
    """Packs symbols, each below 2**bits."""
    packed, below = b"", bits
    for width in _groups(bits):
        below -= width
        rest = symbols >> np.uint8(below) if below else symbols
        group = rest & np.uint8(2**width - 1) if below + width < bits else rest
        packed += _PACK[width](group)
    return packed


def unpack(packed: Symbols, bits: int, size: int) -> Symbols:
    """Reads `size` symbols; `packed` has `packed_nbytes` bytes."""
    symbols, start = None, 0
    for width in _groups(bits):
        stop = start + packed_nbytes(size, width)
        group = _UNPACK[width](packed[start:stop])[:size]
        symbols, start = group if symbols is None else (symbols << np.uint8(width)) | group, stop
    assert symbols is not None
    return symbols


def _groups(bits: int) -> list[int]:
    return [width for width in (8, 4, 2, 1) if bits & width]


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


def _pack_ones(symbols: Symbols) -> bytes:
    return np.packbits(symbols, bitorder="little").tobytes()


def _unpack_ones(packed: Symbols) -> Symbols:
    return np.unpackbits(packed, bitorder="little")


def _padded(symbols: Symbols, to: int) -> Symbols:
    missing = -len(symbols) % to
    return np.concatenate([symbols, np.zeros(missing, np.uint8)]) if missing else symbols


_PACK: dict[int, Callable[[Symbols], bytes]] = {
    8: lambda symbols: symbols.tobytes(),
    4: _pack_fours,
    2: _pack_pairs,
    1: _pack_ones,
}
_UNPACK: dict[int, Callable[[Symbols], Symbols]] = {
    8: lambda packed: packed,
    4: _unpack_fours,
    2: _unpack_pairs,
    1: _unpack_ones,
}
