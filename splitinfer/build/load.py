"""Reads an ONNX file and brings it into one plain form, or says why it cannot be cut.

The plain form: functions written out, weights named and dense (never listed as inputs, never Constant nodes), IR version at
least 4, shapes that are known written as numbers, no node that leads to no output. Weights that lie in another file stay
there. Knows nothing of cuts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from splitinfer.build import gate
from splitinfer.build.nodes import (
    DEFAULT_DOMAINS,
    bodies,
    constant_of,
    first_line,
    integer,
    is_constant,
    keep,
    label,
    reads,
    rename,
    useful,
    with_inner,
)
from splitinfer.build.shapes import infer
from splitinfer.build.weights import Weights, is_outside, nbytes_of, skeleton
from splitinfer.bundle import INLINE_BYTES
from splitinfer.errors import UnsupportedModel

MAX_BYTES = 2_000_000_000
"""Nothing larger can cross, or stand inside a graph: a protobuf message cannot be larger than 2 GiB."""

RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "BatchNormalization", "LSTM", "GRU", "RNN"})
_FIRST_IR_WITH_FREE_WEIGHTS = 4


def read(path: Path) -> tuple[onnx.ModelProto, Weights]:
    """Reads a model as it is. Large weights that lie beside it stay there.

    Raises:
        UnsupportedModel: not an ONNX file, damaged, or its weights cannot be read.
    """
    model = _parse(path)
    _refuse_no_text(model, path)
    gate.check(model, path)
    if not model.graph.node:
        raise UnsupportedModel(f"{path.name} holds no nodes: export the trained network, not only its weights")
    _clear_repeated_names(model.graph.node)
    weights = Weights(path.parent)
    for tensor in _buried(model):
        weights.bring_in(tensor)
    for tensor in model.graph.initializer:
        if is_outside(tensor) and nbytes_of(tensor) > INLINE_BYTES:
            weights.data(tensor)  # says now what is wrong with it
        else:
            weights.bring_in(tensor)
    return model, weights


def _refuse_no_text(model: onnx.ModelProto, path: Path) -> None:
    """Protobuf gives a string that is no UTF-8 as bytes, which nothing behind here expects."""
    for node in with_inner((*model.graph.node, *(node for function in model.functions for node in function.node))):
        for text in (node.op_type, node.domain, node.name, *node.input, *node.output):
            if not isinstance(text, str):
                raise UnsupportedModel(
                    f"{path.name} has the name {text!r}, which is no UTF-8: the file is damaged, export it again"
                )


def _clear_repeated_names(nodes: Iterable[onnx.NodeProto]) -> None:
    """Node names mean nothing, and ONNX lets them come twice; the runtime refuses that."""
    seen: set[str] = set()
    for node in with_inner(nodes):
        if node.name in seen:
            node.ClearField("name")
        seen.add(node.name)


def simplify(model: onnx.ModelProto) -> None:
    """Brings a model into plain form, in place.

    Raises:
        UnsupportedModel: damaged, without weights, or of a kind that cannot be cut; the message says what to do.
    """
    _refuse_strange_ends(model)
    _make_dense(model.graph)
    _normalise(model)
    _refuse_no_ends(model.graph)
    _refuse_missing_weights(model)
    _complete_outputs(model)
    _check(model)
    _refuse_random(model)


def content_hash(model: onnx.ModelProto, weights: Weights | None = None) -> str:
    """SHA-256 of a model: the same graph and weights have the same hash wherever the weights were stored."""
    weights = weights or Weights()
    bare = onnx.ModelProto()
    bare.CopyFrom(skeleton(model))
    del bare.graph.initializer[:], bare.graph.input[:]
    bare.graph.input.extend(model.graph.input)
    digest = hashlib.sha256(bare.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        content = weights.sha256(tensor) or tensor.SerializeToString(deterministic=True).hex()
        digest.update(f"{tensor.name}\0{tensor.data_type}\0{list(tensor.dims)}\0{content}\0".encode())
    return digest.hexdigest()


def _normalise(model: onnx.ModelProto) -> None:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:  # how some exporters write an open dimension
                dim.ClearField("dim_value")
    # Up to IR 3 every weight had to be listed as an input, and some exporters still do. No caller of ours replaces weights.
    keep(graph.input, lambda value: value.name not in weights)
    model.ir_version = max(model.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS)
    outputs = {value.name for value in graph.output}
    _free_outputs(graph, outputs & weights)
    for node in graph.node:
        tensor = _constant(node)
        if tensor is not None and node.output[0] not in outputs:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    weights = {tensor.name for tensor in graph.initializer}
    leading = useful(graph.node, outputs)
    keep(graph.node, lambda node: not weights.intersection(node.output) and not leading.isdisjoint(node.output))
    keep(graph.initializer, lambda tensor: tensor.name in leading)
    graph.ClearField("value_info")
    graph.ClearField("quantization_annotation")


def _free_outputs(graph: onnx.GraphProto, weights: Iterable[str]) -> None:
    """A weight that is an output gets another name, and a node that makes the output of it."""
    names = {name: f"{name}/weight" for name in weights}
    for node in graph.node:
        rename(node, names)
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    graph.node.extend(onnx.helper.make_node("Identity", [new], [old]) for old, new in sorted(names.items()))


def _make_dense(graph: onnx.GraphProto) -> None:
    """Stores sparse weights as ordinary ones, in bodies too, as the runtime does when it loads them."""
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, sparse.values.name))
    graph.ClearField("sparse_initializer")
    for node in graph.node:
        for body in bodies(node):
            _make_dense(body)


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    shape = tuple(sparse.dims)
    values = onnx.numpy_helper.to_array(sparse.values)
    if min(shape, default=0) < 0 or prod(shape) * values.dtype.itemsize > MAX_BYTES:
        raise UnsupportedModel(
            f"the sparse weight {name!r} {list(shape)} is larger than 2 GB: store it dense, in a file beside"
        )
    places = onnx.numpy_helper.to_array(sparse.indices)
    dense = np.zeros(shape, values.dtype)
    try:
        linear = places.ndim == 1
        flat = np.ravel_multi_index((places,), (dense.size,)) if linear else np.ravel_multi_index(tuple(places.T), shape)
        dense.reshape(-1)[flat] = values
    except ValueError as error:
        raise UnsupportedModel(
            f"the sparse weight {name!r} has indices outside its shape {list(shape)}: export it again"
        ) from error
    return onnx.numpy_helper.from_array(dense, name)


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise UnsupportedModel(f"there is no file {path.name or path}: give the path of an ONNX model")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise UnsupportedModel(f"{path.name} is not an ONNX file: export the model to ONNX first") from error
    if not model.ir_version and not model.opset_import:
        raise UnsupportedModel(f"{path.name} is not an ONNX file: export the model to ONNX first")
    return model


def _buried(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors that are no weights of the main graph: in attributes, bodies and functions, and sparse ones."""
    sparse = [*model.graph.sparse_initializer]
    for node in with_inner((*model.graph.node, *(node for function in model.functions for node in function.node))):
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):  # to look at one that is not there would make it
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
        for body in bodies(node):
            yield from body.initializer
            sparse += body.sparse_initializer
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _complete_outputs(model: onnx.ModelProto) -> None:
    """Writes down the shapes of outputs that were declared without, where inference can tell them."""
    bare = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    if not bare:
        return
    found = {value.name: value for value in infer(model, data_prop=True).graph.output}
    for value in bare:
        if found[value.name].type.tensor_type.HasField("shape"):
            value.CopyFrom(found[value.name])


