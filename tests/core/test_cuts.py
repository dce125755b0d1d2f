"""Which boundaries are kept: the frontier, all, or named ones; and what they are called."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from splitinfer.build import cuts
from splitinfer.build.boundaries import Boundary, Order, orders
from splitinfer.build.frontier import choose, prices
from splitinfer.build.graph import Graph
from splitinfer.build.load import content_hash, simplify
from splitinfer.errors import InvalidCut
from tests import models


def row(position: int, nbytes: int, done: int, **fields) -> Boundary:
    return Boundary(position, (f"t{position}",), nbytes, 0, done, **fields)


def order_of(*boundaries: Boundary) -> Order:
    return Order((), boundaries)


def found(proto: onnx.ModelProto) -> tuple[tuple[Order, ...], str]:
    simplify(proto)
    return orders(Graph.of(proto)), content_hash(proto)


START, END = row(0, 600_000, 0), Boundary(9, (), 0, 0, 400_000_000)


def kept(*inner: Boundary, keep: int = 6) -> list[int]:
    _, frontier = choose([order_of(START, *inner, END)], keep)
    return [boundary.position for boundary in frontier.boundaries]


def test_the_ends_are_always_kept():
    assert kept() == [0, 9]
    assert kept(row(1, 10_000, 100_000_000), keep=0) == [0, 9]


def test_a_small_early_tensor_is_worth_keeping():
    assert 1 in kept(row(1, 20_000, 40_000_000))


def test_a_boundary_that_is_dominated_is_not_kept():
    early_and_small, late_and_large = row(1, 20_000, 40_000_000), row(2, 21_000, 40_000_001)
    assert kept(early_and_small, late_and_large, keep=1) == [0, 1, 9]


@pytest.mark.parametrize("fields", [{"why_not": "no array can carry it"}, {"splits_fusion": True}])
def test_what_cannot_or_should_not_be_cut_is_not_kept(fields):
    assert kept(row(1, 20_000, 40_000_000, **fields)) == [0, 9]


def test_a_tensor_whose_crossing_costs_too_much_is_not_kept():
    assert kept(row(1, 4_000_000, 40_000_000)) == [0, 9]


def test_no_more_are_kept_than_asked_for():
    inner = [row(i, 200_000 // i, i * 40_000_000) for i in range(1, 9)]
    losses = [choose([order_of(START, *inner, END)], keep)[1] for keep in range(9)]
    assert all(len(frontier.boundaries) - 2 <= keep for keep, frontier in enumerate(losses))
    assert [frontier.loss_mean for frontier in losses] == sorted((f.loss_mean for f in losses), reverse=True)
    assert losses[-1].loss_mean < 0.03 < losses[0].loss_mean


def test_a_cut_that_gains_less_than_it_costs_is_not_kept():
    small = row(1, 20_000, 40_000_000)
    assert kept(small, row(2, 19_900, 40_000_100)) in ([0, 1, 9], [0, 2, 9])


def test_the_loss_is_against_every_boundary_of_every_order():
    plain, better = order_of(START, END), order_of(START, row(1, 5_000, 40_000_000), END)
    order, frontier = choose([plain, better], 6)
    assert order is better
    assert frontier.loss_mean == 0
    assert choose([plain, better], 0)[1].loss_worst > 0.5


def test_prices_follow_the_formula():
    table = prices([START, END])
    assert np.isfinite(table[-1]).all()
    assert table[-1].max() == pytest.approx(50 * table[-1].min())
    assert np.isinf(table[0]).mean() == pytest.approx(0.9)  # nine of ten privacy floors are above depth 0


def test_an_image_costs_what_a_jpeg_costs():
    dear, cheap = (table[0][np.isfinite(table[0])].max() for table in (prices([START, END]), prices([START, END], image=True)))
    assert cheap < dear / 2


@pytest.mark.parametrize("name", ["b", "b_relu"])
def test_a_tensor_or_the_node_that_makes_it_names_a_cut(name):
    options, digest = found(models.chain())
    assert [boundary.live for boundary in cuts.named(options, [name], digest).boundaries] == [("x",), ("b",), ()]


def test_a_friendly_name_or_an_id_names_a_cut():
    options, digest = found(models.residual())
    for name in ("b+d", cuts.cut_id(digest, ("d", "b"))):
        assert cuts.named(options, [name], digest).boundaries[1].live == ("b", "d")


def test_a_tensor_inside_a_block_cuts_after_the_node_that_makes_it():
    options, digest = found(models.residual())
    assert cuts.named(options, ["d"], digest).boundaries[1].live == ("b", "d")


def test_cuts_come_in_the_order_of_the_graph():
    options, digest = found(models.chain())
    assert [boundary.live for boundary in cuts.named(options, ["d", "b", "b"], digest).boundaries[1:-1]] == [("b",), ("d",)]


def test_an_unknown_name_is_refused_with_those_that_are_close():
    options, digest = found(models.chain())
    with pytest.raises(InvalidCut, match=r"'b_rely'.*did you mean 'b_relu'"):
        cuts.named(options, ["b_rely"], digest)


def test_a_named_cut_that_cannot_be_offered_is_refused_with_the_reason():
    proto = models.chain()
    simplify(proto)
    options = orders(Graph.of(proto), hidden={"a"})
    with pytest.raises(InvalidCut, match="'a': it lies inside the image preprocessing"):
        cuts.named(options, ["a"], content_hash(proto))


def test_an_id_belongs_to_the_live_set_and_the_model():
    assert cuts.cut_id("m", ("a", "b")) == cuts.cut_id("m", ("b", "a"))
    assert len({cuts.cut_id("m", ("a",)), cuts.cut_id("n", ("a",)), cuts.cut_id("m", ("a", "b"))}) == 3


def test_all_keeps_what_can_be_offered():
    options, _ = found(models.chain())
    assert len(cuts.everything(options).boundaries) == len(options[0].boundaries)
