"""Weights: shared, sparse, computed, listed as inputs, read inside bodies, given out."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    CHANNELS,
    FLOAT,
    FLOAT16,
    IMAGES,
    INT64,
    ROWS,
    ModelProto,
    SparseProto,
    branch,
    classifier,
    constant,
    conv,
    feeds,
    image_net,
    net,
    node,
    normal,
    relu,
    row_net,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut

_IDS = feeds(*({"ids": (np.arange(n * t).reshape(n, t) * 11 % 50).astype(np.int64)} for n, t in ((1, 16), (2, 5), (3, 1))))


def tied_embedding() -> ModelProto:
    """One table is looked up in the head and, transposed, multiplied with in the tail."""
    nodes = [node("Gather", "words ids", "h"), node("MatMul", "h w", "a"), relu("a", "b"), node("MatMul", "b w", "c")]
    nodes += [node("Transpose", "words", "turned", perm=[1, 0]), node("MatMul", "c turned", "y")]
    ends = [value("ids", "N T", INT64)], [value("y", "N T 50")]
    return net(nodes, *ends, [weight("words", 50, 16), weight("w", 16, 16)])


def shared_kernel() -> ModelProto:
    """The same kernel is used by three convolutions in a row."""
    return image_net([conv("b", "p", "w1"), relu("p", "q"), conv("q", "r", "w1"), relu("r", "m")])


def sparse_weight() -> ModelProto:
    """A weight is stored sparse, with indices that count through the whole tensor."""
    model = row_net([node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b v", "y")], [weight("v", 8, 8)])
    model.graph.sparse_initializer.append(_sparse("w", flat=True))
    return model


def sparse_coordinates() -> ModelProto:
    """A weight is stored sparse, with a row and a column for each value, and two sides read it."""
    model = row_net([node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b w", "y")])
    model.graph.sparse_initializer.append(_sparse("w", flat=False))
    return model


def sparse_in_body() -> ModelProto:
    """The branch of an If has a sparse weight of its own."""
    then, otherwise = branch([node("MatMul", "a w", "t1")]), branch([node("Neg", "a", "e1")])
    then.sparse_initializer.append(_sparse("w", flat=True))
    nodes = [node("MatMul", "x v", "a"), node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "yes", to=BOOL)]
    return row_net(
        [*nodes, node("If", "yes", "b", then_branch=then, else_branch=otherwise), relu("b", "y")], [weight("v", 8, 8)]
    )


def sparse_constant() -> ModelProto:
    """A Constant node holds a sparse tensor."""
    made = node("Constant", "", "w", sparse_value=_sparse("", flat=True))
    return row_net([made, node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b w", "y")])


def listed_as_inputs() -> ModelProto:
    """IR version 3: every weight is listed as an input, too."""
    model = image_net([relu("b", "m")], [weight("bias", 10)], opset=8)
    model.graph.node[-1].input.append("bias")
    model.ir_version = 3
    _list_weights(model)
    return model


def default_inputs() -> ModelProto:
    """IR version 8 with weights that are inputs with a default: nobody gives them."""
    model = image_net([node("Add", "b bias", "m")], [weight("bias", CHANNELS, 1, 1)])
    model.ir_version = 8
    _list_weights(model)
    return model


def weights_by_nodes() -> ModelProto:
    """Weights are Constant and ConstantOfShape nodes, and one that is computed from others is used on both sides."""
    nodes = [node("Constant", "", "base", value=weight("", CHANNELS, CHANNELS, 3, 3))]
    nodes += [node("ConstantOfShape", "sizes", "tenths", value=constant("", [0.1])), node("Mul", "tenths w1", "scaled")]
    nodes += [node("Sub", "base scaled", "k"), conv("b", "p", "k"), relu("p", "q"), conv("q", "r", "k"), relu("r", "m")]
    return image_net(nodes, [constant("sizes", [CHANNELS, CHANNELS, 3, 3])])


def constants_of_all_kinds() -> ModelProto:
    """Constant nodes with value_float, value_floats, value_int and value_ints."""
    nodes = [
        node("Constant", "", "half", value_float=0.5),
        node("Constant", "", "many", value_floats=[1.0 + i for i in range(8)]),
    ]
    nodes += [node("Constant", "", "axis", value_int=1), node("Constant", "", "shape", value_ints=[1, CHANNELS, 1, 1])]
    nodes += [node("Mul", "b half", "p"), node("Reshape", "many shape", "wide"), node("Mul", "p wide", "q")]
    return image_net([*nodes, node("CumSum", "q axis", "m")])


def typed_data() -> ModelProto:
    """Weights are stored as lists of numbers instead of bytes, in float32, float16 and int64."""
    from onnx import helper

    kernel = np.round(normal(8, 8), 2).ravel().tolist()
    weights = [helper.make_tensor("w", FLOAT, [8, 8], kernel), helper.make_tensor("h", FLOAT16, [8, 8], kernel)]
    weights.append(helper.make_tensor("shape", INT64, [2], [-1, 8]))
    nodes = [node("MatMul", "x w", "a"), relu("a", "b"), node("Cast", "h", "hw", to=FLOAT), node("MatMul", "b hw", "c")]
    return row_net([*nodes, node("Reshape", "c shape", "y")], weights)


def tables_of_integers() -> ModelProto:
    """Large weights that are no floats: a table of indices and one of booleans, behind different boundaries."""
    nodes = [node("Gather", "routes ids", "a"), node("Gather", "words a", "b"), node("Gather", "allowed a", "c")]
    nodes += [node("Unsqueeze", "c last", "d"), node("Where", "d b low", "e"), node("MatMul", "e w", "y")]
    tables = [
        constant("routes", np.arange(400) * 7 % 400),
        constant("allowed", np.arange(2000) % 3 > 0),
        weight("words", 400, 16),
    ]
    weights = [*tables, constant("last", [2]), constant("low", np.float32(-1)), weight("w", 16, 4)]
    return net(nodes, [value("ids", "N T", INT64)], [value("y", "N T 4")], weights)


def empty_weight() -> ModelProto:
    """A weight without elements (the region of a Resize) and one without dimensions."""
    nodes = [
        node("Resize", "b roi scales", "p"),
        node("Mul", "p two", "q"),
        node("MaxPool", "q", "m", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    empty, scales = constant("roi", np.zeros(0, np.float32)), constant("scales", [1.0, 1.0, 2.0, 2.0])
    return image_net(nodes, [empty, scales, constant("two", np.float32(2))])


def weight_in_body() -> ModelProto:
    """A weight is read by a node and, in the tail, inside a branch; the branch also stores one of its own."""
    then = branch([node("Conv", "s w2", "t1", pads=[1] * 4), node("Add", "t1 own", "t2")], [weight("own", CHANNELS, 1, 1)])
    otherwise = branch([node("Identity", "s", "e1")])
    nodes = [
        node("ReduceSum", "b", "total", keepdims=0),
        node("Greater", "total zero", "yes"),
        conv("b", "r", "w2"),
        relu("r", "s"),
    ]
    nodes += [node("If", "yes", "m", then_branch=then, else_branch=otherwise)]
    return image_net(nodes, [weight("w2", CHANNELS, CHANNELS, 3, 3), constant("zero", np.float32(0))])


def weights_given_out() -> ModelProto:
    """One output is a weight, another is computed from weights alone."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *classifier("b"), node("Mul", "fc fc", "squares")]
    outputs = [value("y", "N 10"), value("fc", f"10 {CHANNELS}"), value("squares", f"10 {CHANNELS}")]
    return net(nodes, [value("x", "N 3 8 8")], outputs, [weight("w0", CHANNELS, 3, 3, 3), weight("fc", 10, CHANNELS)])


