"""What trap models are put together from: nodes, weights, graphs, seeded inputs. The same call gives the same bytes.

A list of names may be written as one string with blanks. Imports onnx only when a model is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array, Tensors

if TYPE_CHECKING:
    import onnx

ModelProto: TypeAlias = "onnx.ModelProto"
FunctionProto: TypeAlias = "onnx.FunctionProto"
GraphProto: TypeAlias = "onnx.GraphProto"
NodeProto: TypeAlias = "onnx.NodeProto"
TensorProto: TypeAlias = "onnx.TensorProto"
SparseProto: TypeAlias = "onnx.SparseTensorProto"
ValueInfo: TypeAlias = "onnx.ValueInfoProto"

# TensorProto.DataType, as the ONNX format numbers them
FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE = range(1, 12)
UINT32, UINT64, BFLOAT16, FLOAT8E4M3FN, UINT4, INT4 = 12, 13, 16, 17, 21, 22

Names = str | Sequence[str]
Feeds = Callable[[], tuple[Tensors, ...]]

CHANNELS = 8
SIDE = 8


def names(text: Names) -> list[str]:
    """A list of names; a string is split at its blanks."""
    return text.split() if isinstance(text, str) else list(text)


def node(op: str, inputs: Names, outputs: Names, name: str | None = None, **attributes: Any) -> NodeProto:
    """A node; called after its first output where no name is given."""
    from onnx import helper

    made = names(outputs)
    return helper.make_node(op, names(inputs), made, name=f"make_{made[0]}" if name is None else name, **attributes)


def value(name: str, shape: Names | None = "", kind: int = FLOAT) -> ValueInfo:
    """A declaration.

    Args:
        name: of the tensor.
        shape: "N 3 8 8"; "" = a scalar; None = not declared.
        kind: element type.
    """
    from onnx import helper

    dims = None if shape is None else [int(dim) if dim.lstrip("-").isdigit() else dim for dim in names(shape)]
    return helper.make_tensor_value_info(name, kind, dims)


def weight(name: str, *shape: int, gain: float = 1.0) -> TensorProto:
    """A drawn float32 weight; its name is the seed, and what it multiplies keeps its size."""
    random = np.random.default_rng([*name.encode()])
    return constant(name, (random.standard_normal(shape) * gain / sqrt(max(1, prod(shape[1:])))).astype(np.float32))


def constant(name: str, values: npt.ArrayLike, kind: str = "float32") -> TensorProto:
    """A weight with these values; whole numbers become int64."""
    from onnx import numpy_helper

    array = np.asarray(values)
    if not isinstance(values, (np.ndarray, np.generic)):
        array = array.astype(kind if array.dtype.kind == "f" else array.dtype)
    return numpy_helper.from_array(array, name)


def graph(
    name: str,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfo],
    outputs: Sequence[ValueInfo],
    weights: Sequence[TensorProto] = (),
) -> GraphProto:
    """A graph: of a model, or inside a node."""
    from onnx import helper

    return helper.make_graph(nodes, name, inputs, outputs, list(weights))


def branch(nodes: Sequence[NodeProto], weights: Sequence[TensorProto] = (), kind: int = FLOAT) -> GraphProto:
    """A branch of an If that gives what its last node makes."""
    made = nodes[-1].output[0]
    return graph(f"give_{made}", nodes, [], [value(made, None, kind)], weights)


def net(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfo],
    outputs: Sequence[ValueInfo],
    weights: Sequence[TensorProto] = (),
    opset: int = 17,
    **domains: int,
) -> ModelProto:
    """A model. Further domains are given as keywords, dots written as underscores (`com_microsoft=1`)."""
    from onnx import helper

    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(key.replace("_", "."), v) for key, v in domains.items()]
    return helper.make_model(graph("net", nodes, inputs, outputs, weights), opset_imports=opsets, ir_version=10)


def row_net(nodes: Sequence[NodeProto], weights: Sequence[TensorProto] = (), **domains: int) -> ModelProto:
    """A model from x to y, rows of eight numbers both."""
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], weights, **domains)


def conv(x: str, y: str, w: str, **attributes: Any) -> NodeProto:
    """A 3x3 convolution that keeps the sides."""
    return node("Conv", [x, w], [y], pads=[1, 1, 1, 1], **attributes)


def relu(x: str, y: str) -> NodeProto:
    """What it says."""
    return node("Relu", [x], [y])


def classifier(x: str, y: str = "y") -> list[NodeProto]:
    """From a feature map to ten logits, with the weight fc."""
    pooled, flat = f"{y}_pooled", f"{y}_flat"
    return [
        node("GlobalAveragePool", [x], [pooled]),
        node("Flatten", [pooled], [flat]),
        node("Gemm", [flat, "fc"], [y], transB=1),
    ]


def image_net(middle: Sequence[NodeProto], weights: Sequence[TensorProto] = (), opset: int = 17, **domains: int) -> ModelProto:
    """A small network for images with something in the middle, which leads from b to m.

    x -> a (Conv) -> b (Relu) -> ... -> m -> c (Conv) -> d (Relu) -> y.
    """
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *middle, conv("m", "c", "w1"), relu("c", "d"), *classifier("d")]
    stored = [*image_weights(), *weights]
    return net(nodes, [value("x", f"N 3 {SIDE} {SIDE}")], [value("y", "N 10")], stored, opset, **domains)


def image_weights() -> list[TensorProto]:
    """Those of `image_net`: w0, w1 and fc."""
    return [weight("w0", CHANNELS, 3, 3, 3), weight("w1", CHANNELS, CHANNELS, 3, 3), weight("fc", 10, CHANNELS)]


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normal float32 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def whole(*shape: int, below: int, kind: str = "int64") -> Array:
    """Whole numbers from 0."""
    return np.random.default_rng([below, *shape]).integers(0, below, shape).astype(kind)


def feeds(*runs: Mapping[str, Any]) -> Feeds:
    """Inputs for several runs, made when they are asked for: arrays as they are, shapes filled with normal numbers."""

    def made() -> tuple[Tensors, ...]:
        return tuple(
            {name: given if isinstance(given, np.ndarray) else normal(*given, seed=at) for name, given in run.items()}
            for at, run in enumerate(runs)
        )

    return made


IMAGES = feeds(*({"x": (n, 3, SIDE, SIDE)} for n in (1, 2, 3)))
"""For `image_net`: batches of one, two and three."""
ROWS = feeds(*({"x": (n, 8)} for n in (1, 2, 5)))
"""For a net of rows of eight numbers."""
