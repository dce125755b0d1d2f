"""Folds what turns a camera's image into the model's input into the graph, so that the image itself is what crosses at cut 0.

The folded input is uint8 [N, height, width, channels] in RGB order. The values that reach the model are, in float32 and in this
order of operations, ``(image - mean) / std``: bit-equal to numpy's. Resizing and cropping are the application's, before cut 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build.nodes import dims_of, reads, rename
from splitinfer.errors import InvalidInput, UnsupportedModel
from splitinfer.model import Array

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How an image becomes a model's input.

    Attributes:
        name: the input; it keeps its name.
        mean: one value, or one a channel of the model, in units of 0..255.
        std: likewise.
        order: channels as the model expects them, "rgb" or "bgr".
        layout: "nchw", "nhwc", or "auto" = told from the shape.
    """

    name: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: str = "rgb"
    layout: str = "auto"

    @classmethod
    def parse(cls, text: str) -> ImageInput:
        """Reads "NAME[:mean=127,std=128,order=rgb,layout=nchw]"; several values of a channel are separated by commas too.

        Raises:
            InvalidInput: it is not written like that.
        """
        name, colon, tail = text.rpartition(":")
        if not colon or "=" not in tail:
            return cls(text)
        options: dict[str, list[str]] = {}
        key = ""
        for item in tail.split(","):
            before, equals, after = item.partition("=")
            key = before.strip() if equals else key
            options.setdefault(key, []).append((after if equals else before).strip())
        unknown = options.keys() - {"mean", "std", "order", "layout"}
        if unknown:
            raise InvalidInput(f"unknown image option {sorted(unknown)[0]!r}: there are mean, std, order and layout")
        return cls(
            name,
            mean=_numbers(options.get("mean", ["0"])),
            std=_numbers(options.get("std", ["1"])),
            order=options.get("order", ["rgb"])[0],
            layout=options.get("layout", ["auto"])[0],
        )

    def __post_init__(self) -> None:
        if self.order not in ("rgb", "bgr") or self.layout not in ("auto", "nchw", "nhwc"):
            raise InvalidInput("order is rgb or bgr, layout is auto, nchw or nhwc")
        if not self.mean or not self.std or not all(np.isfinite((*self.mean, *self.std))) or 0 in self.std:
            raise InvalidInput("mean and std must be finite numbers, and std not 0")

    def described(self) -> Mapping[str, int | str]:
        """The same in integers and text, for the identity of a bundle."""
        numbers = {"mean": self.mean, "std": self.std}
        return {"order": self.order, **{key: ",".join(repr(float(v)) for v in values) for key, values in numbers.items()}}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What was folded.

    Attributes:
        made: the tensors that it makes; nothing is cut at them.
        image: how it was described.
        layout: of the model's input, "nchw" or "nhwc".
        dtype: of the model's input.
    """

    made: frozenset[str]
    image: ImageInput
    layout: str
    dtype: np.dtype[np.generic]

    def __call__(self, array: Array) -> Array:
        """The same in numpy: uint8 [N, height, width, channels] -> what the unfolded model takes."""
        image = self.image
        pixels: Array = array[..., ::-1] if image.order == "bgr" else array
        if self.dtype.kind == "f":
            mean, std = np.array(image.mean, np.float32), np.array(image.std, np.float32)
            pixels = (pixels.astype(np.float32) - mean) / std
        moved = pixels.transpose(0, 3, 1, 2) if self.layout == "nchw" else pixels
        return np.ascontiguousarray(moved.astype(self.dtype))


def fold(model: onnx.ModelProto, image: ImageInput) -> Preprocessing:
    """Puts the preprocessing in front of a model in plain form, in place.

    Raises:
        UnsupportedModel: there is no such input, or it cannot be an image.
    """
    graph = model.graph
    value = next((value for value in graph.input if value.name == image.name), None)
    if value is None:
        known = ", ".join(repr(value.name) for value in graph.input)
        raise UnsupportedModel(f"there is no input {image.name!r} for the image: the model has {known}")
    layout, channels = _layout(value, image)
    steps = _Steps(image.name)
    if layout == "nchw":
        steps.add("Transpose", perm=[0, 3, 1, 2])
    shape = (1, channels, 1, 1) if layout == "nchw" else (1, 1, 1, channels)
    if image.order == "bgr":
        steps.add("Gather", np.arange(channels)[::-1], axis=1 if layout == "nchw" else 3)
    if value.type.tensor_type.elem_type in _FLOATS:
        steps.add("Cast", to=TensorProto.FLOAT)
        if any(image.mean):
            steps.add("Sub", _per_channel(image.mean, shape, "mean"))
        if set(image.std) != {1.0}:
            steps.add("Div", _per_channel(image.std, shape, "std"))
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            steps.add("Cast", to=value.type.tensor_type.elem_type)
    elif any(image.mean) or set(image.std) != {1.0}:
        raise UnsupportedModel(f"input {image.name!r} takes integers, which leaves no room for mean and std: leave them out")
    _rewire(graph, image.name, steps)
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    value.CopyFrom(_image_value(value, layout, channels))
    return Preprocessing(frozenset(steps.made), image, layout, dtype)


def _numbers(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in texts)
    except ValueError as error:
        raise InvalidInput(f"mean and std are numbers, got {','.join(texts)!r}") from error


class _Steps:
    """A chain of nodes under construction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    @property
    def made(self) -> list[str]:
        return [node.output[0] for node in self.nodes]

    @property
    def last(self) -> str:
        return self.made[-1] if self.nodes else self._name

    def add(self, op_type: str, operand: np.ndarray | None = None, **attributes: Any) -> None:
        inputs = [self.last]
        made = f"{self._name}/image{len(self.nodes)}"
        if operand is not None:
            inputs.append(f"{made}/operand")
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(operand), inputs[-1]))
        self.nodes.append(helper.make_node(op_type, inputs, [made], name=made, **attributes))