def _list_weights(model: ModelProto) -> None:
    from onnx import helper

    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _sparse(name: str, flat: bool) -> SparseProto:
    """Eight by eight, a value in every row."""
    from onnx import helper

    rows = np.arange(8)
    places = np.stack([rows, (rows * 3 + 1) % 8], axis=1)
    indices = places @ np.array([8, 1]) if flat else places
    return helper.make_sparse_tensor(constant(name, 1.0 + rows.astype(np.float32)), constant("at", indices), [8, 8])


TRAPS = (
    cut(tied_embedding, _IDS, "h", "b", "c"),
    cut(shared_kernel, IMAGES, "p", "q", "m"),
    cut(sparse_weight, ROWS, "a", "b"),
    cut(sparse_coordinates, ROWS, "a", "b"),
    cut(sparse_in_body, ROWS, "a", "b"),
    cut(sparse_constant, ROWS, "a", "b"),
    cut(listed_as_inputs, IMAGES, "b", "m"),
    cut(default_inputs, IMAGES, "b", "m"),
    cut(weights_by_nodes, IMAGES, "p", "q", "m", never={"k", "scaled", "base", "tenths"}),
    cut(constants_of_all_kinds, IMAGES, "p", "q", "m"),
    cut(typed_data, ROWS, "a", "b", "c"),
    cut(tables_of_integers, _IDS, "a", {"b", "c"}, "e"),
    cut(empty_weight, IMAGES, "p", "m"),
    cut(weight_in_body, IMAGES, "b", "s", "m"),
    cut(weights_given_out, IMAGES, "a", "b"),
)
