"""What can be asked of nodes and of the graphs inside them, and small changes to them. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")
"""Two names of one domain, that of the standard's operators."""

Key = tuple[str, str, str]
"""What a function goes by: domain, name and overload."""

_CONSTANTS: dict[str, int] = {
    "value_float": onnx.TensorProto.FLOAT,
    "value_floats": onnx.TensorProto.FLOAT,
    "value_int": onnx.TensorProto.INT64,
    "value_ints": onnx.TensorProto.INT64,
}


def label(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    made = next((name for name in node.output if name), "nothing")
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} that makes {made!r}"


def normal(domain: str) -> str:
    """The one name of a domain: that of the standard's operators has two."""
    return "" if domain in DEFAULT_DOMAINS else domain


def called(node: onnx.NodeProto) -> Key:
    """The function that a node calls, if it is a call."""
    return normal(node.domain), node.op_type, node.overload


def key_of(function: onnx.FunctionProto) -> Key:
    """What calls of a function name."""
    return normal(function.domain), function.name, function.overload


def first_line(error: Exception) -> str:
    """What an error of a library says, without its details."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node (branches of If, bodies of Loop and Scan), whatever type their attributes claim to have."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those inside them, at any depth. Depth is no danger: protobuf parses at most a hundred levels."""
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from with_inner(body.node)


def reads(node: onnx.NodeProto) -> tuple[str, ...]:
    """Every tensor a node needs from outside, in order: its inputs and what its bodies capture, at any depth."""
    found = dict.fromkeys(name for name in node.input if name)
    for body in bodies(node):
        inner = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        inner |= {tensor.values.name for tensor in body.sparse_initializer}
        for step in body.node:
            found.update(dict.fromkeys(name for name in reads(step) if name not in inner))
            inner.update(step.output)
        found.update(dict.fromkeys(value.name for value in body.output if value.name not in inner))
    return tuple(found)


def useful(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> set[str]:
    """The tensors that lead to an output.

    Args:
        nodes: of one graph, in order.
        outputs: names.
    """
    wanted = set(outputs)
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
    return wanted


def keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Deletes what is not wanted from a repeated field, without copying the rest."""
    for index in reversed(range(len(field))):
        if not wanted(field[index]):
            del field[index]


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Gives some tensors of a node other names, in its bodies too (ONNX forbids them to mean something else there)."""
    for field in (node.input, node.output):
        field[:] = [names.get(name, name) for name in field]
    for body in bodies(node):
        for value in body.output:
            value.name = names.get(value.name, value.name)
        for step in body.node:
            rename(step, names)


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    """The attribute of that name, if the node has it."""
    return next((found for found in node.attribute if found.name == name), None)


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """The value of an integer attribute."""
    found = attribute(node, name)
    return default if found is None else int(found.i)


def integers(node: onnx.NodeProto, name: str) -> tuple[int, ...] | None:
    """The value of an attribute that lists integers; None where the node has none of that name."""
    found = attribute(node, name)
    return None if found is None else tuple(found.ints)


def is_constant(node: onnx.NodeProto) -> bool:
    """Whether it is a Constant of the standard that holds one thing."""
    return node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS and len(node.attribute) == 1


def constant_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """A copy of the tensor that a Constant node holds; None where it is none, or holds something else (text, sparse)."""
    if not is_constant(node):
        return None
    (found,) = node.attribute
    if found.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(found.t)
        return tensor
    if found.name not in _CONSTANTS:
        return None
    value = onnx.helper.get_attribute_value(found)
    many = found.name.endswith("s")
    return onnx.helper.make_tensor("", _CONSTANTS[found.name], [len(value)] if many else [], value if many else [value])


def dims_of(kind: onnx.TypeProto) -> tuple[int | None, ...] | None:
    """The dimensions of a tensor by its type; None for an open one, None altogether where not even their number is known."""
    if not kind.tensor_type.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.tensor_type.shape.dim)