def _check(model: onnx.ModelProto) -> None:
    light = skeleton(model)
    keep(light.graph.output, lambda value: value.type.tensor_type.HasField("shape"))  # one without is no reason to refuse
    try:
        onnx.checker.check_model(light)
    except onnx.checker.ValidationError as error:
        raise UnsupportedModel(f"the model breaks a rule of ONNX, export it again: {first_line(error)}") from error


def _refuse_strange_ends(model: onnx.ModelProto) -> None:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {sparse.values.name for sparse in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    for value in (*inputs, *graph.output):
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value") or "nothing"
            raise UnsupportedModel(f"{value.name!r} is a {kind.removesuffix('_type')}: inputs and outputs must be tensors")
    for value in inputs:
        if not value.type.tensor_type.HasField("shape"):
            raise UnsupportedModel(
                f"input {value.name!r} is declared without dimensions: export it with its shape, open where it varies"
            )
    for value in graph.output:
        if any(value.name == given.name for given in inputs):
            raise UnsupportedModel(f"output {value.name!r} is an input, nothing computes it: remove it from the outputs")


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
    for node in with_inner((*model.graph.node, *(node for function in model.functions for node in function.node))):
        if node.domain not in DEFAULT_DOMAINS:
            continue
        if node.op_type == "BatchNormalization" and integer(node, "training_mode", 0):
            raise UnsupportedModel(
                f"{label(node)} is in training mode: what it learns changes the next answer, export the model for inference"
            )
        trains = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true
        if node.op_type in RANDOM or trains:
            hint = ": export the model for inference, not for training" if trains else ""
            raise UnsupportedModel(
                f"{label(node)} draws random numbers: two halves would not give the answer of the whole{hint}"
            )


def _is_true(tensor: onnx.TensorProto) -> bool:
    return bool(onnx.numpy_helper.to_array(tensor).any())


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node, a sparse one too; None where it is no such node, or holds text."""
    if is_constant(node) and node.attribute[0].name == "sparse_value":
        return _dense(node.attribute[0].sparse_tensor, node.output[0])
    return constant_of(node)
