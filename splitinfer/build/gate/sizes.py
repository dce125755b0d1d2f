"""How many bytes a model makes of small inputs, told before it runs.

Shapes come from inference at batch 1, an open dimension counting 1. Operators whose output is as large as a number says
(Expand, ConstantOfShape, ...) are evaluated where inference says nothing. A lower bound: what only a run can tell is left to
the limits of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from splitinfer.build import integers
from splitinfer.build.dims import dims_of, infer
from splitinfer.build.gate.tensors import nbytes_of
from splitinfer.build.nodes import DEFAULT_DOMAINS, bodies, label, reads
from splitinfer.errors import UnsupportedModel

TENSOR_MAX_BYTES = 2 << 30
"""Of one tensor at batch 1. A photo of 8 megapixels in float32 has 96 MB; what is twenty times that crosses no link."""

ALIVE_MAX_BYTES = 4 * TENSOR_MAX_BYTES
"""Of all tensors that are needed at the same time, weights not counted."""


def check_bytes(model: onnx.ModelProto, limit_bytes: int = TENSOR_MAX_BYTES) -> None:
    """Refuses a model that makes a tensor larger than a limit, or keeps more than four times that alive.

    Args:
        model: in plain form (`load.simplify`); weights may lie in other files, which are not read.
        limit_bytes: of one tensor, at batch 1.

    Raises:
        UnsupportedModel: names the node, the shape and the bytes; or inference fails.
    """
    try:
        inlined = inline_local_functions(infer(model)) if model.functions else model
        graph = infer(inlined, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise UnsupportedModel(f"shapes cannot be followed through the model, export it again: {str(error).strip()}") from error
    largest = max(_made(graph, _Scope({}, {}, {})), key=lambda made: made.nbytes, default=None)
    if largest is not None and largest.nbytes > limit_bytes:
        raise UnsupportedModel(
            f"{label(largest.node)} makes a tensor of the shape {list(largest.shape)}, {_gib(largest.nbytes)}, "
            f"and {_gib(limit_bytes)} are the most: make it smaller, or compute it in parts"
        )
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    alive = _most_alive(graph, values, {tensor.name for tensor in model.graph.initializer})
    if alive > 4 * limit_bytes:
        raise UnsupportedModel(
            f"the model keeps {_gib(alive)} alive at batch 1, and {_gib(4 * limit_bytes)} are the most: make it smaller"
        )


def estimate_bytes(model: onnx.ModelProto, values: Mapping[str, onnx.ValueInfoProto]) -> int:
    """Bytes that the model needs at batch 1: its weights, and the tensors alive where they are most.

    Args:
        model: in plain form.
        values: what shape inference says of each tensor; what it does not know counts nothing.
    """
    weights = {tensor.name: nbytes_of(tensor.data_type, prod(tensor.dims)) for tensor in model.graph.initializer}
    return sum(weights.values()) + _most_alive(model.graph, values, weights)


def _most_alive(graph: onnx.GraphProto, values: Mapping[str, onnx.ValueInfoProto], weights: Collection[str]) -> int:
    """The largest sum of tensors that are needed at the same time, in the order of the nodes, outputs kept to the end."""
    needs = [reads(node) for node in graph.node]
    last = {name: at for at, names in enumerate(needs) for name in names}
    last |= {value.name: len(needs) for value in graph.output}
    sizes = {name: _nbytes(value) for name, value in values.items() if name not in weights}
    alive = {value.name: sizes.get(value.name, 0) for value in graph.input if value.name in last}
    total = most = sum(alive.values())
    for at, node in enumerate(graph.node):
        made = {name: sizes.get(name, 0) for name in node.output if name}
        alive |= made
        total += sum(made.values())
        most = max(most, total)
        for name in {*needs[at], *made}:
            if last.get(name, at) <= at:
                total -= alive.pop(name, 0)
    return most


def _nbytes(value: onnx.ValueInfoProto) -> int:
    shape = _shape(value)
    return 0 if shape is None else nbytes_of(value.type.tensor_type.elem_type, prod(shape))


def _shape(value: onnx.ValueInfoProto | None) -> tuple[int, ...] | None:
    """Open dimensions count 1."""
    dims = None if value is None else dims_of(value)
    return None if dims is None else tuple(1 if dim is None else dim for dim in dims)


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.3g} GiB"


@dataclass(frozen=True, slots=True)
class _Made:
    node: onnx.NodeProto
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is known in a graph; a body sees what is known outside it."""

    values: Mapping[str, onnx.ValueInfoProto]
    dims: Mapping[str, tuple[int | None, ...]]
    known: Mapping[str, integers.Integers]

    def inside(self, graph: onnx.GraphProto) -> _Scope:
        values = {**self.values, **{value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}}
        dims = {name: found for name, value in values.items() if (found := dims_of(value)) is not None}
        dims |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        hidden = {value.name for value in graph.input}
        outer = {name: values for name, values in self.known.items() if name not in hidden}
        known = integers.follow(graph.node, {**outer, **integers.of_weights(graph.initializer)}, dims)
        return _Scope(values, dims, known)

    def shape(self, node: onnx.NodeProto, place: int) -> tuple[int, ...] | None:
        """The shape of an input, open dimensions counting 1."""
        dims = self.dims.get(node.input[place]) if place < len(node.input) else None
        return None if dims is None else tuple(1 if dim is None else max(dim, 0) for dim in dims)

    def numbers(self, node: onnx.NodeProto, place: int, unknown: int = 1) -> tuple[int, ...] | None:
        """The elements of an input."""
        found = self.known.get(node.input[place]) if place < len(node.input) else None
        return None if found is None else tuple(unknown if element is None else element for element in found.elements)


