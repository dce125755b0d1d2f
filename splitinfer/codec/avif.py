"""`avif:Q`: a picture at quality 1..100, with full colour resolution. Smaller than WebP, slower to write.

An AVIF file states its size twice: in a box, and in the AV1 stream, which alone decides what a decoder allocates. Both are read
here before the library sees the file, so only plain still pictures are taken: one AV1 item, with the short sequence header that
still pictures have. No grids, no layers, no transparency. Camera data and colour profiles may be there.

Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items), AV1 Bitstream & Decoding Process Specification, 5.3 and 5.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import CorruptPayload

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_SPEED = 8
"""Of 0..10: 18 ms for 224x224. 9 takes 5 ms for 6 % more bytes, 7 takes 30 ms for the same bytes."""
_BRAND, _ANIMATED = b"avif", b"avis"
_PICTURE, _METADATA = b"av01", {b"Exif", b"mime"}
_FULL = 4  # bytes of version and flags in front of what a full box holds
_LIST_MAX_BYTES = 1024
_SEQUENCE_HEADER = 1
_STILL_AND_REDUCED = 0b11
_EXTENDED, _HAS_SIZE = 4, 2


class Avif(PictureCodec):
    """AV1 still pictures."""

    lossless = False
    library = "PIL._avif"

    def __init__(self, quality: int) -> None:
        self.id = f"avif:{quality}"
        self._quality = quality

    def header(self, file: bytes) -> tuple[int, int]:
        """What the box and the stream agree on."""
        try:
            size, stream = _still(file)
            if _stream_size(stream) != size:
                raise ValueError("it states two sizes")
        except (LookupError, ValueError, StopIteration) as error:
            raise CorruptPayload("not an AVIF file of one still picture") from error
        return size

    def write(self, image: Image, file: BytesIO) -> None:
        """In one thread: the request beside this one has a core of its own."""
        image.save(file, "AVIF", quality=self._quality, subsampling="4:4:4", speed=_SPEED, max_threads=1)

    def open(self, file: BytesIO) -> ImageFile:
        """Pillow's AVIF reader."""
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(file)


def _still(file: bytes) -> tuple[tuple[int, int], bytes]:
    """Height and width that the box states, and the AV1 stream."""
    kind, start = next(_boxes(file))
    brands = {start[at : at + 4] for at in (0, *range(8, len(_short(start)), 4))}
    if kind != b"ftyp" or _BRAND not in brands or _ANIMATED in brands:
        raise ValueError("another brand")
    meta = _only(file, b"meta")[_FULL:]
    picture = _picture(meta)
    size = _Fields(_only(_only(_only(meta, b"iprp"), b"ipco"), b"ispe"), _FULL)
    width, height = size.number(4), size.number(4)
    at, nbytes = _places(_short(_only(meta, b"iloc")))[picture]
    if not 0 < nbytes <= len(file) - at:
        raise ValueError("the stream is not in the file")
    return (height, width), file[at : at + nbytes]


def _picture(meta: bytes) -> int:
    """The number of the one item that is a picture, the primary one."""
    info = _short(_only(meta, b"iinf"))
    entries = _FULL + (4 if info[0] else 2)
    items = [_item(entry) for kind, entry in _boxes(info[entries:]) if kind == b"infe"]
    (picture,) = (item for item in items if item[1] not in _METADATA)
    primary = _Fields(_only(meta, b"pitm"))
    if picture != (primary.number(2 if primary.version() == 0 else 4), _PICTURE):
        raise ValueError("the picture is not one AV1 item")
    return picture[0]


def _item(entry: bytes) -> tuple[int, bytes]:
    """Number and kind of an item."""
    fields = _Fields(entry)
    number = fields.number(2 if fields.version() == 2 else 4)
    fields.number(2)  # protection
    return number, fields.number(4).to_bytes(4, "big")


def _places(locations: bytes) -> dict[int, tuple[int, int]]:
    """Of each item where it starts in the file, and its size. Those in several pieces, or elsewhere, are refused."""
    fields, found = _Fields(locations), {}
    version = fields.version()
    sizes = fields.number(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(fields.number(2 if version < 2 else 4)):
        number = fields.number(2 if version < 2 else 4)
        elsewhere = fields.number(2) if version else 0
        elsewhere |= fields.number(2)
        start, pieces = fields.number(base), fields.number(2)
        if elsewhere or pieces != 1 or number in found:
            raise ValueError("an item is not in one piece, at one place in the file")
        fields.number(index if version else 0)
        found[number] = start + fields.number(offset), fields.number(length)
    return found


def _stream_size(stream: bytes) -> tuple[int, int]:
    """Height and width that the AV1 stream's one sequence header states."""
    (header,) = (unit for kind, unit in _units(stream) if kind == _SEQUENCE_HEADER)
    bits = int.from_bytes(header[:8].ljust(8, b"\0"), "big")

    def field(at: int, width: int) -> int:
        return bits >> (64 - at - width) & (1 << width) - 1

    if field(3, 2) != _STILL_AND_REDUCED:
        raise ValueError("the stream is not that of a still picture")
    across, down = field(10, 4) + 1, field(14, 4) + 1
    return field(18 + across, down) + 1, field(18, across) + 1


def _units(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each open bitstream unit."""
    fields = _Fields(stream)
    while fields.left:
        head = fields.number(1)
        fields.number(1 if head & _EXTENDED else 0)
        nbytes = fields.leb128() if head & _HAS_SIZE else fields.left
        yield head >> 3 & 15, fields.take(nbytes)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box; size 0 = to the end."""
    fields = _Fields(data)
    while fields.left:
        nbytes, kind = fields.number(4), fields.take(4)
        yield kind, fields.take(nbytes - 8 if nbytes else fields.left)


def _only(data: bytes, kind: bytes) -> bytes:
    """The content of the one box of a kind."""
    (content,) = (content for found, content in _boxes(data) if found == kind)
    return content


def _short(content: bytes) -> bytes:
    """A list of brands or items. Thousands of them would take more memory than the picture."""
    if len(content) > _LIST_MAX_BYTES:
        raise ValueError("a very long list")
    return content


class _Fields:
    """Reads numbers one after the other, big-endian, and nothing past the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self._at

    def take(self, nbytes: int) -> bytes:
        """The next bytes."""
        if not 0 <= nbytes <= self.left:
            raise ValueError("it ends too early")
        self._at += nbytes
        return self._data[self._at - nbytes : self._at]

    def number(self, nbytes: int) -> int:
        """The next number."""
        return int.from_bytes(self.take(nbytes), "big")

    def version(self) -> int:
        """Of a full box."""
        return self.number(_FULL) >> 24

    def leb128(self) -> int:
        """The next number of seven bits a byte."""
        value = 0
        for place in range(8):
            byte = self.number(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise ValueError("a number without an end")
