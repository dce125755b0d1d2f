"""Ranges of steps as models of their own: casts at the cut, what each segment makes for itself, weights by content."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.bench.traps.parts import (
    BFLOAT16,
    FLOAT,
    INT4,
    branch,
    constant,
    net,
    node,
    normal,
    relu,
    row_net,
    value,
    weight,
)
from splitinfer.build.boundaries import orders
from splitinfer.build.segments import Extraction, extract
from splitinfer.bundle import INLINE_BYTES
from tests.cutting import graph_of

SCALE = [constant("scale", 0.1), constant("zero", np.uint8(128))]


def cut_everywhere(proto: onnx.ModelProto) -> Extraction:
    """At every boundary where tensors of a known type cross."""
    order = orders(graph_of(proto))[0]
    kept = [boundary for boundary in order.boundaries if boundary.why_not is None]
    return extract(order.graph, order.steps, [boundary.live for boundary in kept], [boundary.position for boundary in kept])


def graphs(found: Extraction) -> list[onnx.ModelProto]:
    return [onnx.ModelProto.FromString(segment.graph) for segment in found.segments]


def operators(proto: onnx.ModelProto) -> list[str]:
    return [one.op_type for one in proto.graph.node]


def run(proto: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [output.name for output in session.get_outputs()]
    given = {one.name: feed[one.name] for one in session.get_inputs()}
    return dict(zip(wanted, session.run(wanted, given), strict=True))


def run_all(parts: Sequence[onnx.ModelProto], feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One segment after the other; only what a segment declares goes on."""
    held = dict(feed)
    for part in parts:
        held.update(run(part, held))
    return held


def names_made(parts: Sequence[onnx.ModelProto]) -> Counter[str]:
    return Counter(name for part in parts for one in part.graph.node for name in one.output if name)


def assert_same_answer(proto: onnx.ModelProto) -> list[onnx.ModelProto]:
    whole = onnx.ModelProto.FromString(proto.SerializeToString())
    parts = graphs(cut_everywhere(proto))
    feed = {"x": normal(2, 8)}
    got = run_all(parts, feed)
    for name, array in run(whole, feed).items():
        np.testing.assert_array_equal(got[name], array)
    return parts


# --- ends --------------------------------------------------------------------------------------------------------------------


def test_a_segment_takes_what_it_reads_and_gives_what_is_read_later_or_an_output():
    nodes = [relu("x", "a"), node("Exp", "a", "e"), node("Tanh", "a", "b"), node("Mul", "x b", "y")]
    proto = row_net(nodes)
    proto.graph.output.append(value("e", "N 8"))
    order = orders(graph_of(proto))[0]
    found = extract(order.graph, order.steps, [("x",), ("a", "x"), ("b", "x"), ()], [0, 1, 3, 4])
    assert [(segment.inputs, segment.outputs) for segment in found.segments] == [
        (("x",), ("a",)),
        (("a",), ("b", "e")),
        (("b", "x"), ("y",)),
    ]
    assert [segment.nodes for segment in found.segments] == [1, 2, 1]
    assert [segment.operations for segment in found.segments] == [8, 16, 8]


def test_what_crosses_and_is_an_output_is_given_once():
    proto = row_net([relu("x", "a"), node("Exp", "a", "y")])
    proto.graph.output.append(value("a", "N 8"))
    found = cut_everywhere(proto)
    assert [segment.outputs for segment in found.segments] == [("a",), ("y",)]


def test_everything_else_is_as_in_the_model():
    proto = row_net([relu("x", "a"), node("Gelu", "a", "y", domain="com.microsoft")], com_microsoft=1)
    proto.producer_name, proto.domain, proto.graph.name = "tests", "here", "rows"
    proto.metadata_props.add(key="for", value="tests")
    [part] = graphs(extract(graph_of(proto), graph_of(proto).steps, [("x",), ()], [0, 2]))
    assert part == proto


# --- casts -------------------------------------------------------------------------------------------------------------------


def narrow(*kinds: int) -> onnx.ModelProto:
    """A tensor in one type after the other."""
    names = [f"n{at}" for at in range(len(kinds))]
    nodes = [node("Cast", x, y, to=kind) for x, y, kind in zip(["x", *names], names, kinds, strict=False)]
    proto = row_net([*nodes, node("Cast", names[-1], "y", to=FLOAT)])
    proto.opset_import[0].version = 21
    return proto


@pytest.mark.parametrize("kind", [BFLOAT16, TensorProto.FLOAT16, TensorProto.FLOAT8E4M3FN])
def test_a_tensor_is_cast_where_it_leaves_and_where_it_enters(kind):
    first, last = assert_same_answer(narrow(kind))
    assert [value.type.tensor_type.elem_type for value in (*first.graph.output, *last.graph.input)] == [FLOAT, FLOAT]
    assert operators(first) == operators(last) == ["Cast", "Cast"]
    assert [node.attribute[0].i for node in (*first.graph.node, *last.graph.node)] == [kind, FLOAT, kind, FLOAT]


