"""What the demo runs: EfficientNet-Lite0 with its trained weights as bundles, photos, and the uncut model's answers to them.

Two bundles of the same network: one takes the camera's own image at cut 0, the other the float tensor, as a naive upload would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from splitinfer.bench.models import efficientnet_lite0
from splitinfer.bench.photos import crops
from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.bundle import Bundle

Progress = Callable[[str, int, int], None]
MEAN, STD = 127.0, 128.0
CALIBRATION, STREAM = 128, 200

Feeds = dict[str, npt.NDArray[np.generic]]
Photos = npt.NDArray[np.uint8]
"""[N, 224, 224, 3], RGB."""


@dataclass(frozen=True)
class Assets:
    """Everything that is the same for all ways.

    Attributes:
        image: cut 0 is the uint8 image.
        plain: cut 0 is the float tensor.
        photos: to be streamed; none of them was used to calibrate.
        answers: the uncut model's class for each.
    """

    image: Bundle
    plain: Bundle
    photos: Photos
    answers: npt.NDArray[np.int64]

    def image_feeds(self, index: int) -> Feeds:
        """A photo as the image bundle takes it."""
        photo = self.photos[index % len(self.photos)]
        return {self.image.model.inputs[0].name: photo[None]}

    def plain_feeds(self, index: int) -> Feeds:
        """A photo as the float bundle takes it."""
        return {self.plain.model.inputs[0].name: as_floats(self.photos[index % len(self.photos)][None])}


def as_floats(photos: Photos) -> npt.NDArray[np.float32]:
    """uint8 NHWC -> what the network was trained on: (x - 127) / 128, NCHW."""
    scaled = (photos.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def make(folder: Path, progress: Progress | None = None) -> Assets:
    """Builds the bundles into `folder` and runs the uncut model on the photos.

    Args:
        folder: an existing one; gets `model.onnx`, `image.bundle` and `plain.bundle`.
        progress: told of (stage, done, total).
    """
    path = folder / "model.onnx"
    model = efficientnet_lite0()
    onnx.save(model, path)
    name = model.graph.input[0].name
    samples = crops(CALIBRATION, "calibration")
    image = BuildOptions(
        name="efficientnet-lite0",
        samples={name: samples},
        image_input=ImageInput(name, mean=(MEAN,), std=(STD,)),
        progress=progress,
        overwrite=True,
    )
    plain = BuildOptions(name="efficientnet-lite0-float", progress=None, overwrite=True)
    photos = crops(STREAM, "stream")
    return Assets(
        image=build(path, folder / "image.bundle", image),
        plain=build(path, folder / "plain.bundle", plain),
        photos=photos,
        answers=_answers(path, photos),
    )


def _answers(path: Path, photos: Photos) -> npt.NDArray[np.int64]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    batches = [session.run(None, {name: as_floats(photos[i : i + 20])})[0] for i in range(0, len(photos), 20)]
    classes: npt.NDArray[np.int64] = np.concatenate(batches).argmax(axis=1)
    return classes
