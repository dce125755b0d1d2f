"""Which boundaries are worth keeping, and what they cost."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build.boundaries import Boundary, Order
from splitinfer.build.frontier import LOSS_MEAN_MAX, LOSS_WORST_MAX, choose, worth_keeping
from splitinfer.build.graph import Graph
from splitinfer.build.prices import GRID, prices, undominated
from tests import models

WHOLE = 400_000_000


@cache
def any_graph() -> Graph:
    return Graph.of(models.chain())


def row(position: int, nbytes: int, done: int, **fields) -> Boundary:
    return Boundary(position, (f"t{position}",), nbytes, fields.pop("lossless_bytes", 0), done, **fields)


def order_of(*boundaries: Boundary) -> Order:
    return Order(any_graph(), (), boundaries)


START, END = row(0, 600_000, 0), Boundary(9, (), 0, 0, WHOLE)


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
    assert kept(early_and_small, late_and_large) == [0, 1, 9]


@pytest.mark.parametrize("fields", [{"why_not": "no array can carry it"}, {"splits_fusion": True}])
def test_what_cannot_or_should_not_be_cut_is_not_kept(fields):
    assert kept(row(1, 20_000, 40_000_000, **fields)) == [0, 9]


def test_a_tensor_whose_crossing_costs_too_much_is_not_kept():
    assert kept(row(1, 4_000_000, 40_000_000)) == [0, 9]


def test_no_more_are_kept_than_asked_for():
    inner = [row(i, 200_000 // i, i * 40_000_000) for i in range(1, 9)]
    frontiers = [choose([order_of(START, *inner, END)], keep)[1] for keep in range(9)]
    assert all(len(frontier.boundaries) - 2 <= keep for keep, frontier in enumerate(frontiers))
    assert frontiers[0].loss_worst > 1
    assert frontiers[6].loss_mean <= LOSS_MEAN_MAX
    assert frontiers[6].loss_worst <= LOSS_WORST_MAX


def test_of_two_that_are_nearly_the_same_one_is_kept():
    small = row(1, 20_000, 40_000_000)
    assert kept(small, row(2, 19_900, 40_000_100)) in ([0, 1, 9], [0, 2, 9])


def test_where_no_cut_is_ever_the_fastest_some_serve_privacy_floors():
    """Their tensors are larger than the input, so without a floor the input or nothing crosses."""
    inner = [row(i, 610_000 + i, i * 40_000_000) for i in range(1, 9)]
    _, frontier = choose([order_of(START, *inner, END)], 6)
    assert frontier.loss_worst == 0
    assert 2 <= len(frontier.boundaries) - 2 <= 6
    assert choose([order_of(START, END)], 6)[1].loss_worst == 0


def test_speed_comes_before_privacy_floors():
    fastest = row(1, 5_000, 20_000_000)
    others = [row(i, 5_100 + i, i * 44_000_000) for i in range(2, 9)]
    assert kept(fastest, *others, keep=1) == [0, 1, 9]


def test_the_loss_is_against_every_boundary_of_every_order():
    plain, better = order_of(START, END), order_of(START, row(1, 5_000, 40_000_000), END)
    order, frontier = choose([plain, better], 6)
    assert order is better
    assert frontier.loss_mean == 0
    assert choose([plain, better], 0)[1].loss_worst > 0.5


def test_the_loss_is_against_boundaries_that_split_a_kernel_too():
    split, after = row(1, 20_000, 40_000_000, splits_fusion=True), row(2, 20_000, 60_000_000)
    _, frontier = choose([order_of(START, split, after, END)], 6)
    assert [boundary.position for boundary in frontier.boundaries] == [0, 2, 9]
    assert 0 < frontier.loss_worst < 0.5


def test_prices_follow_the_formula():
    cut = row(1, 150_000, 100_000_000, lossless_bytes=50_000)
    table = prices([START, cut, END], WHOLE)
    whole_ms, at = WHOLE * 9 / 390e6, 123
    point = GRID[at]
    sent = 50_000 + 100_000 * point.coded_share + 250 + 35
    compute = (0.25 * point.slowness + 0.75 * point.load) * whole_ms
    assert table[1, at] == pytest.approx(compute + sent * 8000 / point.rate_bps + 150_000 * 0.25e-6)
    assert table[2, at] == pytest.approx(whole_ms * point.slowness)
    assert table[2].max() == pytest.approx(50 * table[2].min())


def test_an_image_costs_what_a_jpeg_costs_whatever_the_codec():
    dear, cheap = (prices([START, END], WHOLE, image)[0] for image in (False, True))
    assert cheap.max() < dear.max() / 2
    assert cheap[0] == pytest.approx(WHOLE * 9 / 390e6 + (600_000 * 0.12 + 250) * 8000 / 0.1e6 + 600_000 * 0.25e-6)
    raw, coded = (next(i for i, p in enumerate(GRID) if p.coded_share == share) for share in (1.0, 0.1))
    assert cheap[raw] == pytest.approx(cheap[coded])


def test_a_model_that_is_said_to_do_nothing_has_a_frontier():
    _, frontier = choose([order_of(row(0, 100, 0), row(1, 10, 0), Boundary(9, (), 0, 0, 0))], 6)
    assert np.isfinite([frontier.loss_mean, frontier.loss_worst]).all()


@st.composite
def chains(draw: st.DrawFn) -> Order:
    done, inner = 0, []
    for position in range(1, draw(st.integers(1, 12))):
        done += draw(st.integers(0, 60_000_000))
        nbytes = draw(st.integers(8, 3_000_000))
        lossless = draw(st.sampled_from([0, 0, nbytes, nbytes // 3]))
        inner.append(row(position, nbytes, done, lossless_bytes=lossless, splits_fusion=draw(st.booleans())))
    return order_of(START, *inner, Boundary(len(inner) + 1, (), 0, 0, done + 1))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(chains(), st.integers(0, 6), st.booleans())
def test_the_loss_that_is_stated_is_the_loss(order, keep, image):
    whole = order.boundaries[-1].operations
    _, frontier = choose([order], keep, image)
    have, all_of_them = (prices(rows, whole, image).min(axis=0) for rows in (frontier.boundaries, order.boundaries))
    assert frontier.loss_mean == pytest.approx((have / all_of_them - 1).mean(), abs=1e-12)
    assert frontier.loss_worst == pytest.approx((have / all_of_them - 1).max(), abs=1e-12)
    assert all(worth_keeping(boundary, whole) for boundary in frontier.boundaries[1:-1])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(chains(), st.booleans())
def test_what_is_dominated_is_never_the_fastest(order, image):
    whole = order.boundaries[-1].operations
    best = prices(order.boundaries, whole, image).min(axis=0)
    assert prices(undominated(order.boundaries, whole), whole, image).min(axis=0) == pytest.approx(best)
