"""Every part of a model in which something may hide: bodies at any depth, functions, attributes, training information.

What an attribute claims to be is not believed: all its fields are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from splitinfer.build.nodes import bodies, label, with_inner


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of a model and how messages name it."""

    name: str
    tensor: onnx.TensorProto


@dataclass(frozen=True, slots=True)
class HeldSparse:
    """A sparse tensor of a model and how messages name it."""

    name: str
    tensor: onnx.SparseTensorProto


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node that may run."""
    yield from with_inner(model.graph.node)
    for function in model.functions:
        yield from with_inner(function.node)


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, the bodies and, though nothing here runs them, the graphs for training."""
    outer = [model.graph]
    for training in model.training_info:
        outer += [training.initialization, training.algorithm]
    for graph in outer:
        yield graph
        yield from (body for node in with_inner(graph.node) for body in bodies(node))
    for function in model.functions:
        yield from (body for node in with_inner(function.node) for body in bodies(node))


def sparse_tensors(model: onnx.ModelProto) -> Iterator[HeldSparse]:
    """Every sparse tensor."""
    for graph in graphs(model):
        for sparse in graph.sparse_initializer:
            yield HeldSparse(f"the sparse weight {sparse.values.name!r}", sparse)
    for owner, attribute in _attributes(model):
        for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ()), *attribute.sparse_tensors):
            yield HeldSparse(f"the attribute {attribute.name!r} of {owner}", sparse)


def tensors(model: onnx.ModelProto) -> Iterator[Held]:
    """Every tensor, the values and the indices of sparse ones included."""
    for graph in graphs(model):
        for tensor in graph.initializer:
            yield Held(f"the weight {tensor.name!r}", tensor)
    for owner, attribute in _attributes(model):
        for tensor in (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors):
            yield Held(f"the attribute {attribute.name!r} of {owner}", tensor)
    for held in sparse_tensors(model):
        yield Held(f"the values of {held.name}", held.tensor.values)
        yield Held(f"the indices of {held.name}", held.tensor.indices)


def _attributes(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.AttributeProto]]:
    """Every attribute and the name of what has it."""
    for function in model.functions:
        yield from _of(f"the function {function.name!r}", function.attribute_proto)
    for training in model.training_info:
        for graph in (training.initialization, training.algorithm):
            for node in with_inner(graph.node):
                yield from _of(label(node), node.attribute)
    for node in nodes(model):
        yield from _of(label(node), node.attribute)


def _of(owner: str, attributes: Sequence[onnx.AttributeProto]) -> Iterator[tuple[str, onnx.AttributeProto]]:
    return ((owner, attribute) for attribute in attributes)
