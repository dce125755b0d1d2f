"""Boundaries: what crosses where, and what is never offered."""

from __future__ import annotations

import pytest

from splitinfer.bench.traps.parts import net, node, relu, row_net, value, weight
from splitinfer.build.boundaries import orders, through
from splitinfer.build.graph import operations
from tests import models
from tests.cutting import graph_of


def live_sets(proto) -> list[tuple[str, ...]]:
    return [boundary.live for boundary in orders(graph_of(proto))[0].boundaries]


def test_a_chain_has_a_boundary_after_each_node():
    assert live_sets(models.chain()) == [("x",), ("a",), ("b",), ("c",), ("d",), ("y_pooled",), ("y_flat",), ()]


def test_a_skip_crosses_with_the_main_path():
    assert live_sets(models.residual())[2:6] == [("b",), ("b", "c"), ("b", "d"), ("b", "e")]


def test_a_raw_input_crosses_where_the_tail_reads_it():
    assert live_sets(models.skip_from_input())[:4] == [("x",), ("a", "x"), ("b", "x"), ("c",)]


def test_an_output_that_was_made_does_not_cross_unless_the_tail_reads_it():
    found = live_sets(models.early_output())
    assert ("d",) in found
    assert not any("exit" in live or {"d", "e"} <= set(live) for live in found)


def test_weights_and_what_is_made_of_them_never_cross():
    assert all(not {"flat", "scaled", "w0", "w1"} & set(live) for live in live_sets(models.constants()))


def test_what_a_body_captures_crosses():
    assert ("b", "m", "yes") in live_sets(models.captured())


def test_nothing_is_cut_inside_a_body():
    assert not {"tt1", "te1", "t", "e1"} & {name for live in live_sets(models.captured()) for name in live}


def test_a_second_order_finishes_one_branch_before_the_next():
    given, short = orders(graph_of(models.branching()))
    largest = [max(boundary.nbytes for boundary in order.boundaries) for order in (given, short)]
    assert ("a", "p2", "q2") in [boundary.live for boundary in short.boundaries]
    assert ("a", "p2", "q2") not in [boundary.live for boundary in given.boundaries]
    assert largest[1] <= largest[0]


def test_live_sets_are_unique_and_positions_grow():
    for order in orders(graph_of(models.branching())):
        lives = [boundary.live for boundary in order.boundaries]
        positions = [boundary.position for boundary in order.boundaries]
        assert len(set(lives)) == len(lives)
        assert positions == sorted(set(positions))


def test_hidden_tensors_are_not_offered():
    boundaries = orders(graph_of(models.chain()), hidden={"a"})[0].boundaries
    assert [boundary.live for boundary in boundaries if boundary.why_not] == [("a",)]


def test_a_boundary_inside_a_kernel_is_known():
    boundaries = orders(graph_of(models.chain()))[0].boundaries
    assert [boundary.live for boundary in boundaries if boundary.splits_fusion] == [("a",), ("c",)]


@pytest.mark.parametrize(("at", "expected"), [(0, 8 * 16 * 16 * 3 * 9), (1, 8 * 16 * 16), (2, 8 * 8 * 8 * 8 * 9), (6, 80)])
def test_operations_are_multiply_adds_at_batch_1(at, expected):
    graph = graph_of(models.chain())
    assert operations(graph, graph.steps[at]) == expected


def test_depth_grows_from_nothing_to_everything():
    done = [boundary.operations for boundary in orders(graph_of(models.residual()))[0].boundaries]
    assert done[0] == 0
    assert done == sorted(done)


def test_integers_count_as_lossless_bytes():
    boundaries = orders(graph_of(models.shape_arithmetic()))[0].boundaries
    both = next(boundary for boundary in boundaries if set(boundary.live) == {"s", "target"})
    assert both.lossless_bytes == 3 * 8


def row(*nodes, weights=()):
    return graph_of(row_net(nodes, weights))


def boundary_at(graph, *live: str, hidden=()):
    return next(boundary for boundary in orders(graph, hidden)[0].boundaries if boundary.live == live)


def test_the_first_boundary_is_the_inputs_as_the_model_lists_them_and_the_last_is_nothing():
    found = orders(graph_of(models.two_inputs()))[0].boundaries
    proto = models.two_inputs()
    proto.graph.input.reverse()
    assert (found[0].position, found[0].live) == (0, ("x", "z"))
    assert orders(graph_of(proto))[0].boundaries[0].live == ("z", "x")
    assert (found[-1].position, found[-1].live, found[-1].nbytes) == (len(orders(graph_of(proto))[0].steps), (), 0)


