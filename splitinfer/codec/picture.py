"""What the media codecs (`png`, `jpeg:Q`, `webp:Q`, `avif:Q`) have in common: uint8 pictures [N, H, W, 3], one file an item.

A stranger's file is measured before the image library sees it: each format's header is read here, and must state exactly the
size that is expected, three channels of 8 bits and no animation. So nothing large is ever allocated for a lying header, and an
already encoded picture can be checked where the library is not installed. The library (Pillow, `splitinfer[media]`) is imported
at first use. Orientation tags are ignored: pixels are as they are stored.

A picture crosses in the size that the model takes: an application resizes it first, and these bytes, not those of the camera's
file, are what a plan costs.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from splitinfer.codec.items import Chunk, check_accepted, check_array, check_count
from splitinfer.errors import CorruptPayload, InvalidInput, MissingExtra, PayloadTooLarge
from splitinfer.model import Array, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_EXTRA_BYTES = 256 << 10
"""What a file may hold beyond its plain pixels: colour profile, camera data. Bounds the work that a small picture can cause."""

# What Pillow raises for damaged files; warnings, because an application may turn them into errors.
_FOREIGN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    Warning,
)


class PictureCodec(ABC):
    """One picture format at one quality.

    Attributes:
        library: the part of the image library that reads and writes it.
    """

    id: str
    lossless: bool
    needs_table: bool = False
    library: str = "PIL"

    def installed(self) -> bool:
        """Whether the image library is there."""
        return find_spec("PIL") is not None and find_spec(self.library) is not None

    @abstractmethod
    def header(self, file: bytes) -> tuple[int, int]:
        """Height and width that the file states.

        Raises:
            CorruptPayload: it is not a file of this format with three channels of 8 bits and one frame.
        """

    @abstractmethod
    def write(self, image: Image, file: BytesIO) -> None:
        """Encodes."""

    @abstractmethod
    def open(self, file: BytesIO) -> ImageFile:
        """Opens with the reader of this format, and no other."""

    def accepts(self, spec: TensorSpec) -> bool:
        """uint8 [N, H, W, 3]."""
        return spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] == 3

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """No table."""
        return None

    def bind(self, spec: TensorSpec, table: bytes | None = None) -> PictureCoder:
        """A coder for one tensor."""
        check_accepted(self.id, self.accepts(spec), spec)
        return PictureCoder(self, spec)


class PictureCoder:
    """Pictures <-> files."""

    def __init__(self, codec: PictureCodec, spec: TensorSpec) -> None:
        self._codec = codec
        self._spec = spec

    def encode(self, array: Array) -> list[bytes]:
        """One file a picture."""
        check_array(self._spec, array)
        return [self._write(picture) for picture in array]

    def decode(self, chunks: Sequence[Chunk], shape: tuple[int, ...]) -> Array:
        """The pictures."""
        count, *size, _ = shape
        check_count(chunks, count)
        if not all(shape):
            raise CorruptPayload(f"tensor {self._spec.name!r} is empty")
        return np.stack([self._read(bytes(chunk), (size[0], size[1])) for chunk in chunks])

    def _write(self, picture: Array) -> bytes:
        file = BytesIO()
        try:
            from PIL import Image

            self._codec.write(Image.fromarray(np.ascontiguousarray(picture)), file)
        except ImportError as error:
            raise _missing(self._codec) from error
        except _FOREIGN as error:
            raise InvalidInput(f"a picture of {list(picture.shape)} cannot be written as {self._codec.id!r}") from error
        return file.getvalue()

    def _read(self, file: bytes, size: tuple[int, int]) -> Array:
        if len(file) > size[0] * size[1] * 3 + _EXTRA_BYTES:
            raise PayloadTooLarge(f"a coded picture is larger than its pixels: {len(file)} bytes")
        _check_size(self._codec.header(file), size)
        try:
            with self._codec.open(BytesIO(file)) as image:
                _check_size((image.height, image.width), size)
                if image.mode != "RGB" or getattr(image, "n_frames", 1) != 1:
                    raise CorruptPayload(f"a coded picture is not one RGB frame but {image.mode!r}")
                return np.array(image)
        except ImportError as error:
            raise _missing(self._codec) from error
        except _FOREIGN as error:
            raise CorruptPayload(f"a picture is damaged: it does not decode as {self._codec.id!r}") from error


def _check_size(stated: tuple[int, int], expected: tuple[int, int]) -> None:
    if stated != expected:
        raise CorruptPayload(f"a coded picture is {stated[0]}x{stated[1]} instead of {expected[0]}x{expected[1]}")


def _missing(codec: PictureCodec) -> MissingExtra:
    return MissingExtra("media", f"codec {codec.id!r}")
