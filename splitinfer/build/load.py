"""Reads an ONNX file and brings it into one plain form, or says why it cannot be cut.

The plain form: weights inside the model (never listed as inputs, never written as Constant nodes), IR version at least 4,
no node that leads to no output. Knows nothing of cuts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from splitinfer.errors import UnsupportedModel

MAX_BYTES = 2_000_000_000
"""A protobuf message cannot be larger than 2 GiB, and the model is held as one."""

RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "BatchNormalization", "LSTM", "GRU", "RNN"})
_FIRST_IR_WITH_FREE_WEIGHTS = 4


def load(path: Path) -> onnx.ModelProto:
    """Reads a model in plain form: `read`, then `simplify`."""
    model = read(path)
    simplify(model)
    return model


def read(path: Path) -> onnx.ModelProto:
    """Reads a model as it is, with the weights that lie beside it.

    Raises:
        UnsupportedModel: not an ONNX file, damaged, or too large.
    """
    model = _read(path)
    if not model.graph.node:
        raise UnsupportedModel(f"{path.name} holds no nodes: export the trained network, not only its weights")
    return model


def simplify(model: onnx.ModelProto) -> None:
    """Brings a model into plain form, in place.

    Raises:
        UnsupportedModel: damaged, without weights, or of a kind that cannot be cut; the message says what to do.
    """
    _refuse_strange_parts(model)
    _normalise(model)
    _refuse_no_ends(model.graph)
    _refuse_missing_weights(model)
    _check(model)
    _refuse_random(model)


def content_hash(model: onnx.ModelProto) -> str:
    """SHA-256 of a model: the same graph and weights have the same hash wherever the weights were stored."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def label(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    made = next((name for name in node.output if name), "nothing")
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} that makes {made!r}"


def bodies(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    """The graphs inside a node (branches of If, bodies of Loop and Scan)."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


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


def _normalise(model: onnx.ModelProto) -> None:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:  # how some exporters write an open dimension
                dim.ClearField("dim_value")
    # Up to IR 3 every weight had to be listed as an input, and some exporters still do. No caller of ours replaces weights.
    _keep(graph.input, lambda value: value.name not in weights)
    model.ir_version = max(model.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS)
    for weight in graph.initializer:
        weight.ClearField("data_location")  # says where a weight that is here now came from
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        tensor = _constant(node)
        if tensor is not None and node.output[0] not in outputs:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    weights = {tensor.name for tensor in graph.initializer}
    useful = _useful(graph.node, outputs)
    _keep(graph.node, lambda node: not weights.intersection(node.output) and not useful.isdisjoint(node.output))
    _keep(graph.initializer, lambda tensor: tensor.name in useful)
    graph.ClearField("value_info")


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise UnsupportedModel(f"there is no file {path.name}: give the path of an ONNX model")
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.load_external_data_for_model(model, str(path.parent))
    except DecodeError as error:
        raise UnsupportedModel(f"{path.name} is not an ONNX file: export the model to ONNX first") from error
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UnsupportedModel(f"the weights of {path.name} cannot be read from beside it: {_first_line(error)}") from error
    if not model.ir_version and not model.opset_import:
        raise UnsupportedModel(f"{path.name} is not an ONNX file: export the model to ONNX first")
    if model.ByteSize() > MAX_BYTES:
        raise UnsupportedModel(f"{path.name} is larger than 2 GB with its weights, which is not supported yet")
    return model


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise UnsupportedModel(f"the model breaks a rule of ONNX, export it again: {_first_line(error)}") from error


def _refuse_strange_parts(model: onnx.ModelProto) -> None:
    graph = model.graph
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise UnsupportedModel(f"the weight {name!r} is sparse, which is not supported yet: store it dense")
    weights = {tensor.name for tensor in graph.initializer}
    made = weights | {value.name for value in graph.input}
    for value in (*graph.input, *graph.output):
        if value.name not in weights and not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value") or "nothing"
            raise UnsupportedModel(f"{value.name!r} is a {kind.removesuffix('_type')}: inputs and outputs must be tensors")
    for value in graph.output:
        if value.name in made:
            raise UnsupportedModel(
                f"output {value.name!r} is an input or a weight, nothing computes it: remove it from the outputs"
            )


def _refuse_no_ends(graph: onnx.GraphProto) -> None:
    if not graph.input:
        raise UnsupportedModel("the model has no inputs, so nothing could be sent: export it again, with its inputs")
    if not graph.output:
        raise UnsupportedModel("the model has no outputs: export it again, with its outputs")
    names = [value.name for value in graph.output]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedModel(f"output {name!r} is listed twice: remove one of them")


def _refuse_missing_weights(model: onnx.ModelProto) -> None:
    graph = model.graph
    inputs = {value.name for value in graph.input}
    known = inputs | {tensor.name for tensor in graph.initializer}
    made = {name for node in graph.node for name in node.output}
    for node in graph.node:
        lost = next((name for name in reads(node) if name not in known), None)
        if lost in made:
            raise UnsupportedModel(f"{label(node)} stands before the node that makes {lost!r}: sort the nodes, export it again")
        if lost is not None:
            raise UnsupportedModel(
                f"{label(node)} needs {lost!r}, which nothing makes: the file has no such weight, export it again"
            )
        if node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in inputs:
            raise UnsupportedModel(
                f"the weight {node.input[1]!r} of {label(node)} is an input: export the model with its weights"
            )
        known.update(node.output)


def _refuse_random(model: onnx.ModelProto) -> None:
    true = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.BOOL and _is_true(tensor)}
    for node in _all_nodes((*model.graph.node, *(node for function in model.functions for node in function.node))):
        trains = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true
        if (node.op_type in RANDOM or trains) and node.domain in ("", "ai.onnx"):
            hint = ": export the model for inference, not for training" if trains else ""
            raise UnsupportedModel(
                f"{label(node)} draws random numbers: two halves would not give the answer of the whole{hint}"
            )


def _is_true(tensor: onnx.TensorProto) -> bool:
    return bool(onnx.numpy_helper.to_array(tensor).any())


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from _all_nodes(body.node)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None where it is no such node, or holds something else than a tensor of numbers."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    kinds: dict[str, int] = {
        "value_float": onnx.TensorProto.FLOAT,
        "value_floats": onnx.TensorProto.FLOAT,
        "value_int": onnx.TensorProto.INT64,
        "value_ints": onnx.TensorProto.INT64,
    }
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    if attribute.name not in kinds:
        return None
    value = onnx.helper.get_attribute_value(attribute)
    many = attribute.name.endswith("s")
    return onnx.helper.make_tensor("", kinds[attribute.name], [len(value)] if many else [], value if many else [value])


def _useful(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> set[str]:
    """The tensors that lead to an output."""
    wanted = set(outputs)
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
    return wanted


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Deletes what is not wanted from a repeated field, without copying the rest."""
    for index in reversed(range(len(field))):
        if not wanted(field[index]):
            del field[index]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
