"""How large the tensors are that nodes make, at batch 1.

By inference; and for operators that make as much as a number among their inputs says (Expand, ConstantOfShape, ...) by that
number, which inference knows only where it is a weight; here it may be computed. What is unknown counts 1. Knows no runtime.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import onnx
from onnx import TensorProto

from splitinfer.build.nodes import DEFAULT_DOMAINS, bodies
from splitinfer.build.shapes import integers


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known in a graph; a body sees what is known outside it.

    Attributes:
        values: types and shapes, by inference.
        dims: the shapes among them, and those of weights.
        known: small integers.
    """

    values: ChainMap[str, onnx.ValueInfoProto] = field(default_factory=ChainMap)
    dims: ChainMap[str, tuple[int | None, ...]] = field(default_factory=ChainMap)
    known: ChainMap[str, integers.Integers] = field(default_factory=ChainMap)

    def inside(self, graph: onnx.GraphProto) -> Scope:
        """What is known in a body, or in the main graph."""
        values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
        shapes = {name: found for name, value in values.items() if (found := integers.static_dims_of(value)) is not None}
        shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        dims = self.dims.new_child(shapes)
        known = self.known.new_child(integers.of_weights(graph.initializer))
        known.update(integers.follow(graph.node, known, dims))
        return Scope(self.values.new_child(values), dims, known)

    def shape(self, node: onnx.NodeProto, place: int) -> tuple[int, ...] | None:
        """The shape of an input, open dimensions counting 1."""
        dims = self.dims.get(node.input[place]) if place < len(node.input) else None
        return None if dims is None else tuple(1 if dim is None else max(dim, 0) for dim in dims)

    def numbers(self, node: onnx.NodeProto, place: int, unknown: int = 1) -> tuple[int, ...] | None:
        """The elements of an input."""
        found = self.known.get(node.input[place]) if place < len(node.input) else None
        return None if found is None else tuple(unknown if element is None else element for element in found.elements)


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that a node makes, as large as it is at batch 1 or larger."""

    node: onnx.NodeProto
    elem_type: int
    shape: tuple[int, ...]


def made_tensors(graph: onnx.GraphProto, outer: Scope | None = None) -> Iterator[Made]:
    """What each node makes whose shape is known, those in bodies included.

    Args:
        graph: with what inference says of it.
        outer: what is known outside it.
    """
    scope = (outer or Scope()).inside(graph)
    for node in graph.node:
        for name in filter(None, node.output):
            value = scope.values.get(name)
            shapes = [shape for shape in (at_batch_1(value), _told(node, scope)) if shape is not None]
            if shapes:
                elem_type = TensorProto.FLOAT if value is None else value.type.tensor_type.elem_type
                yield Made(node, elem_type, max(shapes, key=prod))
        for body in bodies(node):
            yield from made_tensors(body, scope)


def at_batch_1(value: onnx.ValueInfoProto | None) -> tuple[int, ...] | None:
    """The shape that inference says, open dimensions counting 1."""
    dims = None if value is None else integers.static_dims_of(value)
    return None if dims is None else tuple(1 if dim is None else dim for dim in dims)


def _told(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    """The shape that the numbers among a node's inputs ask for."""
    rule = _SHAPES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
    return None if rule is None else rule(node, scope)


def _as_told(node: onnx.NodeProto, scope: Scope, place: int) -> tuple[int, ...] | None:
    numbers = scope.numbers(node, place)
    return None if numbers is None else tuple(max(number, 0) for number in numbers)


def _constant_of_shape(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    return _as_told(node, scope, 0)


def _expand(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    told, given = _as_told(node, scope, 1), scope.shape(node, 0) or ()
    if told is None:
        return None
    rank = max(len(told), len(given))
    pairs = zip((1,) * (rank - len(told)) + told, (1,) * (rank - len(given)) + given, strict=True)
    return tuple(0 if 0 in pair else max(pair) for pair in pairs)


def _tile(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    told, given = _as_told(node, scope, 1), scope.shape(node, 0)
    if told is None:
        return None
    return tuple(repeats * dim for repeats, dim in zip(told, given or (1,) * len(told), strict=False))


def _range(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    start, limit, delta = (scope.numbers(node, place, unknown=0) for place in range(3))
    if not (start and limit and delta and delta[0]):
        return None
    return (max(0, -((start[0] - limit[0]) // delta[0])),)


def _resize(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    return _as_told(node, scope, 3)


def _pad(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    pads, given = scope.numbers(node, 1, unknown=0), scope.shape(node, 0)
    if pads is None:
        return None
    rank = len(pads) // 2
    around = [before + after for before, after in zip(pads[:rank], pads[rank:], strict=False)]
    return tuple(max(0, dim + more) for dim, more in zip(given or (1,) * rank, around, strict=False))


def _one_hot(node: onnx.NodeProto, scope: Scope) -> tuple[int, ...] | None:
    depth = _as_told(node, scope, 1)
    return None if not depth else (*(scope.shape(node, 0) or ()), depth[0])


_SHAPES: Mapping[str, Callable[[onnx.NodeProto, Scope], tuple[int, ...] | None]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Resize": _resize,
    "Pad": _pad,
    "OneHot": _one_hot,
}