def _made(graph: onnx.GraphProto, outer: _Scope) -> Iterator[_Made]:
    """What each node makes, those in bodies included."""
    scope = outer.inside(graph)
    for node in graph.node:
        for name in filter(None, node.output):
            value = scope.values.get(name)
            inferred, told = _shape(value), _told(node, scope)
            shape = max((shape for shape in (inferred, told) if shape is not None), key=prod, default=None)
            if shape is not None:
                elem_type = TensorProto.FLOAT if value is None else value.type.tensor_type.elem_type
                yield _Made(node, shape, nbytes_of(elem_type, prod(shape)))
        for body in bodies(node):
            yield from _made(body, scope)


def _told(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    """The shape that the numbers among a node's inputs ask for; those that are unknown count 1."""
    rule = _SHAPES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
    return None if rule is None else rule(node, scope)


def _as_told(node: onnx.NodeProto, scope: _Scope, place: int) -> tuple[int, ...] | None:
    numbers = scope.numbers(node, place)
    return None if numbers is None else tuple(max(number, 0) for number in numbers)


def _constant_of_shape(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    return _as_told(node, scope, 0)


def _expand(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    told, given = _as_told(node, scope, 1), scope.shape(node, 0) or ()
    if told is None:
        return None
    rank = max(len(told), len(given))
    pairs = zip((1,) * (rank - len(told)) + told, (1,) * (rank - len(given)) + given, strict=True)
    return tuple(0 if 0 in pair else max(pair) for pair in pairs)


def _tile(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    told, given = _as_told(node, scope, 1), scope.shape(node, 0)
    if told is None:
        return None
    return tuple(repeats * dim for repeats, dim in zip(told, given or (1,) * len(told), strict=False))


def _range(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    start, limit, delta = (scope.numbers(node, place, unknown=0) for place in range(3))
    if not (start and limit and delta and delta[0]):
        return None
    return (max(0, -((start[0] - limit[0]) // delta[0])),)


def _resize(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    return _as_told(node, scope, 3)


def _pad(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    pads, given = scope.numbers(node, 1, unknown=0), scope.shape(node, 0)
    if pads is None:
        return None
    rank = len(pads) // 2
    around = [before + after for before, after in zip(pads[:rank], pads[rank:], strict=False)]
    return tuple(max(0, dim + more) for dim, more in zip(given or (1,) * rank, around, strict=False))


def _one_hot(node: onnx.NodeProto, scope: _Scope) -> tuple[int, ...] | None:
    depth = _as_told(node, scope, 1)
    return None if not depth else (*(scope.shape(node, 0) or ()), depth[0])


_SHAPES: Mapping[str, Callable[[onnx.NodeProto, _Scope], tuple[int, ...] | None]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Resize": _resize,
    "Pad": _pad,
    "OneHot": _one_hot,
}
