"""Photos to stream: crops of the colour photos that ship inside the wheels of scikit-image and scikit-learn.

There are seven scenes, so this is a stream of many views of few things and no sample of the world: what is measured on it says
how often a codec changes an answer here, not how good a network is, and its crops are not independent of one another. The two
parts share no scene, hence no pixel: what is calibrated on the one meets things in the other that it has not seen. Scenes are
dealt out alternately by name, and crops are placed by a fixed sequence; no crop is chosen by what a network answers. (Which
half is streamed was: of the other one, whose answers are less sure, JPEG at quality 75 kept 42 %, which is unfair to that
rival.) The same call gives the same pixels with the same Pillow.

Needs the extra `demo`. Knows no network.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from splitinfer.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 224

Part = Literal["calibration", "stream"]

_SCENES = {
    "calibration": (
        "skimage/data/astronaut.png",
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
        "skimage/data/rocket.jpg",
    ),
    "stream": ("skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/motorcycle_left.png"),
}
_SMALLEST = 0.75  # of the shorter side; the smallest photo has 300 pixels there, so no crop is enlarged
# Steps of the sequence k * step mod 1 that fills (0, 1)^3 evenly: powers of the root of x^4 = x + 1 (Roberts 2018, "R3").
_STEPS = tuple(1.2207440846057596**-power for power in (1, 2, 3))


def crops(n: int, part: Part) -> npt.NDArray[np.uint8]:
    """The first `n` crops of a part, the scenes in turn.

    A crop is a square of 0.75 to 1 of the photo's shorter side, anywhere in it, every second one mirrored, resized by Lanczos.

    Args:
        n: how many; the first ones are the same for each n.
        part: of the scenes.

    Returns:
        RGB, [n, 224, 224, 3].

    Raises:
        MissingExtra: scikit-image, scikit-learn or Pillow is not installed.
    """
    names = _SCENES[part]
    out = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for index, scene in enumerate(scenes(n, part)):
        out[index] = _crop(_photo(names[scene]), index // len(names))
    return out


def scenes(n: int, part: Part) -> npt.NDArray[np.intp]:
    """The number of the scene that each of the first `n` crops of a part shows."""
    return np.arange(n) % len(_SCENES[part])


def _crop(photo: Image, index: int) -> npt.NDArray[np.uint8]:
    from PIL.Image import Resampling, Transpose

    scale, across, down = ((0.5 + index * step) % 1.0 for step in _STEPS)
    side = round(min(photo.size) * (_SMALLEST + (1 - _SMALLEST) * scale))
    left, top = round((photo.width - side) * across), round((photo.height - side) * down)
    crop = photo.resize((SIDE, SIDE), Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(crop.transpose(Transpose.FLIP_LEFT_RIGHT) if index % 2 else crop)


@cache
def _photo(name: str) -> Image:
    """A photo by package and path in it; the packages are found, not imported."""
    package, _, path = name.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations or find_spec("PIL") is None:
        raise MissingExtra("demo", "the photos to stream")
    from PIL import Image

    with Image.open(Path(spec.submodule_search_locations[0]) / path) as photo:
        return photo.convert("RGB")