def test_joined_segments_make_no_name_twice_and_read_none_that_is_not_made():
    shared = [node("Cast", "x", "n", to=BFLOAT16), node("Cast", "n", "a", to=FLOAT), relu("a", "b")]
    proto = row_net([*shared, node("Cast", "n", "c", to=FLOAT), node("Add", "b c", "y")])
    parts = assert_same_answer(proto)
    assert len(parts) == 5
    assert max(names_made(parts).values()) == 1
    made = {"x", *names_made(parts)}
    assert all(name in made for part in parts for one in part.graph.node for name in one.input)


def test_a_tensor_that_passes_by_is_not_cast_on_the_way():
    proto = row_net([node("Cast", "x", "n", to=BFLOAT16), relu("x", "a"), relu("a", "b"), *joined("n", "b")])
    parts = graphs(cut_everywhere(proto))
    assert [operators(part) for part in parts][1:3] == [["Relu"], ["Relu"]]


def joined(narrow: str, wide: str) -> list[onnx.NodeProto]:
    return [node("Cast", narrow, "w", to=FLOAT), node("Add", ["w", wide], "y")]


def test_a_cast_gets_a_name_that_is_free():
    proto = row_net([node("Cast", "x", "n", to=BFLOAT16), node("Cast", "n", "n/0", to=FLOAT), node("Exp", "n/0", "y")])
    parts = assert_same_answer(proto)
    assert max(names_made(parts).values()) == 1