def test_of_two_prefixes_with_one_live_set_the_longer_is_the_boundary():
    """What hangs on b and leads to an output only is done by the head; the input's own live set stays at position 0."""
    proto = row_net([relu("x", "b"), relu("b", "e"), relu("b", "y")])
    proto.graph.output.append(value("e", "N 8"))
    found = orders(graph_of(proto))[0].boundaries
    assert [(boundary.position, boundary.live) for boundary in found] == [(0, ("x",)), (2, ("b",)), (3, ())]


def test_an_input_that_nobody_has_read_yet_is_a_boundary_once():
    """An exit on the input: the same tensors are alive before and after it."""
    proto = row_net([relu("x", "e"), node("Tanh", "x", "b"), node("Exp", "b", "y")])
    proto.graph.output.append(value("e", "N 8"))
    found = orders(graph_of(proto))[0].boundaries
    assert [(boundary.position, boundary.live) for boundary in found] == [(0, ("x",)), (2, ("b",)), (3, ())]


def test_operations_are_those_of_the_head_and_at_the_end_of_all():
    graph = row(node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b w", "y"), weights=[weight("w", 8, 8)])
    assert [boundary.operations for boundary in orders(graph)[0].boundaries] == [0, 64, 72, 136]


def test_bytes_are_summed_and_a_kernel_is_split_where_one_of_the_tensors_splits_it():
    graph = graph_of(models.residual())
    both = boundary_at(graph, "b", "c")
    assert both.nbytes == boundary_at(graph, "b").nbytes * 2 == 2 * 4 * models.CHANNELS * 256
    assert both.splits_fusion
    assert not boundary_at(graph, "b", "d").splits_fusion


def test_the_input_can_always_be_sent():
    found = orders(graph_of(net([relu("x", "a"), relu("a", "y")], [value("x", "0 8")], [value("y", "0 8")])))[0].boundaries
    assert found[0].why_not is None
    assert "was empty on trial" in found[1].why_not


def test_one_tensor_that_cannot_cross_forbids_the_boundary():
    parts = [node("SplitToSequence", "x", "parts", axis=1), node("ConcatFromSequence", "parts", "b", axis=1)]
    graph = row(relu("x", "a"), *parts, node("Add", "a b", "y"))
    assert boundary_at(graph, "a", "parts").why_not == "'parts' is a sequence, and only tensors cross"
    learnt = graph.with_learnt({"b": (1, 8)}, {"b": "float32"})
    assert boundary_at(learnt, "a", "b").why_not is None


def test_a_boundary_is_hidden_where_all_its_tensors_are():
    graph = graph_of(models.residual())
    assert boundary_at(graph, "b", "c", hidden={"b", "c"}).why_not.startswith("it lies inside the image preprocessing")
    assert boundary_at(graph, "b", "c", hidden={"b"}).why_not is None


def test_orders_with_shapes_recomputed_are_offered_too():
    graph = graph_of(models.shape_arithmetic())
    crossing = {boundary.live for order in orders(graph) for boundary in order.boundaries}
    assert {("s", "target"), ("s", "shape")} <= crossing
    assert len({id(order.graph) for order in orders(graph)}) == 2
    assert len({id(order.graph) for order in orders(graph_of(models.chain()))}) == 1


def test_what_was_wrong_is_kept_out_with_its_reason_and_nothing_else_changes():
    order = orders(graph_of(models.chain()))[0]
    other = order.without({("b",): "it gave another answer"})
    assert [boundary.why_not for boundary in other.boundaries if boundary.live == ("b",)] == ["it gave another answer"]
    assert [boundary for boundary in other.boundaries if boundary.live != ("b",)] == [
        boundary for boundary in order.boundaries if boundary.live != ("b",)
    ]
    assert (other.graph, other.steps) == (order.graph, order.steps)


def test_orders_through_a_tensor_do_nothing_else_before_it():
    nodes = [relu("x", "a"), node("Tanh", "x", "p"), relu("a", "b"), node("Exp", "p", "q"), node("Add", "b q", "y")]
    found = through(graph_of(row_net(nodes)), ["q"])
    assert all([step.makes[0] for step in order.steps[:2]] == ["p", "q"] for order in found)
    assert all(("q", "x") in [boundary.live for boundary in order.boundaries] for order in found)


def test_an_input_that_nobody_reads_crosses_nowhere_but_at_the_first_cut():
    proto = row_net([relu("x", "a"), relu("a", "y")])
    proto.graph.input.append(value("z", "N 8"))
    assert [boundary.live for boundary in orders(graph_of(proto))[0].boundaries] == [("x", "z"), ("a",), ()]
