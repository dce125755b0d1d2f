"""`png`: a picture without loss."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import CorruptPayload

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_IHDR = struct.Struct(">IIBB")
_EIGHT_BIT_RGB = (8, 2)
_COMPRESS_LEVEL = 2
"""Of 1..9. On photographs 6 would save 4 % of the bytes for more than twice the time."""


class Png(PictureCodec):
    """Portable Network Graphics, 8-bit RGB."""

    id = "png"
    lossless = True

    def header(self, file: bytes) -> tuple[int, int]:
        """IHDR is always the first chunk."""
        if not file.startswith(_SIGNATURE) or len(file) < len(_SIGNATURE) + _IHDR.size:
            raise CorruptPayload("not a PNG file")
        width, height, *kind = _IHDR.unpack_from(file, len(_SIGNATURE))
        if tuple(kind) != _EIGHT_BIT_RGB:
            raise CorruptPayload("a PNG file is not 8-bit RGB")
        return height, width

    def write(self, image: Image, file: BytesIO) -> None:
        """With little effort."""
        image.save(file, "PNG", compress_level=_COMPRESS_LEVEL)

    def open(self, file: BytesIO) -> ImageFile:
        """Pillow's PNG reader."""
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(file)