def test_a_body_reads_the_name_inside():
    flag = [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total none", "on")]
    then, otherwise = branch([node("Cast", "n", "t", to=FLOAT)]), branch([node("Abs", "x", "e")])
    choice = node("If", "on", "c", then_branch=then, else_branch=otherwise)
    proto = row_net([*flag, node("Cast", "x", "n", to=BFLOAT16), choice, relu("c", "y")], [constant("none", 0.0)])
    assert_same_answer(proto)


# --- what each segment makes for itself --------------------------------------------------------------------------------------


def floating() -> onnx.ModelProto:
    """k is made of weights, read by three segments, and an output."""
    nodes = [node("Mul", "w w", "k"), node("MatMul", "x k", "a"), relu("a", "b"), node("MatMul", "b k", "c")]
    proto = row_net([*nodes, relu("c", "d"), node("MatMul", "d k", "y")], [weight("w", 8, 8)])
    proto.graph.output.append(value("k", "8 8"))
    return proto


def test_a_node_that_needs_no_input_stands_in_each_segment_that_needs_it():
    parts = assert_same_answer(floating())
    assert [operators(part).count("Mul") for part in parts] == [1, 0, 1, 0, 1]
    assert max(names_made(parts).values()) == 1


def test_as_an_output_it_keeps_its_name_where_it_becomes_one():
    parts = graphs(cut_everywhere(floating()))
    assert ["k" in {value.name for value in part.graph.output} for part in parts] == [False] * 4 + [True]
    assert [name for name in names_made(parts) if name.startswith("k")] == ["k/0", "k/2", "k"]


def test_copies_have_no_node_name():
    parts = graphs(cut_everywhere(floating()))
    named = Counter(one.name for part in parts for one in part.graph.node if one.name)
    assert max(named.values()) == 1
    assert {"make_a", "make_c", "make_y"} <= named.keys()
    assert [one.name for part in parts for one in part.graph.node if one.op_type == "Mul"] == ["", "", "make_k"]


@pytest.mark.parametrize("taken", ["k/1", "k/2"])
def test_a_copy_gets_a_name_that_no_weight_and_no_input_has(taken):
    nodes = [node("Neg", "w", "k"), node("MatMul", "x k", "a"), node("MatMul", "a k", "b"), node("MatMul", "b k", "c")]
    proto = row_net([*nodes, node("MatMul", ["c", taken], "y")], [weight("w", 8, 8), weight(taken, 8, 8)])
    parts = assert_same_answer(proto)
    assert names_made(parts)[taken] == 0


def test_an_output_that_depends_on_weights_alone_is_given_at_the_end():
    proto = row_net([relu("x", "a"), relu("a", "y"), node("Neg", "w", "k")], [weight("w", 8)])
    proto.graph.output.append(value("k", "8"))
    parts = assert_same_answer(proto)
    assert [operators(part) for part in parts] == [["Relu"], ["Neg", "Relu"]]


def test_a_chain_of_them_stands_in_the_order_of_the_model():
    made = [node("Neg", "w", "k"), node("Exp", "k", "l"), node("Transpose", "l", "m")]
    proto = row_net([*made, node("MatMul", "x m", "a"), node("MatMul", "a m", "y")], [weight("w", 8, 8)])
    parts = assert_same_answer(proto)
    assert [operators(part) for part in parts] == [["Neg", "Exp", "Transpose", "MatMul"]] * 2
    assert max(names_made(parts).values()) == 1


def test_a_dequantised_tensor_is_made_on_both_sides_of_a_cut():
    back = node("DequantizeLinear", "q scale zero", "f")
    nodes = [node("QuantizeLinear", "x scale zero", "q"), back, relu("f", "a"), node("Sum", "a f", "y")]
    parts = assert_same_answer(row_net(nodes, SCALE))
    assert [operators(part) for part in parts] == [
        ["QuantizeLinear"],
        ["DequantizeLinear", "Relu"],
        ["DequantizeLinear", "Sum"],
    ]
    assert max(names_made(parts).values()) == 1


def test_a_copy_is_renamed_in_the_bodies_that_read_it():
    flag = [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total none", "on")]
    then, otherwise = branch([node("Mul", "b k", "t")]), branch([node("Abs", "b", "e")])
    choice = node("If", "on", "y", then_branch=then, else_branch=otherwise)
    nodes = [node("Neg", "w", "k"), *flag, node("Mul", "x k", "a"), relu("a", "b"), choice]
    parts = assert_same_answer(row_net(nodes, [weight("w", 8), constant("none", 0.0)]))
    assert names_made(parts)["k"] == 1
    assert operators(parts[-1])[0] == "Neg"
    assert parts[-1].graph.node[0].output[0] != "k"


# --- weights -----------------------------------------------------------------------------------------------------------------


def products(*weights: TensorProto) -> onnx.ModelProto:
    """A product with each of some square weights."""
    names = ["x", *(f"t{at}" for at in range(1, len(weights))), "y"]
    nodes = [node("MatMul", [x, w.name], y) for x, y, w in zip(names, names[1:], weights, strict=False)]
    side = weights[0].dims[0]
    distinct = list({w.name: w for w in weights}.values())
    return net(nodes, [value("x", f"N {side}")], [value("y", f"N {side}")], distinct)


def test_a_weight_of_several_segments_is_one_blob_by_its_content():
    one = weight("w", 32, 32)
    same = TensorProto.FromString(one.SerializeToString())
    same.name = "copy"
    found = cut_everywhere(products(one, weight("v", 32, 32), one, same))
    digest = hashlib.sha256(one.raw_data).hexdigest()
    assert [segment.weights == (digest,) for segment in found.segments] == [True, False, True, True]
    assert len(found.weights) == 2
    assert bytes(found.weights[digest]) == one.raw_data


def test_a_blob_is_referred_to_by_its_hash_and_its_bytes_leave_the_graph():
    one = weight("w", 32, 32)
    [part] = graphs(cut_everywhere(products(one)))
    [tensor] = part.graph.initializer
    assert (tensor.name, tensor.data_type, list(tensor.dims)) == ("w", FLOAT, [32, 32])
    assert not tensor.HasField("raw_data")
    assert {entry.key: entry.value for entry in tensor.external_data} == {
        "location": hashlib.sha256(one.raw_data).hexdigest(),
        "offset": "0",
        "length": "4096",
    }


def test_small_weights_stay_in_the_graph():
    small, large = (numpy_helper.from_array(np.ones(count, np.float32), "w") for count in (256, 257))
    assert INLINE_BYTES == 4 * 256
    for tensor, blobs in ((small, 0), (large, 1)):
        side = tensor.dims[0]
        proto = net([node("Add", "x w", "y")], [value("x", f"N {side}")], [value("y", f"N {side}")], [tensor])
        found = cut_everywhere(proto)
        assert len(found.weights) == blobs
        assert graphs(found)[0].graph.initializer[0].HasField("raw_data") is not bool(blobs)


def test_a_segment_holds_its_own_weights_alone():
    parts = graphs(cut_everywhere(products(weight("w", 8, 8), weight("v", 8, 8))))
    assert [[tensor.name for tensor in part.graph.initializer] for part in parts] == [["w"], ["v"]]


def test_weights_without_plain_bytes_stay_in_the_graph():
    tensor = helper.make_tensor("w", INT4, [64, 64], [1] * 4096)
    assert not tensor.HasField("raw_data")
    nodes = [node("DequantizeLinear", "w scale", "k"), node("MatMul", "x k", "y")]
    proto = net(nodes, [value("x", "N 64")], [value("y", "N 64")], [tensor, constant("scale", 0.1)], opset=21)
    found = cut_everywhere(proto)
    assert not found.weights
    assert graphs(found)[0].graph.initializer[0] == tensor
