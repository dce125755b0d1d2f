"""Steps and tensors: what each step reads and makes, what is recomputed instead, and what is known of a tensor."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from splitinfer.bench.traps.parts import (
    BFLOAT16,
    BOOL,
    FLOAT,
    FLOAT16,
    INT4,
    INT8,
    INT64,
    UINT4,
    UINT8,
    branch,
    constant,
    conv,
    image_net,
    net,
    node,
    relu,
    row_net,
    value,
    weight,
)
from splitinfer.build.graph import Graph, Step, operations, typed
from splitinfer.model import TensorSpec
from tests import models
from tests.cutting import graph_of


def step_of(graph: Graph, name: str) -> Step:
    return next(step for step in graph.steps if name in step.makes)


def steps(graph: Graph) -> list[str]:
    return [step.makes[0] for step in graph.steps]


def recomputed(graph: Graph) -> list[str]:
    return [step.makes[0] for step in graph.recomputed]


# --- what is recomputed ------------------------------------------------------------------------------------------------------

SCALE = [constant("scale", 0.1), constant("zero", np.uint8(128))]


def quantise(x: str, y: str) -> list:
    return [node("QuantizeLinear", [x, "scale", "zero"], y)]


def dequantise(x: str, y: str) -> list:
    return [node("DequantizeLinear", [x, "scale", "zero"], y)]


def test_a_reader_of_a_dequantised_tensor_reads_the_quantised_one():
    graph = graph_of(row_net([*quantise("x", "q"), *dequantise("q", "f"), relu("f", "y")], SCALE))
    assert (steps(graph), recomputed(graph)) == (["q", "y"], ["f"])
    assert step_of(graph, "y").reads == ("q",)
    assert graph.made_anew["f"].reads == ("q",)


def test_two_readers_share_what_they_recompute():
    nodes = [*quantise("x", "q"), *dequantise("q", "f"), relu("f", "a"), node("Tanh", "f", "b"), node("Add", "a b", "y")]
    graph = graph_of(row_net(nodes, SCALE))
    assert recomputed(graph) == ["f"]
    assert [step_of(graph, name).reads for name in "ab"] == [("q",), ("q",)]


def test_a_chain_of_recomputed_nodes_leads_back_to_what_crosses():
    nodes = [*quantise("x", "q"), *dequantise("q", "f"), *quantise("f", "r"), *dequantise("r", "g"), relu("g", "y")]
    graph = graph_of(row_net(nodes, SCALE))
    assert (steps(graph), recomputed(graph)) == (["q", "r", "y"], ["f", "g"])
    assert [step_of(graph, name).reads for name in "ry"] == [("q",), ("r",)]


def test_a_node_that_reads_two_dequantised_tensors_reads_what_is_behind_each_once():
    nodes = [*quantise("x", "q"), *dequantise("q", "f"), relu("x", "r"), *quantise("r", "p"), *dequantise("p", "g")]
    graph = graph_of(row_net([*nodes, *dequantise("q", "h"), node("Sum", "f g h", "y")], SCALE))
    assert step_of(graph, "y").reads == ("q", "p")


def test_a_dequantised_output_stays_a_step():
    graph = graph_of(row_net([*quantise("x", "q"), *dequantise("q", "y")], SCALE))
    assert (steps(graph), recomputed(graph)) == (["q", "y"], [])


def test_what_depends_on_weights_alone_is_recomputed_even_as_an_output():
    proto = row_net([node("Mul", "w w", "k"), node("Transpose", "k", "t"), node("MatMul", "x t", "y")], [weight("w", 8, 8)])
    proto.graph.output.append(value("k", "8 8"))
    graph = graph_of(proto)
    assert (steps(graph), recomputed(graph)) == (["y"], ["k", "t"])
    assert step_of(graph, "y").reads == ("x",)
    assert graph.made_anew["t"].reads == ()


def test_a_body_reads_what_it_captures():
    graph = graph_of(models.captured())
    assert step_of(graph, "c").reads == ("yes", "b")


def test_optional_inputs_and_outputs_that_are_left_out_are_no_tensors():
    proto = row_net([node("Clip", ["x", "", "top"], ["c"]), helper.make_node("MaxPool", ["c"], ["y", ""], kernel_shape=[1])])
    proto.graph.input[0].CopyFrom(value("x", "N 1 8"))
    proto.graph.output[0].CopyFrom(value("y", "N 1 8"))
    proto.graph.initializer.append(constant("top", 6.0))
    graph = graph_of(proto)
    assert [(step.reads, step.makes) for step in graph.steps] == [(("x",), ("c",)), (("c",), ("y",))]


# --- shapes recomputed -------------------------------------------------------------------------------------------------------


def reshaped() -> Graph:
    return graph_of(models.shape_arithmetic())


def test_small_integers_behind_a_shape_are_recomputed_and_the_shape_crosses():
    plain, other = reshaped(), reshaped().with_shapes_recomputed()
    assert step_of(plain, "t").reads == ("s", "target")
    assert other is not None
    assert steps(other) == ["shape", "r", "s", "t", "y"]
    assert recomputed(other) == ["front", "target"]
    assert step_of(other, "t").reads == ("s", "shape")


def test_without_shapes_there_is_nothing_to_recompute():
    assert graph_of(models.chain()).with_shapes_recomputed() is None
    assert (
        graph_of(row_net([*quantise("x", "q"), *dequantise("q", "f"), relu("f", "y")], SCALE)).with_shapes_recomputed() is None
    )


def test_a_shape_that_is_read_as_it_is_gives_nothing_to_recompute():
    nodes = [node("Shape", "x", "shape"), relu("x", "r"), node("Reshape", "r shape", "y")]
    assert graph_of(row_net(nodes)).with_shapes_recomputed() is None


def test_integers_that_are_computed_from_data_are_not_recomputed():
    nodes = [
        node("ArgMax", "x", "best", axis=0, keepdims=0),
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n", axis=0),
    ]
    nodes += [node("Add", "best n", "both"), node("Cast", "both", "f", to=FLOAT), node("Add", "x f", "y")]
    other = graph_of(row_net(nodes, [constant("zero", [0])])).with_shapes_recomputed()
    assert other is not None
    assert recomputed(other) == ["n"]
    assert step_of(other, "both").reads == ("best", "shape")


def test_integers_that_are_many_or_of_two_dimensions_are_data():
    nodes = [node("Shape", "x", "shape"), node("Gather", "shape many", "long", axis=0), node("Cast", "long", "f", to=FLOAT)]
    nodes += [node("Unsqueeze", "shape first", "flat"), node("Cast", "flat", "g", to=FLOAT)]
    nodes += [node("ReduceSum", "f", "a", keepdims=0), node("ReduceSum", "g", "b", keepdims=0), node("Sum", "x a b", "y")]
    weights = [constant("many", [0] * 65), constant("first", [0])]
    assert graph_of(row_net(nodes, weights)).with_shapes_recomputed() is None
    weights[0] = constant("many", [0] * 64)
    other = graph_of(row_net(nodes, weights)).with_shapes_recomputed()
    assert other is not None
    assert recomputed(other) == ["long"]


def test_integers_that_are_an_output_are_made_once():
    proto = models.shape_arithmetic()
    proto.graph.output.append(value("target", "3", INT64))
    other = graph_of(proto).with_shapes_recomputed()
    assert other is not None
    assert recomputed(other) == ["front"]
    assert step_of(other, "target").reads == ("shape",)


def test_what_is_dequantised_stays_recomputed_with_the_shapes():
    nodes = [*quantise("x", "q"), *dequantise("q", "f"), node("Shape", "x", "shape"), node("Identity", "shape", "target")]
    other = graph_of(row_net([*nodes, node("Reshape", "f target", "y")], SCALE)).with_shapes_recomputed()
    assert other is not None
    assert recomputed(other) == ["f", "target"]
    assert step_of(other, "y").reads == ("q", "shape")


# --- types -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (FLOAT, "float32"),
        (TensorProto.DOUBLE, "float64"),
        (INT8, "int8"),
        (BOOL, "bool"),
        (FLOAT16, "float32"),
        (BFLOAT16, "float32"),
        (TensorProto.FLOAT8E4M3FN, "float32"),
        (TensorProto.FLOAT8E5M2, "float32"),
        (INT4, "int8"),
        (UINT4, "uint8"),
    ],
)
def test_a_tensor_crosses_in_a_type_that_holds_all_its_values(kind, dtype):
    proto = row_net([node("Cast", "x", "narrow", to=kind), node("Cast", "narrow", "y", to=FLOAT)])
    proto.opset_import[0].version = 21
    graph = graph_of(proto)
    assert graph.spec("narrow") == TensorSpec("narrow", dtype, (None, 8))
    assert graph.nbytes("narrow") == 8 * np.dtype(dtype).itemsize
    assert (graph.carrier("narrow") is None) is (kind in (FLOAT, TensorProto.DOUBLE, INT8, BOOL))


def test_inputs_and_outputs_cross_in_their_own_type():
    graph = graph_of(net([relu("x", "a"), relu("a", "y")], [value("x", "N 8", FLOAT16)], [value("y", "N 8", FLOAT16)]))
    assert [graph.carrier(name) for name in "xay"] == [None, FLOAT, None]
    assert [graph.spec(name).dtype for name in "xay"] == ["float16", "float32", "float16"]


def test_text_and_sequences_do_not_cross():
    graph = graph_of(models.sequence_and_half_types())
    assert graph.spec("parts") is None
    proto = row_net([node("Cast", "x", "text", to=TensorProto.STRING), node("Cast", "text", "y", to=FLOAT)])
    assert graph_of(proto).spec("text") is None
    assert graph_of(proto).nbytes("text") == 0


def test_a_type_that_inference_cannot_tell_is_learnt():
    graph = graph_of(models.contrib_operator())
    assert graph.spec("b") is None
    assert graph.nbytes("b") == 0
    learnt = graph.with_learnt({"b": (1, 8, 16, 16)}, {"b": "float32"})
    assert learnt.spec("b") == TensorSpec("b", "float32", (None,) * 4)
    assert learnt.nbytes("b") == 4 * 8 * 16 * 16


def test_a_type_that_inference_tells_counts_more_than_what_was_seen():
    assert graph_of(models.chain()).with_learnt({}, {"a": "float16"}).spec("a").dtype == "float32"


# --- shapes ------------------------------------------------------------------------------------------------------------------


def test_a_dimension_that_a_run_contradicts_is_open():
    graph = graph_of(models.chain())
    assert graph.dims("a") == (None, 8, 16, 16)
    learnt = graph.with_learnt({"a": (1, 8, 15, 16), "b": (1, 8, 16, 16)}, {})
    assert learnt.dims("a") == (None, 8, None, 16)
    assert learnt.shape("a") == (1, 8, 15, 16)
    assert learnt.dims("b") == (None, 8, 16, 16)


def test_where_a_run_shows_other_dimensions_all_are_open():
    learnt = graph_of(models.chain()).with_learnt({"a": (8, 256)}, {})
    assert learnt.dims("a") == (None, None)


def test_sizes_count_one_where_they_are_open_and_bytes_as_they_were_seen():
    graph = graph_of(net([relu("x", "y")], [value("x", "N 3 H 4")], [value("y", "N 3 H 4")]))
    assert graph.shape("x") == (1, 3, 1, 4)
    assert graph.with_learnt({"y": (1, 3, 20, 4)}, {}).nbytes("y") == 4 * 240


def test_a_weight_has_its_shape():
    assert graph_of(models.chain()).shape("w0") == (8, 3, 3, 3)


def choosing(condition: list, *more: object) -> Graph:
    """An If whose branches give a row, or a row of rows."""
    rows = branch([node("Unsqueeze", "a first", "u")])
    choice = node("If", "on", "c", then_branch=branch([node("Exp", "a", "e")]), else_branch=rows)
    nodes = [relu("x", "a"), *condition, choice, relu("c", "d"), node("Flatten", "d", "f"), node("ReduceSum", "f", "y")]
    return graph_of(row_net(nodes, [constant("first", [0]), constant("zero", 0.0), *more]))


DECIDED_BY_DATA = [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", "on")]


def test_what_an_if_gives_has_no_settled_rank_nor_what_is_made_of_it():
    graph = choosing(DECIDED_BY_DATA)
    assert graph.unsettled == {"c", "d"}
    learnt = graph.with_learnt({"c": (1, 8)}, {"c": "float32"})
    assert learnt.spec("c") is None


@pytest.mark.parametrize("condition", [[], [node("Greater", "one zero", "on")]])
def test_where_weights_decide_the_rank_is_settled(condition):
    given = [constant("one", 1.0)] if condition else [constant("on", np.bool_(True))]
    assert not choosing(condition, *given).unsettled


def test_branches_of_one_rank_are_settled():
    choice = node("If", "on", "c", then_branch=branch([node("Exp", "x", "e")]), else_branch=branch([node("Abs", "x", "b")]))
    graph = graph_of(row_net([*DECIDED_BY_DATA, choice, relu("c", "y")], [constant("zero", 0.0)]))
    assert not graph.unsettled
    assert graph.spec("c") is not None


# --- open questions ----------------------------------------------------------------------------------------------------------


def questions(proto) -> set[str]:
    return set(graph_of(proto).open_questions())


def test_outputs_are_always_asked_about():
    assert questions(models.chain()) == {"y"}


def test_what_inference_does_not_know_is_asked():
    assert questions(models.contrib_operator()) == {"b", "c", "d", "y_pooled", "y_flat", "y"}


def test_counts_that_depend_on_the_data_are_asked():
    nodes = [relu("x", "a"), node("NonZero", "a", "at"), node("Transpose", "at", "rows"), node("Cast", "rows", "y", to=FLOAT)]
    proto = net(nodes, [value("x", "N 8")], [value("y", "M 2")])
    assert questions(proto) == {"at", "rows", "y"}


def test_a_first_dimension_that_is_not_the_batch_is_asked():
    nodes = [relu("x", "a"), node("NonZero", "x", "at"), node("Transpose", "at", "rows"), node("GatherND", "a rows", "hits")]
    proto = net([*nodes, node("Exp", "hits", "y")], [value("x", "N 8")], [value("y", "M")])
    assert questions(proto) >= {"hits", "y"}
    assert "a" not in questions(proto)


def test_pooling_that_rounds_up_is_asked_and_what_follows():
    pool = helper.make_node("MaxPool", ["b"], ["m"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    asked = questions(image_net([pool]))
    assert {"m", "c", "d"} <= asked
    assert not {"a", "b"} & asked
    pool.attribute[[found.name for found in pool.attribute].index("ceil_mode")].i = 0
    assert not {"m", "c", "d"} & questions(image_net([pool]))


def test_sequences_are_not_asked_about():
    assert "parts" not in questions(models.sequence_and_half_types())


# --- operations and declarations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "weights", "expected"),
    [
        (node("MatMul", "x w", "y"), [weight("w", 8, 4)], 4 * 8),
        (node("Gemm", "x w", "y"), [weight("w", 8, 4)], 4 * 8),
        (node("Gemm", "x w", "y", transA=1), [weight("w", 1, 4)], 8 * 4),
        (node("Tanh", "x", "y"), [], 8),
        (node("Concat", "x x", "y", axis=1), [], 16),
    ],
)
def test_multiply_adds_of_a_row(made, weights, expected):
    proto = net([made], [value("x", "1 8")], [value("y", None)], weights)
    graph = graph_of(proto)
    assert operations(graph, graph.steps[0]) == expected


def test_multiply_adds_of_convolutions():
    grow = helper.make_node("ConvTranspose", ["b", "k"], ["m"], strides=[2, 2], kernel_shape=[2, 2])
    narrow = conv("b", "m", "k", group=4)
    for made, shape, expected in ((grow, (8, 8, 2, 2), 8 * 64 * 8 * 4), (narrow, (8, 2, 3, 3), 8 * 64 * 2 * 9)):
        graph = graph_of(image_net([made], [weight("k", *shape)]))
        assert operations(graph, step_of(graph, "m")) == expected


def test_declarations_keep_the_names_of_dimensions():
    graph = graph_of(net([relu("x", "a"), relu("a", "y")], [value("x", "N 3 H 4")], [value("y", "N 3 H 4")]))
    assert typed(graph, ["x", "a"]) == [value("x", "N 3 H 4"), value("a", "N 3 H 4")]


def test_declarations_drop_what_a_run_contradicted():
    learnt = graph_of(models.chain()).with_learnt({"a": (1, 8, 15, 16)}, {})
    [declared] = typed(learnt, ["a"])
    assert [dim.dim_value for dim in declared.type.tensor_type.shape.dim] == [0, 8, 0, 16]


def test_declarations_are_of_the_type_that_crosses():
    proto = row_net([node("Cast", "x", "narrow", to=BFLOAT16), node("Cast", "narrow", "y", to=FLOAT)])
    assert typed(graph_of(proto), ["narrow"]) == [value("narrow", "N 8")]


def test_integers_keep_their_type_in_a_declaration():
    proto = row_net([node("Cast", "x", "whole", to=UINT8), node("Cast", "whole", "y", to=FLOAT)])
    assert typed(graph_of(proto), ["whole"]) == [value("whole", "N 8", UINT8)]
