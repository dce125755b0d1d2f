"""What the rows cannot say: coefficients that should have been zero, and levels beyond their row. A few whole numbers.

    length of the rest (varint)
    number of coefficients where none was expected, then for each: distance from the one before (varint), level (zigzag varint)
    for each escape in the order of coding: level without its low bits (zigzag varint)

A varint has seven bits a byte, lowest first, the eighth bit says that more follow. Where there is nothing to say, the whole is
one byte, 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from splitinfer.codec.items import Chunk
from splitinfer.errors import CorruptPayload

_VARINT_BYTES_MAX = 5


@dataclass(frozen=True)
class Side:
    """What stands beside the symbols.

    Attributes:
        places: of coefficients that no row codes, ascending.
        levels: theirs.
        escapes: levels beyond their row.
    """

    places: Sequence[int] = ()
    levels: Sequence[int] = ()
    escapes: Sequence[int] = ()

    def __len__(self) -> int:
        """Numbers that were not expected."""
        return len(self.places) + len(self.escapes)


def write(side: Side) -> bytes:
    """The bytes of a side."""
    if not len(side):
        return b"\0"
    numbers = [len(side.places)]
    last = -1
    for place, level in zip(side.places, side.levels, strict=True):
        numbers += [place - last - 1, _zigzag(level)]
        last = place
    numbers += map(_zigzag, side.escapes)
    body = _varints(numbers)
    return _varints([len(body)]) + body


def read(chunk: Chunk, most: int) -> tuple[Side, Chunk]:
    """A side off the front of a chunk, and what follows it.

    Args:
        chunk: from a stranger.
        most: numbers that a side may have.

    Raises:
        CorruptPayload: it is none.
    """
    length, at = _varint(chunk, 0)
    rest = chunk[at + length :]
    if not length:
        return Side(), rest
    numbers: list[int] = []
    stop = at + length
    while at < stop and len(numbers) <= 2 * most + 1:
        number, at = _varint(chunk, at)
        numbers.append(number)
    if at != stop or not numbers or len(numbers) < 1 + 2 * numbers[0]:
        raise CorruptPayload("what stands beside the symbols of a transform does not end where it says")
    head = 1 + 2 * numbers[0]
    places, last = [], -1
    for gap in numbers[1:head:2]:
        last += gap + 1
        places.append(last)
    return Side(places, [_unzigzag(n) for n in numbers[2:head:2]], [_unzigzag(n) for n in numbers[head:]]), rest


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(number: int) -> int:
    return number >> 1 if not number & 1 else -(number + 1 >> 1)


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def _varint(chunk: Chunk, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    number = 0
    for index, byte in enumerate(chunk[at : at + _VARINT_BYTES_MAX]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise CorruptPayload("a number beside the symbols of a transform is cut off or too long")
