"""`jpeg:Q`: a picture at quality 1..100. The quality matters to the encoder only; any colour JPEG of the right size decodes."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import CorruptPayload

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_START = b"\xff\xd8"
_FRAME_MARKERS = (0xC0, 0xC1, 0xC2)
"""Baseline, extended, progressive (ITU-T T.81, table B.1)."""
_FRAME = struct.Struct(">BHHB")
_SCAN = b"\xff\xda"
_SCANS_MAX = 64
"""A progressive file has about ten. Each goes over the whole picture, so that thousands of twelve bytes would take minutes."""
_FULL_CHROMA_FROM = 99
"""Up to 98, photographs give the same answers with halved chroma for 25 % fewer bytes; who asks for more wants colours, too."""


class Jpeg(PictureCodec):
    """JPEG."""

    lossless = False

    def __init__(self, quality: int) -> None:
        self.id = f"jpeg:{quality}"
        self._quality = quality

    def header(self, file: bytes) -> tuple[int, int]:
        """Counts the scans, and walks the segments up to the frame header."""
        if file.count(_SCAN) > _SCANS_MAX:
            raise CorruptPayload(f"a JPEG file of more than {_SCANS_MAX} scans")
        at = len(_START) if file.startswith(_START) else len(file)
        while at + 4 + _FRAME.size <= len(file) and file[at] == 0xFF:
            if file[at + 1] in _FRAME_MARKERS:
                bits, height, width, channels = _FRAME.unpack_from(file, at + 4)
                if (bits, channels) != (8, 3):
                    raise CorruptPayload("a JPEG file is not of three channels of 8 bits")
                return height, width
            at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        raise CorruptPayload("not a JPEG file")

    def write(self, image: Image, file: BytesIO) -> None:
        """With the standard Huffman tables.

        Tables made for each picture would save 4 % of the bytes for twice the time, and Pillow fails on pictures that do not
        fit the buffer it guesses for that.
        """
        subsampling = "4:4:4" if self._quality >= _FULL_CHROMA_FROM else "4:2:0"
        image.save(file, "JPEG", quality=self._quality, subsampling=subsampling)

    def open(self, file: BytesIO) -> ImageFile:
        """Pillow's JPEG reader."""
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(file)
