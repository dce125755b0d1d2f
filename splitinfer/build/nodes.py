"""What can be asked of a node and of the graphs inside it. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")
"""Two names of one domain, that of the standard's operators."""


def label(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    made = next((name for name in node.output if name), "nothing")
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} that makes {made!r}"


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