def _layout(value: onnx.ValueInfoProto, image: ImageInput) -> tuple[str, int]:
    """Layout and number of channels."""
    tensor = value.type.tensor_type
    dims = dims_of(value.type)
    if dims is None or len(dims) != 4 or tensor.elem_type not in (*_FLOATS, TensorProto.UINT8):
        raise UnsupportedModel(f"input {image.name!r} is no image: it must be a float or uint8 tensor of four dimensions")
    found = [name for name, at in (("nchw", 1), ("nhwc", 3)) if dims[at] in _CHANNELS]
    layout = image.layout if image.layout != "auto" else found[0] if len(found) == 1 else None
    if layout is None:
        shape = ["?" if dim is None else dim for dim in dims]
        raise UnsupportedModel(f"the layout of {image.name!r} {shape} is not clear: say layout=nchw or layout=nhwc")
    channels = dims[1 if layout == "nchw" else 3] or 3
    if channels not in _CHANNELS:
        raise UnsupportedModel(f"input {image.name!r} has {channels} channels, an image has 1 or 3")
    return layout, channels


def _per_channel(values: tuple[float, ...], shape: tuple[int, ...], what: str) -> np.ndarray:
    if len(values) not in (1, max(shape)):
        raise UnsupportedModel(f"{what} has {len(values)} values for {max(shape)} channels: give one, or one a channel")
    return np.broadcast_to(np.asarray(values, np.float32).reshape([-1 if dim != 1 else 1 for dim in shape]), shape)


def _rewire(graph: onnx.GraphProto, name: str, steps: _Steps) -> None:
    if not steps.nodes:
        return
    for node in graph.node:
        if name in reads(node):
            rename(node, {name: steps.last})
    nodes = [*steps.nodes, *graph.node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(steps.weights)


def _image_value(value: onnx.ValueInfoProto, layout: str, channels: int) -> onnx.ValueInfoProto:
    """The declaration of the image; open dimensions keep their names."""
    image = onnx.ValueInfoProto(name=value.name)
    image.type.tensor_type.elem_type = TensorProto.UINT8
    dims = value.type.tensor_type.shape.dim
    order = (0, 2, 3, 1) if layout == "nchw" else (0, 1, 2, 3)
    for at in order:
        image.type.tensor_type.shape.dim.add().CopyFrom(dims[at])
    image.type.tensor_type.shape.dim[3].dim_value = channels
    return image
