"""Graphs that are large in one way, with drawn weights: one of thousands of nodes, and one of more than 2 GB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array, Tensors

if TYPE_CHECKING:
    import onnx

    ModelProto: TypeAlias = onnx.ModelProto

_CHANNELS, _SIDE = 8, 12
_WIDTH = 1024
_WORDS = 4
_ROW_BYTES = 4 * _WIDTH


def deep(nodes: int = 5000) -> ModelProto:
    """A residual chain of exactly so many nodes: convolutions, attention, gates, shape arithmetic, branches and joins.

    Input "x": float32 [N, 8, 12, 12]. Output "y": the same.
    """
    net = _Net()
    x = "x"
    for block in cycle(_BLOCKS):
        if len(net.nodes) + _LONGEST > nodes:
            break
        branch = block(net, x)
        x = net.node("Add", [x, net.node("Mul", [branch, net.weight(np.float32(0.2))])])
    while len(net.nodes) < nodes - 1:
        x = net.node(("Abs", "Relu", "Tanh")[len(net.nodes) % 3], [x])
    net.node("Identity", [x], output="y")
    return net.model("deep", ["N", _CHANNELS, _SIDE, _SIDE])


def huge(folder: Path, gigabytes: float = 2.2) -> Path:
    """Writes a model of more than a protobuf message can hold; its weights are beside it, in a file that is almost all holes.

    Two tables of words, one at the start and one at the end, so that a head and a tail are large; only their first rows are
    not zero. Between them are products with drawn matrices. Input "ids": int64 [N, T], 0..3. Output "y": float32 [N, T, 1024].

    Args:
        folder: where to write.
        gigabytes: of both tables together.

    Returns:
        The .onnx file.
    """
    import onnx

    net = _Net()
    data = folder / "huge.weights"
    rows = int(gigabytes * 1e9 / 2 / _ROW_BYTES)
    with data.open("wb") as out:
        for index in range(2):
            out.seek(index * rows * _ROW_BYTES)
            out.write(net.drawn(_WORDS, _WIDTH).tobytes())
        out.truncate(2 * rows * _ROW_BYTES)
    x = net.node("Gather", [net.beside(data.name, "table.first", rows, 0), "ids"])
    for _ in range(3):
        x = net.node("Tanh", [net.node("MatMul", [x, net.weight(net.drawn(_WIDTH, _WIDTH) / np.float32(32))])])
    last = net.node("Gather", [net.beside(data.name, "table.last", rows, rows * _ROW_BYTES), "ids"])
    net.node("Add", [x, last], output="y")
    path = folder / "huge.onnx"
    onnx.save(net.model("huge", None), path)
    return path


def maps() -> Tensors:
    """For `deep`: "x" float32 [2, 8, 12, 12]."""
    return {"x": np.random.default_rng(0).standard_normal((2, _CHANNELS, _SIDE, _SIDE)).astype(np.float32)}


def words() -> Tensors:
    """For `huge`: "ids" int64 [2, 3]."""
    return {"ids": np.array([[0, 1, 2], [3, 1, 0]])}


class _Net:
    """An ONNX graph that grows node by node. Names are numbered; weights are drawn one after the other from one seed."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)
        self._numbers = count()

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Adds a node with one output."""
        return self.split(op, inputs, [output or f"t{next(self._numbers)}"], **attributes)[0]

    def split(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Adds a node with these outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{len(self.nodes)}", **attributes))
        return outputs

    def weight(self, array: Array | np.float32 | Sequence[int]) -> str:
        """Adds a constant; integers are int64."""
        from onnx import numpy_helper

        self._weights.append(numpy_helper.from_array(np.asarray(array), f"w{len(self._weights)}"))
        return self._weights[-1].name

    def beside(self, location: str, name: str, rows: int, offset: int) -> str:
        """Adds a weight float32 [rows, 1024] that lies in a file beside the model."""
        from onnx import TensorProto

        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, _WIDTH], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(rows * _ROW_BYTES))):
            tensor.external_data.add(key=key, value=value)
        self._weights.append(tensor)
        return name

    def drawn(self, *shape: int) -> npt.NDArray[np.float32]:
        """Normal numbers, float32."""
        return self._random.standard_normal(shape, np.float32)

    def convolution(self, x: str, out: int, inner: int, size: int = 1, group: int = 1) -> str:
        """A padded convolution."""
        kernel = self.drawn(out, inner, size, size) / np.float32(np.sqrt(inner * size * size))
        pads = [size // 2] * 4
        return self.node("Conv", [x, self.weight(kernel)], kernel_shape=[size, size], pads=pads, group=group)

    def model(self, name: str, image: list[int | str] | None) -> ModelProto:
        """The graph so far: an image to an image of the same shape, or ids to vectors."""
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info(
            "x" if image else "ids", TensorProto.FLOAT if image else TensorProto.INT64, image or ["N", "T"]
        )
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, image or ["N", "T", _WIDTH])
        graph = helper.make_graph(self.nodes, name, [x], [y], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="splitinfer")


def _inverted(net: _Net, x: str) -> str:
    """Widen, filter each channel, narrow, each normalised."""
    y = net.node("HardSwish", [_normalised(net, net.convolution(x, 2 * _CHANNELS, _CHANNELS), 2 * _CHANNELS)])
    y = net.node(
        "Clip", [net.convolution(y, 2 * _CHANNELS, 1, 3, 2 * _CHANNELS), net.weight(np.float32(0)), net.weight(np.float32(6))]
    )
    return _normalised(net, net.convolution(y, _CHANNELS, 2 * _CHANNELS), _CHANNELS)


def _normalised(net: _Net, x: str, channels: int) -> str:
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return net.node("BatchNormalization", [x, *map(net.weight, (ones, zeros, zeros, ones))])


def _gated(net: _Net, x: str) -> str:
    """Squeeze and excitation."""
    gate = net.node("Relu", [net.convolution(net.node("GlobalAveragePool", [x]), 4, _CHANNELS)])
    return net.node("Mul", [x, net.node("Sigmoid", [net.convolution(gate, _CHANNELS, 4)])])


def _attention(net: _Net, x: str) -> str:
    """Over the places of the map, its shape read from the tensor."""
    shape = net.node("Shape", [x])
    flat = net.node("Concat", [net.node("Slice", [shape, *map(net.weight, ([0], [2], [0]))]), net.weight([-1])], axis=0)
    rows = net.node("Transpose", [net.node("Reshape", [x, flat])], perm=[0, 2, 1])
    rows = net.node("LayerNormalization", [rows, net.weight(np.ones(_CHANNELS, np.float32))], axis=-1)
    query, key, value = (
        net.node("MatMul", [rows, net.weight(net.drawn(_CHANNELS, _CHANNELS) / np.float32(3))]) for _ in range(3)
    )
    scores = net.node("Softmax", [net.node("MatMul", [query, net.node("Transpose", [key], perm=[0, 2, 1])])], axis=-1)
    back = net.node("Transpose", [net.node("MatMul", [scores, value])], perm=[0, 2, 1])
    return net.node("Reshape", [back, shape])


def _branches(net: _Net, x: str) -> str:
    """Split, two ways, Concat, and a shuffle of the channels."""
    number = next(net._numbers)
    left, right = net.split("Split", [x], [f"left{number}", f"right{number}"], axis=1)
    half = _CHANNELS // 2
    left = net.node("LeakyRelu", [net.convolution(left, half, half, 3)])
    right = net.node("AveragePool", [right], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    joined = net.node("Concat", [left, right], axis=1)
    apart = net.node("Reshape", [joined, net.weight([0, 2, half, _SIDE, _SIDE])])
    return net.node("Reshape", [net.node("Transpose", [apart], perm=[0, 2, 1, 3, 4]), net.weight([0, _CHANNELS, _SIDE, _SIDE])])


def _down_and_up(net: _Net, x: str) -> str:
    """A U: pooled, filtered, enlarged, cropped."""
    y = net.convolution(net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), _CHANNELS, _CHANNELS, 3)
    scales = net.weight(np.array([1, 1, 2, 2], np.float32))
    y = net.node("Resize", [net.node("Erf", [y]), "", scales], mode="nearest")
    y = net.node("Pad", [y, net.weight([0, 0, 1, 1, 0, 0, 1, 1])])
    return net.node("Slice", [y, *map(net.weight, ([1, 1], [1 + _SIDE, 1 + _SIDE], [2, 3]))])


def _standardised(net: _Net, x: str) -> str:
    """Without a kernel of its own: mean, variance, a selection by Where."""
    centred = net.node("Sub", [x, net.node("ReduceMean", [x], axes=[2, 3])])
    power = net.node("ReduceMean", [net.node("Pow", [centred, net.weight(np.float32(2))])], axes=[2, 3])
    y = net.node("Div", [centred, net.node("Sqrt", [net.node("Add", [power, net.weight(np.float32(1e-3))])])])
    small = net.node("Less", [net.node("Abs", [y]), net.weight(np.float32(0.1))])
    return net.node("Where", [small, net.node("Neg", [y]), y])


_BLOCKS: tuple[Callable[[_Net, str], str], ...] = (_inverted, _gated, _attention, _branches, _down_and_up, _standardised)
_LONGEST = 24
"""No block has more nodes, with its sum."""
