"""What is said of a tensor, should it cross: its bytes, whether it may be coded, and what stands against it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from splitinfer.bench.traps.parts import FLOAT, branch, constant, conv, image_net, net, node, relu, row_net, value, weight
from splitinfer.build.crossing import Crossing, crossings
from tests import models
from tests.cutting import graph_of

SCALE = [constant("scale", 0.1), constant("zero", np.uint8(128)), weight("w", 8, 8)]


def crossing(proto, name: str, hidden=(), **learnt) -> Crossing:
    return crossings(graph_of(proto).with_learnt(learnt, {}), hidden)[name]


def quantise(x: str, y: str) -> list:
    return [node("QuantizeLinear", [x, "scale", "zero"], y)]


def dequantise(x: str, y: str) -> list:
    return [node("DequantizeLinear", [x, "scale", "zero"], y)]


def quantised_product(middle: list, last: str = "p", reader: str = "QuantizeLinear") -> object:
    """x -> q -> f -> MatMul p -> (middle) -> last -> r -> g -> y."""
    nodes = [*quantise("x", "q"), *dequantise("q", "f"), node("MatMul", "f w", "p"), *middle]
    again = quantise(last, "r") if reader == "QuantizeLinear" else [node("DynamicQuantizeLinear", last, "r rs rz")]
    back = dequantise("r", "g") if reader == "QuantizeLinear" else [node("DequantizeLinear", "r rs rz", "g")]
    return row_net([*nodes, *again, *back, node("Tanh", "g", "y")], SCALE)


# --- bytes -------------------------------------------------------------------------------------------------------------------


def test_floats_may_be_coded_and_integers_not():
    floats, integers = (crossing(models.shape_arithmetic(), name) for name in ("s", "target"))
    assert (floats.nbytes, floats.lossless, floats.why_not) == (12, False, None)
    assert (integers.nbytes, integers.lossless, integers.why_not) == (24, True, None)


def test_wide_integers_are_small_numbers_to_a_compressor():
    """Two bytes a number at most, and never more than there are."""
    nodes = [node("ArgMax", "x", "best", axis=1), node("Cast", "x", "byte", to=TensorProto.UINT8)]
    nodes += [node("Cast", "byte", "b", to=FLOAT), node("Cast", "best", "c", to=FLOAT), node("Add", "b c", "y")]
    found = crossings(graph_of(row_net(nodes)))
    assert [(found[name].nbytes, found[name].packed_bytes) for name in ("best", "byte", "b")] == [(8, 2), (8, 8), (32, 0)]


def test_inputs_are_looked_at_too_and_weights_are_not():
    found = crossings(graph_of(models.two_inputs()))
    assert found["z"].nbytes == 20
    assert not {"w0", "u"} & found.keys()


def test_a_tensor_that_was_seen_has_the_bytes_it_had():
    assert crossing(models.shape_arithmetic(), "s", s=(1, 3, 20, 10)).nbytes == 2400


# --- what stands against it --------------------------------------------------------------------------------------------------


def containers():
    nodes = [node("SplitToSequence", "x", "parts", axis=1), node("ConcatFromSequence", "parts", "b", axis=1)]
    nodes += [node("Optional", "b", "maybe"), node("OptionalGetElement", "maybe", "c")]
    nodes += [node("Cast", "c", "text", to=TensorProto.STRING), node("Cast", "text", "y", to=FLOAT)]
    return row_net(nodes)


def one_or_two_dimensions():
    flag = [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", "on")]
    rows = branch([node("Unsqueeze", "x first", "u")])
    choice = node("If", "on", "c", then_branch=branch([node("Exp", "x", "e")]), else_branch=rows)
    return row_net([*flag, choice, node("ReduceSum", "c", "y")], [constant("first", [0]), constant("zero", 0.0)])


@pytest.mark.parametrize(
    ("proto", "name", "reason"),
    [
        (containers(), "parts", "'parts' is a sequence, and only tensors cross"),
        (containers(), "maybe", "'maybe' is optional, and only tensors cross"),
        (containers(), "text", "'text' holds text or another type that no array can carry"),
        (one_or_two_dimensions(), "c", "'c' may have more or fewer dimensions from run to run: cut before that is decided"),
        (models.contrib_operator(), "b", "the type of 'b' is unknown, or no array can carry it"),
    ],
)
def test_what_no_array_carries_does_not_cross(proto, name, reason):
    assert crossing(proto, name).why_not == reason


@pytest.mark.parametrize("name", ["b", "c"])
def test_tensors_between_containers_cross(name):
    assert crossing(containers(), name, b=(1, 8), c=(1, 8)).why_not is None


def test_what_was_empty_on_trial_does_not_cross():
    nodes = [node("NonZero", "x", "at"), node("Cast", "at", "y", to=FLOAT)]
    proto = net(nodes, [value("x", "N 8")], [value("y", "2 M")])
    assert "'at' was empty on trial" in crossing(proto, "at", at=(2, 0)).why_not
    assert crossing(proto, "at", at=(2, 5)).why_not is None


def test_what_is_hidden_is_marked():
    found = crossings(graph_of(models.chain()), {"a"})
    assert {name for name, tensor in found.items() if tensor.hidden} == {"a"}


# --- quantised next ----------------------------------------------------------------------------------------------------------

REASON = "is quantised next: cut after that"


@pytest.mark.parametrize("reader", ["QuantizeLinear", "DynamicQuantizeLinear"])
def test_what_is_only_there_to_be_quantised_does_not_cross(reader):
    assert REASON in crossing(quantised_product([], reader=reader), "p").why_not


@pytest.mark.parametrize("name", ["p", "m"])
def test_an_activation_in_between_makes_no_difference(name):
    assert REASON in crossing(quantised_product([relu("p", "m")], "m"), name).why_not


@pytest.mark.parametrize("name", ["q", "r"])
def test_the_quantised_tensor_crosses(name):
    found = crossing(quantised_product([]), name)
    assert (found.nbytes, found.lossless, found.why_not) == (8, True, None)


def test_another_operator_in_between_makes_a_difference():
    proto = quantised_product([node("Softmax", "p", "m")], "m")
    assert crossing(proto, "p").why_not is None
    assert crossing(proto, "m").why_not is None


def test_a_second_reader_that_takes_floats_makes_a_difference():
    proto = quantised_product([node("ReduceMax", "p", "largest")])
    proto.graph.output.append(value("largest", "1 1"))
    assert crossing(proto, "p").why_not is None


def test_two_readers_that_quantise_make_none():
    proto = quantised_product([node("QuantizeLinear", "p scale zero", "other")])
    proto.graph.output.append(value("other", "N 8", TensorProto.UINT8))
    assert REASON in crossing(proto, "p").why_not


def test_an_output_is_made_and_may_cross():
    proto = quantised_product([])
    proto.graph.output.append(value("p", "N 8"))
    assert crossing(proto, "p").why_not is None


def test_what_is_made_of_floats_crosses_before_it_is_quantised():
    proto = row_net([node("MatMul", "x w", "p"), *quantise("p", "q"), *dequantise("q", "y")], SCALE)
    assert crossing(proto, "p").why_not is None


def test_a_quantised_input_of_the_model_does_not_stand_in_its_own_way():
    proto = row_net([*quantise("x", "q"), *dequantise("q", "y")], SCALE)
    assert crossing(proto, "x").why_not is None


# --- fused -------------------------------------------------------------------------------------------------------------------


def fused(middle: list, *names: str, weights=()) -> list[bool]:
    found = crossings(graph_of(image_net(middle, weights)))
    return [found[name].splits_fusion for name in names]


def test_a_convolution_and_the_activation_behind_it_are_one_kernel():
    assert fused([relu("b", "m")], "a", "b", "m", "c") == [True, False, False, True]


@pytest.mark.parametrize(("op", "expected"), [("Sigmoid", True), ("HardSwish", True), ("Softmax", False), ("MaxPool", False)])
def test_not_every_operator_is_fused_with_a_convolution(op, expected):
    attributes = {"kernel_shape": [1, 1]} if op == "MaxPool" else {}
    middle = [conv("b", "k", "w1"), node(op, "k", "m", **attributes)]
    assert fused(middle, "k") == [expected]


def test_a_convolution_with_two_readers_is_made():
    middle = [conv("b", "k", "w1"), relu("k", "r"), node("Add", "k r", "m")]
    assert fused(middle, "k") == [False]


def test_an_input_has_no_maker_to_be_fused_with():
    assert not crossings(graph_of(row_net([relu("x", "y")])))["x"].splits_fusion


def test_a_reader_inside_a_body_is_a_second_one():
    flag = [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total none", "on")]
    then, otherwise = branch([node("Exp", "k", "t")]), branch([node("Abs", "b", "e")])
    choice = helper.make_node("If", ["on"], ["i"], then_branch=then, else_branch=otherwise)
    middle = [*flag, conv("b", "k", "w1"), relu("k", "r"), choice, node("Add", "i r", "m")]
    assert fused(middle, "k", weights=[constant("none", 0.0)]) == [False]
