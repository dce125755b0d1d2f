"""A classifier and the photos that it is shown: every second one chooses, the others report."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from splitinfer.bench import photos as scenes
from splitinfer.bench.codecs import pixels, places
from splitinfer.bench.codecs.folder import Photos, Size, read, resized
from splitinfer.bench.codecs.places import Place
from splitinfer.bench.codecs.split import Split
from splitinfer.bench.main.bundles import LITE0, save
from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.model import Array

CALIBRATING_MAX = 64
"""Photos of the choosing half that codecs are calibrated with."""
SCENES_EACH = 128
"""Crops of each part, where nobody gives photos."""
LITE0_INPUT = ImageInput("image", mean=(127.0,), std=(128.0,))


@dataclass(frozen=True)
class Given:
    """What the benchmark was told.

    Attributes:
        photos: folder of photos; None = crops of seven scenes out of packages.
        model: an ONNX file; None = EfficientNet-Lite0.
        image: "NAME:mean=..,std=.." of its input; None = found by trying.
        models: folder with small networks.
    """

    photos: Path | None = None
    model: Path | None = None
    image: str | None = None
    models: Path | None = None


class Subject:
    """What the parts of the benchmark measure on; each thing is made at first use, once."""

    def __init__(self, given: Given, tell: Callable[[str], None]) -> None:
        self.given = given
        self.tell = tell
        self._folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._splits: dict[str, Split] = {}

    @property
    def name(self) -> str:
        """Of the network."""
        return self.given.model.stem if self.given.model else LITE0

    @cached_property
    def path(self) -> Path:
        """Of the network's file."""
        return self.given.model or save(LITE0, self._folder)

    @cached_property
    def _halves(self) -> tuple[Photos, Photos]:
        choosing, reporting = halves(self.given.photos, self._entry.size)
        self.tell(f"  {choosing.about}: {len(choosing)} choose, {len(reporting)} report")
        return choosing, reporting

    @property
    def choosing(self) -> Photos:
        """Photos that choose."""
        return self._halves[0]

    @property
    def reporting(self) -> Photos:
        """Photos that report."""
        return self._halves[1]

    @cached_property
    def calibrating(self) -> Photos:
        """Those of the choosing half that codecs see: at most 64, evenly spread."""
        return self.choosing.take(slice(0, None, -(-len(self.choosing) // CALIBRATING_MAX)))

    @cached_property
    def image(self) -> ImageInput:
        """How pixels become the input."""
        if self.given.image is not None:
            told = ImageInput.parse(self.given.image)
            return ImageInput(self._entry.name, told.mean, told.std, told.order, self._entry.layout)
        if self.given.model is None:
            return LITE0_INPUT
        way = pixels.found(self.path, self._entry, self.choosing, self.tell)
        self.tell(f"  input {way.name!r}: mean {way.mean}, std {way.std}, {way.order}")
        return way

    @cached_property
    def _entry(self) -> pixels.Opening:
        return pixels.opening(self.path, None if self.given.image is None else ImageInput.parse(self.given.image).name)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where it can be cut."""
        return places.places(self.path, BuildOptions(image_input=self.image))

    def split(self, place: Place) -> Split:
        """The network cut at one place, without tables."""
        if place.name not in self._splits:
            self.tell(f"  cutting {self.name} at {place}")
            options = BuildOptions(name=self.name, image_input=self.image, cuts=(place.name,), codecs=("raw",))
            out = Path(self._folder, f"{len(self._splits)}.bundle")
            self._splits[place.name] = Split(build(self.path, out, options))
        return self._splits[place.name]

    @cached_property
    def whole(self) -> Split:
        """The network for questions about all of it."""
        return self.split(places.middle(self.places))

    @cached_property
    def wanted(self) -> Array:
        """The answers of the whole network to the photos that report."""
        return self.whole.classes(0, self.whole.feeds(self.reporting.pixels))

    @cached_property
    def labels(self) -> Array | None:
        """What is right for the photos that report, where that is known and the network has such classes."""
        labels = self.reporting.labels
        if labels is not None and int(labels.max()) >= (count := self.whole.count):
            self.tell(f"  the labels go up to {labels.max()}, the network has {count} classes: no row of top-1")
            return None
        return labels


def halves(folder: Path | None, size: Size) -> tuple[Photos, Photos]:
    """Photos that choose and photos that report.

    Args:
        folder: of photos; None = crops of scenes, of which the two halves share none.
        size: of the network's input.
    """
    if folder is None:
        return _crops("calibration", size), _crops("stream", size)
    every = read(folder, size)
    return every.take(slice(0, None, 2)), every.take(slice(1, None, 2))


def _crops(part: scenes.Part, size: Size) -> Photos:
    """Crops of the scenes of a part; those of a scene belong together."""
    shown = scenes.crops(SCENES_EACH, part)
    if size != (scenes.SIDE, scenes.SIDE):
        from PIL import Image

        shown = np.stack([resized(Image.fromarray(one), size) for one in shown])
    return Photos(shown, scenes.scenes(len(shown), part), None, "crops of seven scenes, four of them to choose with")
