"""int8 activations become uint8 where the runtime of an x86 machine would compute them so, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.bench.traps.parts import branch, constant, net, node, normal, relu, value
from splitinfer.build.signs import unsign

X86 = "x86_64"
QUANTISE, BACK = "QuantizeLinear", "DequantizeLinear"


def quantised(*more: onnx.NodeProto, zero: object = -3, back_zero: str = "zero") -> onnx.ModelProto:
    """x -> q (int8) -> f -> product with an int8 weight -> p -> r (int8) -> y. Both pairs share a zero point."""
    drawn = np.random.default_rng(1).integers(-127, 128, (8, 8)).astype(np.int8)
    nodes = [node(QUANTISE, "x scale zero", "q"), node(BACK, ["q", "scale", back_zero], "f")]
    nodes += [node(BACK, "w wscale wzero", "k"), node("MatMul", "f k", "p")]
    nodes += [node(QUANTISE, "p scale zero", "r"), node(BACK, "r scale zero", "y"), *more]
    weights = [constant("scale", np.float32(0.05)), numpy_helper.from_array(np.array(zero, np.int8), "zero")]
    weights += [numpy_helper.from_array(drawn, "w"), constant("wscale", np.float32(0.01)), constant("wzero", np.int8(0))]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], weights)


def unsigned(proto: onnx.ModelProto) -> dict[str, str]:
    """The zero point of each node that quantises or goes back, after the rewriting."""
    unsign(proto, X86)
    return {made.output[0]: made.input[2] for made in proto.graph.node if made.op_type in (QUANTISE, BACK)}


def answer(proto: onnx.ModelProto, feed: dict[str, np.ndarray], optimised: bool = True) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(["y"], feed)[0]


NEW = "zero/unsigned"


def test_a_lone_pair_gets_a_zero_point_that_is_128_higher():
    proto = quantised()
    assert unsigned(proto) == {"q": NEW, "f": NEW, "k": "wzero", "r": NEW, "y": NEW}
    [point] = [tensor for tensor in proto.graph.initializer if tensor.name == NEW]
    assert numpy_helper.to_array(point) == np.array(125, np.uint8)
    assert point.data_type == TensorProto.UINT8


def test_a_zero_point_in_a_vector_of_one_keeps_its_shape():
    proto = quantised(zero=[-128])
    unsign(proto, X86)
    [point] = [tensor for tensor in proto.graph.initializer if tensor.name == NEW]
    assert numpy_helper.to_array(point).tolist() == [0]


def test_the_answer_is_the_same_to_the_bit():
    feed = {"x": np.clip(normal(64, 8), -6, 6)}
    rewritten = quantised()
    unsign(rewritten, X86)
    for optimised in (False, True):
        np.testing.assert_array_equal(answer(rewritten, feed, optimised), answer(quantised(), feed, optimised))


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "riscv64"])
def test_other_machines_compute_int8_as_int8(machine):
    proto = quantised()
    unsign(proto, machine)
    assert proto == quantised()


def test_by_default_it_is_this_machine(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    proto = quantised()
    unsign(proto)
    assert proto == quantised()
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    unsign(proto)
    assert proto != quantised()


def test_a_quantised_tensor_with_two_readers_is_left_alone():
    assert unsigned(quantised(node(BACK, "q scale zero", "other"))) == {
        "q": "zero",
        "f": "zero",
        "k": "wzero",
        "r": NEW,
        "y": NEW,
        "other": "zero",
    }


def test_a_float_tensor_with_two_readers_is_left_alone():
    proto = quantised(relu("f", "other"))
    assert unsigned(proto)["q"] == "zero"
    assert unsigned(proto)["r"] == NEW


def test_a_node_that_reads_a_tensor_twice_is_two_readers():
    proto = quantised()
    proto.graph.node[3].CopyFrom(node("Mul", "f f", "p"))
    assert unsigned(proto) == {"q": "zero", "f": "zero", "k": "wzero", "r": NEW, "y": NEW}


def test_int8_that_no_quantising_node_made_is_left_alone():
    clip = node("Clip", "q wzero zero", "c")
    proto = quantised(clip, node(BACK, "c scale zero", "d"), relu("d", "other"))
    unsign(proto, X86)
    assert clip in proto.graph.node


def test_a_body_that_reads_a_tensor_is_a_reader():
    then, otherwise = branch([node(BACK, "q scale zero", "t")]), branch([node("Abs", "x", "e")])
    choice = node("If", "on", "other", then_branch=then, else_branch=otherwise)
    proto = quantised(choice)
    assert unsigned(proto)["q"] == "zero"


@pytest.mark.parametrize(("name", "kind"), [("q", TensorProto.INT8), ("f", TensorProto.FLOAT)])
def test_an_output_is_left_alone(name, kind):
    proto = quantised()
    proto.graph.output.append(value(name, "N 8", kind))
    assert unsigned(proto)["q"] == "zero"


def test_a_pair_of_two_zero_points_is_left_alone():
    proto = quantised(back_zero="wzero")
    assert unsigned(proto)["q"] == "zero"
    assert unsigned(proto)["r"] == NEW


def test_two_zero_points_of_one_value_are_one():
    proto = quantised(back_zero="same")
    proto.graph.initializer.append(constant("same", np.int8(-3)))
    assert unsigned(proto)["f"] == NEW


def test_a_zero_point_for_each_channel_is_left_alone():
    proto = quantised(zero=[-3] * 8)
    for made in proto.graph.node:
        if made.op_type in (QUANTISE, BACK) and made.input[2] == "zero":
            made.attribute.append(helper.make_attribute("axis", 1))
    assert set(unsigned(proto).values()) == {"zero", "wzero"}


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_other_types_are_left_alone(kind):
    proto = quantised()
    at = next(at for at, tensor in enumerate(proto.graph.initializer) if tensor.name == "zero")
    proto.graph.initializer[at].CopyFrom(constant("zero", np.array(3, kind)))
    assert set(unsigned(proto).values()) == {"zero", "wzero"}


def test_without_a_zero_point_the_type_is_uint8_already():
    proto = quantised()
    for made in proto.graph.node:
        if made.op_type in (QUANTISE, BACK) and made.output[0] in ("q", "f"):
            del made.input[2]
    before = [list(made.input) for made in proto.graph.node[:2]]
    unsign(proto, X86)
    assert [list(made.input) for made in proto.graph.node[:2]] == before


def test_a_type_that_is_declared_changes_too():
    proto = quantised()
    proto.graph.node[0].attribute.append(helper.make_attribute("output_dtype", int(TensorProto.INT8)))
    unsign(proto, X86)
    assert proto.graph.node[0].attribute[0].i == TensorProto.UINT8


def test_a_zero_point_that_is_shared_is_written_once():
    proto = quantised()
    unsign(proto, X86)
    assert [tensor.name for tensor in proto.graph.initializer].count(NEW) == 1


@pytest.mark.parametrize("taken", [constant(NEW, np.uint8(7)), node("Abs", "x", NEW)])
def test_a_zero_point_gets_a_name_that_is_free(taken):
    proto = quantised()
    (proto.graph.initializer if isinstance(taken, TensorProto) else proto.graph.node).append(taken)
    feed = {"x": normal(4, 8)}
    wanted = answer(proto, feed)
    unsign(proto, X86)
    np.testing.assert_array_equal(answer(proto, feed), wanted)
