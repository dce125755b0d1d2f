"""The protobuf wire format, read field by field: nothing is copied, and nothing is kept past a limit.

The generated classes parse a whole message before anybody can look at it: 16 MB of empty parts became 690 MB and 1.7 s with the
GIL held. Here the 65th part is refused when it is seen. Knows no message of ours.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from splitinfer.errors import CorruptPayload

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIELDS_MAX = 16_384
"""Fields of one message, unknown ones included."""

Field = tuple[int, int | memoryview]
"""Number and value: an int for a varint, else the bytes."""


def fields(data: memoryview) -> Iterator[Field]:
    """Yields the fields of a message in the order in which they came.

    Raises:
        CorruptPayload: not a message, groups in it (proto3 has none), or too many fields.
    """
    at, end = 0, len(data)
    for _ in range(FIELDS_MAX):
        if at == end:
            return
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise CorruptPayload("not a protobuf message: a field has an impossible number")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise CorruptPayload(f"not a protobuf message: field {number} has wire type {kind}")
        if size > end - at:
            raise CorruptPayload(f"cut short: field {number} says {size} bytes, {end - at} are left")
        yield number, data[at : at + size]
        at += size
    if at != end:
        raise CorruptPayload(f"a message of more than {FIELDS_MAX} fields")


def varint(value: int) -> bytes:
    """Writes a number of 0 or more."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(value: int | memoryview) -> int:
    """The value of a field that must be a varint."""
    if not isinstance(value, int):
        raise CorruptPayload("a number was expected, bytes came")
    return value


def chunk(value: int | memoryview) -> memoryview:
    """The value of a field that must be bytes."""
    if not isinstance(value, memoryview):
        raise CorruptPayload("bytes were expected, a number came")
    return value


def text(value: int | memoryview, max_bytes: int) -> str:
    """The value of a field that must be a string."""
    raw = chunk(value)
    if len(raw) > max_bytes:
        raise CorruptPayload(f"a text of {len(raw)} bytes; at most {max_bytes} are allowed")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise CorruptPayload("a text is not UTF-8") from None


def numbers(value: int | memoryview) -> Iterator[int]:
    """The values of a repeated varint field, packed or not; int64, so that negative ones come out negative."""
    if isinstance(value, int):
        yield _signed(value)
        return
    at = 0
    while at < len(value):
        item, at = _varint(value, at)
        yield _signed(item)


def measured(value: float) -> float:
    """A figure that the other side measured: one NaN would stay in every average."""
    if not (isfinite(value) and value >= 0):
        raise CorruptPayload(f"a finite figure of at least 0 was expected, {value} came")
    return value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise CorruptPayload("cut short, or a number of more than 64 bits")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
