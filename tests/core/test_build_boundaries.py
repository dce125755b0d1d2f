"""Boundaries: what crosses where, and what is never offered."""

from __future__ import annotations

import pytest

from splitinfer.build.boundaries import orders
from splitinfer.build.graph import Graph, operations
from splitinfer.build.load import simplify
from tests import models


def graph_of(proto) -> Graph:
    simplify(proto)
    return Graph.of(proto)


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
