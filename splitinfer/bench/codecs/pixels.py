"""How pixels become the input of a classifier that somebody gives: read from the file, told, or found by trying.

Nothing in an ONNX file says what its values mean. Where nobody tells, the usual ways are tried on labelled photos, and the one
that gets most of them right is taken: never on photos that report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from splitinfer.backends.ort import Uncut
from splitinfer.bench.codecs.folder import Photos, Size
from splitinfer.build import ImageInput
from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors

OPEN_SIDE = 224
"""Of an input that takes any size."""
IMAGENET_CLASSES = 1000
USUAL = (
    ImageInput("", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    ImageInput("", mean=(127.5,), std=(127.5,)),
    ImageInput("", mean=(127.0,), std=(128.0,)),
    ImageInput("", mean=(0.0,), std=(255.0,)),
    ImageInput("",),
    ImageInput("", mean=(103.939, 116.779, 123.68), order="bgr"),
)  # fmt: skip
"""What exporters expect: torchvision, TensorFlow, Lite, plain shares, plain bytes, Caffe."""


@dataclass(frozen=True)
class Opening:
    """The image input of a network.

    Attributes:
        name: of the input.
        dtype: "float32", "uint8", ...
        layout: "nchw" or "nhwc".
        size: of the image.
        one: whether axis 0 has the size 1.
    """

    name: str
    dtype: str
    layout: str
    size: Size
    one: bool

    def arranged(self, pixels: Array, image: ImageInput) -> Array:
        """Pixels as this input wants them; the same values as `build.image.fold` makes."""
        ordered = pixels[..., ::-1] if image.order == "bgr" else pixels
        if self.dtype != "uint8":
            ordered = (ordered.astype(np.float32) - np.array(image.mean, np.float32)) / np.array(image.std, np.float32)
        moved = ordered.transpose(0, 3, 1, 2) if self.layout == "nchw" else ordered
        return np.ascontiguousarray(moved.astype(self.dtype))


def opening(path: Path, name: str | None = None) -> Opening:
    """The image input of a file.

    Args:
        path: an ONNX file.
        name: of the input; None = the only one.

    Raises:
        InvalidInput: there is none, or several, or it takes no colours.
    """
    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or name not in (None, inputs[0].name):
        raise InvalidInput(f"{path.name}: needs one image input, there are {', '.join(repr(value.name) for value in inputs)}")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value or None for dim in tensor.shape.dim]
    layout = {(True, False): "nchw", (False, True): "nhwc"}.get((dims[1:2] == [3], dims[3:4] == [3]))
    if len(dims) != 4 or layout is None:
        raise InvalidInput(f"{path.name}: the input {inputs[0].name!r} {dims} is no image of three colours")
    height, width = dims[2:] if layout == "nchw" else dims[1:3]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return Opening(inputs[0].name, dtype, layout, (height or OPEN_SIDE, width or OPEN_SIDE), dims[0] == 1)


def found(path: Path, entry: Opening, choosing: Photos, tell: Callable[[str], None]) -> ImageInput:
    """The usual way to make this input that gets most labelled photos right.

    Raises:
        InvalidInput: nothing tells right from wrong: there are no labels, or none that the network can give.
    """
    if entry.dtype == "uint8":
        return ImageInput(entry.name, layout=entry.layout)
    uncut = Uncut(path.read_bytes(), path.parent)
    _, count = classes(uncut.run({entry.name: _batches(entry, choosing, USUAL[0])[0]}))
    if choosing.labels is None or int(choosing.labels.max()) >= count:
        raise InvalidInput(
            "how do pixels become the input of this model? Without labels of its classes, say --image-input NAME:mean=..,std=.."
        )
    rights = []
    for way in USUAL:
        got = [_classes(uncut.run({entry.name: batch})) for batch in _batches(entry, choosing, way)]
        rights.append(float((np.concatenate(got) == choosing.labels).mean()))
        tell(f"    mean {way.mean}, std {way.std}, {way.order}: {100 * rights[-1]:.1f} % right")
    return replace(USUAL[int(np.argmax(rights))], name=entry.name, layout=entry.layout)


def _batches(entry: Opening, photos: Photos, way: ImageInput) -> list[Array]:
    inputs = entry.arranged(photos.pixels, way)
    step = 1 if entry.one else 8
    return [inputs[at : at + step] for at in range(0, len(inputs), step)]


def _classes(outputs: Tensors) -> Array:
    return classes(outputs)[0]


def classes(outputs: Tensors) -> tuple[Array, int]:
    """The class of each row, numbered as ImageNet's 1000 where it has 1001 (the first one is "background"); how many there are.

    Raises:
        InvalidInput: it is no classifier.
    """
    scores = next((array.reshape(len(array), -1) for array in outputs.values() if array.ndim > 1), None)
    if scores is None or scores.shape[1] < 2:
        raise InvalidInput("this model is no classifier: none of its outputs has a row of scores for each image")
    best = scores.argmax(axis=1)
    if scores.shape[1] == IMAGENET_CLASSES + 1:
        return best - 1, IMAGENET_CLASSES
    return best, scores.shape[1]
