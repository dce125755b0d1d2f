"""A file in one plain form: what is read, what is brought into the model, what is made plain, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.bench.traps.parts import FLOAT, branch, constant, image_net, net, node, relu, row_net, value, weight
from splitinfer.build.load import content_hash, read, simplify
from splitinfer.build.weights import is_outside
from splitinfer.errors import UnsupportedModel
from tests import models


def simplified(proto: onnx.ModelProto) -> onnx.ModelProto:
    simplify(proto)
    return proto


def stored(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


# --- sparse ------------------------------------------------------------------------------------------------------------------


def sparse(places: object, shape: tuple[int, ...] = (8, 8), name: str = "w") -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array(places, np.int64), f"{name}_at")
    values = np.arange(1, len(places) + 1, dtype=np.float32)
    return helper.make_sparse_tensor(numpy_helper.from_array(values, name), indices, list(shape))


def with_sparse_weight(places: object) -> onnx.ModelProto:
    proto = row_net([node("MatMul", "x w", "y")])
    proto.graph.sparse_initializer.append(sparse(places))
    return proto


def with_sparse_constant(places: object) -> onnx.ModelProto:
    made = helper.make_node("Constant", [], ["w"], sparse_value=sparse(places, name=""))
    return row_net([made, node("MatMul", "x w", "y")])


DENSE = np.zeros((8, 8), np.float32)
DENSE[0, 3], DENSE[1, 2], DENSE[7, 7] = 1, 2, 3
LINEAR, PAIRS = [3, 10, 63], [[0, 3], [1, 2], [7, 7]]


@pytest.mark.parametrize("make", [with_sparse_weight, with_sparse_constant])
@pytest.mark.parametrize("places", [LINEAR, PAIRS])
def test_what_is_sparse_becomes_dense(make, places):
    proto = simplified(make(places))
    assert not proto.graph.sparse_initializer
    assert [found.op_type for found in proto.graph.node] == ["MatMul"]
    assert list(stored(proto)) == ["w"]
    assert np.array_equal(stored(proto)["w"], DENSE)


@pytest.mark.parametrize("make", [with_sparse_weight, with_sparse_constant])
@pytest.mark.parametrize("places", [[3, 64], [[0, 3], [8, 0]], [-1, 3], [[0, -1], [1, 2]]])
def test_an_index_outside_the_shape_is_refused(make, places):
    with pytest.raises(UnsupportedModel, match=r"the sparse weight 'w' has indices outside its shape \[8, 8\]: export"):
        simplify(make(places))


def test_sparse_weights_of_a_body_become_dense_too():
    then = branch([node("MatMul", "x w", "t")])
    then.sparse_initializer.append(sparse(LINEAR))
    choice = node("If", "on", "y", then_branch=then, else_branch=branch([node("Abs", "x", "e")]))
    found = simplified(row_net([*flag(), choice], [constant("zero", 0.0)]))
    body = inside(found.graph.node[-1])
    assert not body.sparse_initializer
    assert np.array_equal(numpy_helper.to_array(body.initializer[0]), DENSE)


def inside(choice: onnx.NodeProto, name: str = "then_branch") -> onnx.GraphProto:
    return next(attribute.g for attribute in choice.attribute if attribute.name == name)


def flag() -> list[onnx.NodeProto]:
    return [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", "on")]


# --- plain form --------------------------------------------------------------------------------------------------------------


def test_a_weight_that_is_an_output_is_made_by_a_node():
    nodes = [node("MatMul", "x w", "y")]
    proto = net(nodes, [value("x", "N 8")], [value("y", "N 8"), value("w", "8 8")], [weight("w", 8, 8)])
    simplify(proto)
    assert list(stored(proto)) == ["w/weight"]
    assert [(found.op_type, *found.input, *found.output) for found in proto.graph.node] == [
        ("MatMul", "x", "w/weight", "y"),
        ("Identity", "w/weight", "w"),
    ]


def test_a_weight_that_is_an_output_is_renamed_in_bodies():
    choice = node(
        "If", "on", "y", then_branch=branch([node("MatMul", "x w", "t")]), else_branch=branch([node("Abs", "x", "e")])
    )
    proto = row_net([*flag(), choice], [weight("w", 8, 8), constant("zero", 0.0)])
    proto.graph.output.append(value("w", "8 8"))
    simplify(proto)
    conditional = next(found for found in proto.graph.node if found.op_type == "If")
    assert list(inside(conditional).node[0].input) == ["x", "w/weight"]


@pytest.mark.parametrize(
    ("attribute", "given", "array"),
    [
        ("value", numpy_helper.from_array(np.float32([[1, 2]])), np.float32([[1, 2]])),
        ("value_float", 2.0, np.float32(2)),
        ("value_floats", [2.0, 3.0], np.float32([2, 3])),
    ],
)
def test_a_constant_node_becomes_a_weight(attribute, given, array):
    made = helper.make_node("Constant", [], ["k"], **{attribute: given})
    proto = simplified(row_net([made, node("Cast", "k", "c", to=FLOAT), node("Mul", "x c", "y")]))
    assert stored(proto)["k"].dtype == array.dtype
    assert stored(proto)["k"].shape == array.shape
    assert np.array_equal(stored(proto)["k"], array)


@pytest.mark.parametrize(("attribute", "given"), [("value_int", 2), ("value_ints", [2, 3])])
def test_integers_of_a_constant_node_stay_int64(attribute, given):
    made = helper.make_node("Constant", [], ["k"], **{attribute: given})
    proto = simplified(row_net([made, node("Cast", "k", "c", to=FLOAT), node("ReduceSum", "c", "s", keepdims=0), add("s")]))
    assert stored(proto)["k"].dtype == np.int64
    assert stored(proto)["k"].tolist() == given


def add(name: str) -> onnx.NodeProto:
    return node("Add", ["x", name], "y")


def test_a_constant_that_is_an_output_stays_a_node():
    made = helper.make_node("Constant", [], ["k"], value_floats=[1.0])
    proto = row_net([made, add("k")])
    proto.graph.output.append(value("k", "1"))
    assert [found.op_type for found in simplified(proto).graph.node] == ["Constant", "Add"]


def test_weights_are_no_inputs_and_what_leads_nowhere_is_left_out():
    proto = row_net([relu("x", "y"), node("MatMul", "x w", "lost")], [weight("w", 8, 8)])
    proto.graph.input.append(value("w", "8 8"))
    proto.graph.value_info.append(value("lost", "N 9"))
    proto.ir_version = 3
    simplify(proto)
    assert [found.name for found in proto.graph.input] == ["x"]
    assert [found.op_type for found in proto.graph.node] == ["Relu"]
    assert not proto.graph.initializer
    assert not proto.graph.value_info
    assert proto.ir_version == 4


def test_a_newer_file_keeps_its_version():
    assert simplified(row_net([relu("x", "y")])).ir_version == 10


def test_shapes_of_outputs_that_were_declared_without_are_completed():
    proto = image_net([relu("b", "m")])
    proto.graph.output[0].CopyFrom(value("y", None))
    assert simplified(proto).graph.output[0] == value("y", "N 10")


def test_shapes_that_inference_cannot_tell_stay_open():
    proto = net([node("Gelu", "x", "y", domain="com.microsoft")], [value("x", "N 8")], [value("y", None)], com_microsoft=1)
    assert simplified(proto).graph.output[0] == value("y", None)


def test_shapes_of_outputs_that_were_declared_are_left_alone():
    proto = image_net([relu("b", "m")])
    proto.graph.output[0].CopyFrom(value("y", "batch classes"))
    assert simplified(proto).graph.output[0] == value("y", "batch classes")


# --- refused -----------------------------------------------------------------------------------------------------------------


NORM = ("scale", "shift", "mean", "var")


def trained(x: str, y: str) -> onnx.NodeProto:
    return node("BatchNormalization", [x, *NORM], y, name="norm", training_mode=1)


def statistics() -> list[TensorProto]:
    return [constant(name, np.ones(8, np.float32)) for name in NORM]


def trained_on_top() -> onnx.ModelProto:
    return row_net([trained("x", "y")], statistics())


def trained_in_a_body() -> onnx.ModelProto:
    inner = node("If", "on", "i", then_branch=branch([trained("x", "t")]), else_branch=branch([node("Abs", "x", "e")]))
    choice = node("If", "on", "y", then_branch=branch([inner]), else_branch=branch([node("Exp", "x", "o")]))
    return row_net([*flag(), choice], [*statistics(), constant("zero", 0.0)])


def trained_in_a_function() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("ours", "Norm", ["v", *NORM], ["o"], [trained("v", "o")], opsets)
    proto = row_net([node("Norm", ["x", *NORM], "y", domain="ours")], statistics(), ours=1)
    proto.functions.append(function)
    return proto


@pytest.mark.parametrize("make", [trained_on_top, trained_in_a_body, trained_in_a_function])
def test_a_batch_normalisation_that_learns_is_refused(make):
    with pytest.raises(UnsupportedModel, match=r"BatchNormalization 'norm' is in training mode.*export .* for inference"):
        simplify(make())


def test_a_batch_normalisation_that_does_not_learn_is_taken():
    proto = trained_on_top()
    proto.graph.node[0].attribute[0].i = 0
    assert len(simplified(proto).graph.node) == 1


def test_an_operator_of_somebody_else_may_have_the_name_of_a_random_one():
    proto = row_net([node("Bernoulli", "x", "y", domain="com.microsoft")], com_microsoft=1)
    assert len(simplified(proto).graph.node) == 1


# --- read --------------------------------------------------------------------------------------------------------------------


def save_outside(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0, convert_attribute=True)
    return path


def two_products() -> onnx.ModelProto:
    nodes = [node("MatMul", "x w", "a"), node("Mul", "a k", "b"), node("MatMul", "b w", "y")]
    return row_net(nodes, [weight("w", 32, 32), weight("k", 32)])


def test_large_weights_stay_in_their_file_and_small_ones_are_brought_in(tmp_path):
    proto, weights = read(save_outside(two_products(), tmp_path))
    assert {tensor.name: is_outside(tensor) for tensor in proto.graph.initializer} == {"w": True, "k": False}
    inside = {tensor.name: tensor for tensor in two_products().graph.initializer}
    assert proto.graph.initializer[1] == inside["k"]
    assert bytes(weights.data(proto.graph.initializer[0])) == inside["w"].raw_data


def test_tensors_in_bodies_and_attributes_are_brought_in(tmp_path):
    made = helper.make_node("Constant", [], ["k"], value=weight("inner", 32, 32))
    otherwise = branch([node("Add", "x c", "e")], [weight("c", 32, 32)])
    choice = node("If", "on", "b", then_branch=branch([made, node("MatMul", "x k", "t")]), else_branch=otherwise)
    outer = helper.make_node("Constant", [], ["w"], value=weight("outer", 32, 32))
    proto = row_net([*flag(), choice, outer, node("MatMul", "b w", "y")], [constant("zero", 0.0)])
    wanted = proto.SerializeToString()
    path = save_outside(proto, tmp_path)
    assert path.read_bytes().count(b"net.data") == 4
    assert read(path)[0].SerializeToString() == wanted


def test_sparse_weights_in_a_file_are_brought_in(tmp_path):
    proto = with_sparse_weight(LINEAR)
    whole = proto.graph.sparse_initializer[0]
    for at, tensor in enumerate((whole.values, whole.indices)):
        place = {"location": "w.bin", "offset": str(12 * at)}
        with (tmp_path / "w.bin").open("ab") as data:
            data.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in place.items():
            tensor.external_data.add(key=key, value=text)
    onnx.save(proto, tmp_path / "net.onnx")
    found, _ = read(tmp_path / "net.onnx")
    simplify(found)
    assert np.array_equal(stored(found)["w"], DENSE)


def test_a_weight_that_is_cut_short_is_refused_when_the_file_is_read(tmp_path):
    path = save_outside(two_products(), tmp_path)
    with (tmp_path / "net.data").open("r+b") as data:
        data.truncate(100)
    with pytest.raises(UnsupportedModel, match=r"'net\.data'"):
        read(path)


def test_node_names_that_come_twice_are_cleared(tmp_path):
    then = branch([node("Exp", "x", "t", name="same")])
    choice = node("If", "on", "b", name="choice", then_branch=then, else_branch=branch([node("Abs", "x", "e", name="other")]))
    nodes = [*flag(), choice, node("Relu", "b", "c", name="same"), node("Tanh", "c", "y", name="other")]
    found, _ = read(models.save(row_net(nodes, [constant("zero", 0.0)]), tmp_path))
    assert [one.name for one in found.graph.node] == ["make_total", "make_on", "choice", "", ""]
    assert [inside(found.graph.node[2], f"{kind}_branch").node[0].name for kind in ("then", "else")] == ["same", "other"]


# --- content_hash ------------------------------------------------------------------------------------------------------------


def with_typed_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.ravel().tolist()))
    return proto


def test_a_model_has_one_hash_however_its_weights_are_stored(tmp_path):
    outside, weights = read(save_outside(two_products(), tmp_path))
    assert is_outside(outside.graph.initializer[0])
    found = {content_hash(two_products()), content_hash(with_typed_weights(two_products())), content_hash(outside, weights)}
    assert len(found) == 1


def changed(**change: object) -> onnx.ModelProto:
    """The model with another weight, weight name, constant, type or operator."""
    proto = two_products()
    tensor = proto.graph.initializer[0]
    if "value" in change:
        array = numpy_helper.to_array(tensor).copy()
        array[3, 3] += 1e-3
        tensor.raw_data = array.tobytes()
    if "shape" in change:
        tensor.dims[:] = [16, 64]
    if "type" in change:
        tensor.data_type = TensorProto.INT32
    if "name" in change:
        tensor.name = "other"
    if "node" in change:
        proto.graph.node[1].op_type = "Add"
    if "input" in change:
        proto.graph.input[0].CopyFrom(value("x", "1 32"))
    if "output" in change:
        proto.graph.output[0].name = "b"
    return proto


@pytest.mark.parametrize("what", ["value", "shape", "type", "name", "node", "input", "output"])
def test_another_model_has_another_hash(what):
    assert content_hash(changed(**{what: True})) != content_hash(two_products())


def test_bytes_of_no_plain_type_count_too():
    def brain(number: int) -> onnx.ModelProto:
        tensor = TensorProto(name="k", data_type=TensorProto.BFLOAT16, dims=[1], int32_data=[number])
        return row_net([node("Cast", "k", "c", to=FLOAT), add("c")], [tensor])

    assert content_hash(brain(1)) != content_hash(brain(2))
    assert content_hash(brain(1)) == content_hash(brain(1))


def test_what_is_hashed_is_not_changed():
    proto = two_products()
    content_hash(proto)
    assert proto == two_products()
