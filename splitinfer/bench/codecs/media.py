"""The rivals at cut 0: the photo as a file, at any quality, by the encoders that a device is likely to have.

Each gets its best: JPEG with tables made for the photo, progressive or not, whichever is smaller, with and without halved
colours; WebP; AVIF with and without halved colours, and slower where that might pay; and what loses nothing. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features

Picture = npt.NDArray[np.uint8]
Writes = Callable[[Picture, int], bytes]
"""(RGB picture, quality) -> file."""

_SPEED, _SLOWER = 6, 5
"""Of the AVIF encoder: five times the time for 3 % of the bytes at the same error; slower ones gain no more (measured)."""


@dataclass(frozen=True)
class Medium:
    """A format with its settings.

    Attributes:
        name: for people.
        qualities: from the best answers to the fewest bytes.
        write: the encoder.
        slower: the same format with more effort, worth a try near the best settings only.
    """

    name: str
    qualities: Sequence[int]
    write: Writes
    slower: Medium | None = None

    def label(self, at: int) -> str:
        """One setting, for people."""
        return f"{self.name} q{self.qualities[at]}"

    def files(self, pictures: Picture, at: int) -> list[bytes]:
        """The pictures with one setting."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda picture: self.write(picture, self.qualities[at]), pictures))


def decoded(files: Sequence[bytes]) -> Picture:
    """Pictures of files."""
    return np.stack([np.asarray(Image.open(BytesIO(file)).convert("RGB")) for file in files])


def media() -> list[Medium]:
    """Every lossy rival that the image library here can write."""
    qualities = range(100, 0, -1)
    found = [Medium(f"JPEG {part}", qualities, partial(_jpeg, part)) for part in ("4:2:0", "4:4:4")]
    found.append(Medium("WebP", qualities, partial(_file, "WEBP", method=4)))
    if features.check("avif"):
        found += [_with_slower(part, qualities) for part in ("4:2:0", "4:4:4")]
    return found


def lossless() -> list[Medium]:
    """What changes no pixel."""
    return [
        Medium("PNG", (100,), partial(_file, "PNG", optimize=True)),
        Medium("WebP lossless", (100,), partial(_file, "WEBP", lossless=True, method=4)),
    ]


def _with_slower(part: str, qualities: Sequence[int]) -> Medium:
    slower = Medium(f"AVIF {part} speed {_SLOWER}", qualities, partial(_avif, part, _SLOWER))
    return Medium(f"AVIF {part}", qualities, partial(_avif, part, _SPEED), slower)


def _file(kind: str, picture: Picture, quality: int, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, quality=quality, **options)
    return file.getvalue()


def _avif(part: str, speed: int, picture: Picture, quality: int) -> bytes:
    return _file("AVIF", picture, quality, subsampling=part, speed=speed)


def _jpeg(part: str, picture: Picture, quality: int) -> bytes:
    """The smaller of baseline and progressive; the pixels are the same."""
    ways: tuple[dict[str, bool], ...] = ({}, {"optimize": True}, {"optimize": True, "progressive": True})
    return min((_written(part, picture, quality, way) for way in ways), key=len)


def _written(part: str, picture: Picture, quality: int, way: dict[str, bool]) -> bytes:
    try:
        return _file("JPEG", picture, quality, subsampling=part, **way)
    except OSError:  # Pillow guesses too small a buffer for tables of the picture's own where the quality is high
        return _file("JPEG", picture, quality, subsampling=part)
