"""`webp:Q`: a picture at quality 1..100. Smaller than JPEG, slower to write. Lossless files decode, too."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import CorruptPayload

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# https://developers.google.com/speed/webp/docs/riff_container
_KIND = slice(12, 16)
_BODY = 20
_SHORTEST = _BODY + 10
_ALPHA_OR_ANIMATION = 0x10 | 0x02
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS_START = 0x2F


class WebP(PictureCodec):
    """WebP."""

    lossless = False

    def __init__(self, quality: int) -> None:
        self.id = f"webp:{quality}"
        self._quality = quality

    def header(self, file: bytes) -> tuple[int, int]:
        """Reads the first chunk, which is one of three kinds."""
        if len(file) < _SHORTEST or file[:4] != b"RIFF" or file[8:12] != b"WEBP":
            raise CorruptPayload("not a WebP file")
        kind, body = file[_KIND], file[_BODY:_SHORTEST]
        if kind == b"VP8 " and body[3:6] == _LOSSY_START:
            return _number(body[8:10]) & 0x3FFF, _number(body[6:8]) & 0x3FFF
        if kind == b"VP8L" and body[0] == _LOSSLESS_START:
            bits = _number(body[1:5])
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        if kind == b"VP8X" and not body[0] & _ALPHA_OR_ANIMATION:
            return _number(body[7:10]) + 1, _number(body[4:7]) + 1
        raise CorruptPayload("a WebP file is not one opaque picture")

    def write(self, image: Image, file: BytesIO) -> None:
        """Effort 2 of 0..6: 4 would save 3 % of the bytes for twice the time."""
        image.save(file, "WEBP", quality=self._quality, method=2)

    def open(self, file: BytesIO) -> ImageFile:
        """Pillow's WebP reader."""
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile(file)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
