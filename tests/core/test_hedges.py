"""How often a request may be computed twice, and what a plan is worth that a race would save."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.hedges import KEPT_MOST, Hedges
from splitinfer.plan import Budget, Conditions, Uplink
from splitinfer.policy import RACE_MARGIN, Robust, Table, forecast, hedges
from tests.core.test_policy import EARLY, LOCAL, TABLE, UPLOAD

# The bucket.


def test_a_race_needs_some_of_one_and_a_plan_that_counts_on_it_a_whole_one() -> None:
    assert Hedges().left
    assert Hedges().whole
    assert [(Hedges(kept).left, Hedges(kept).whole) for kept in (1.0, 0.9, 0.1, 0.0, -0.5)] == [
        (True, True),
        (True, False),
        (True, False),
        (False, False),
        (False, False),
    ]


def test_a_race_that_the_cloud_ended_early_costs_the_share_that_was_computed() -> None:
    assert Hedges(1.0).spent(25.0, 100.0).kept == pytest.approx(0.75)
    assert Hedges(1.0).spent(500.0, 100.0).kept == Hedges(1.0).spent(1.0, 0.0).kept == 0.0


@pytest.mark.parametrize("raced_ms", [nan, inf, -inf, -500.0])
def test_a_race_of_no_length_that_there_is_costs_a_whole_one(raced_ms: float) -> None:
    assert Hedges(1.0).spent(raced_ms, 100.0).kept == 0.0


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.5, 1.0])
def test_in_the_long_run_no_more_than_the_share_is_computed_twice(share: float) -> None:
    bucket, raced = Hedges(), 0
    for _ in range(1_000):
        bucket = bucket.earned(share)
        if bucket.left:
            raced, bucket = raced + 1, bucket.spent(100.0, 100.0)
    assert 1_000 * share - 1 <= raced <= 1_000 * share + KEPT_MOST + 1


def test_quiet_times_save_only_some_races_up() -> None:
    bucket = Hedges()
    for _ in range(1_000):
        bucket = bucket.earned(0.1)
    assert bucket.kept == KEPT_MOST


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.floats(0.0, 1.0), st.lists(st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e3)), max_size=50))
def test_what_is_raced_never_exceeds_what_was_earned_and_saved_by_more_than_one(
    share: float, races: list[tuple[float, float]]
) -> None:
    bucket, spent = Hedges(), 0.0
    for raced_ms, rest_ms in races:
        bucket = bucket.earned(share)
        if bucket.left:
            before = bucket.kept
            bucket = bucket.spent(raced_ms, rest_ms)
            spent += before - bucket.kept
    assert spent <= KEPT_MOST + share * len(races) + 1.0 + 1e-6


# When a race may be counted on.

BUDGET = Budget(latency_ms=250.0)


def test_when_requests_may_be_computed_twice() -> None:
    assert hedges(Conditions(), BUDGET)
    assert not hedges(Conditions(), Budget()), "without a deadline there is nothing to race for"
    assert not hedges(Conditions(), replace(BUDGET, hedge_max_share=0.0))
    assert not hedges(Conditions(hedged=False), BUDGET)
    assert not hedges(Conditions(battery=0.14), BUDGET)
    assert hedges(Conditions(battery=0.14, charging=True), BUDGET)
    assert not hedges(Conditions(battery=0.18, saver=True), BUDGET)


def test_the_device_starts_on_the_rest_in_time() -> None:
    """Of 200 ms everything is the rest of the upload, 160 ms that of the early cut; a run may take a tenth longer."""
    start_ms = TABLE.race_start_ms(250.0)
    assert start_ms[TABLE.rows[UPLOAD.plan]] == pytest.approx(250 - RACE_MARGIN * 200)
    assert start_ms[TABLE.rows[EARLY.plan]] == pytest.approx(250 - RACE_MARGIN * 160)
    assert start_ms[TABLE.rows[LOCAL.plan]] == float("inf")
    assert TABLE.race_start_ms(210.0)[TABLE.rows[UPLOAD.plan]] == float("inf"), "it would have to start before it is asked"
    part = Table((UPLOAD, replace(LOCAL, missing=(3,))))
    assert part.race_start_ms(1e5).tolist() == [float("inf")] * 2


def link(mbps: float, spread: float) -> Conditions:
    return Conditions(link_up=True, uplink=Uplink(mbps * 1e6, spread, 20.0), queue_ms=0.0)


LOOSE = Budget(latency_ms=400.0, hedge_max_share=0.2)
"""A race starts 180 ms after the request."""


def test_a_plan_that_rarely_needs_a_race_is_never_late() -> None:
    shaky, upload = link(20.0, 1.0), TABLE.rows[UPLOAD.plan]
    alone = forecast(TABLE, shaky, replace(LOOSE, hedge_max_share=0.0))
    raced = forecast(TABLE, shaky, LOOSE)
    assert alone.miss[upload] > 0.0 == raced.miss[upload]
    assert raced.latency_ms[upload] < alone.latency_ms[upload]
    assert raced.energy_mj[upload] > alone.energy_mj[upload], "what is computed twice is paid"


def test_a_plan_that_needs_one_too_often_is_judged_without() -> None:
    slow, upload = link(4.0, 0.35), TABLE.rows[UPLOAD.plan]
    alone = forecast(TABLE, slow, replace(LOOSE, hedge_max_share=0.0))
    assert forecast(TABLE, slow, LOOSE).miss[upload] == alone.miss[upload] > 0.2
    assert forecast(TABLE, slow, LOOSE).energy_mj[upload] == alone.energy_mj[upload]
    assert forecast(TABLE, slow, replace(LOOSE, hedge_max_share=1.0)).miss[upload] == 0.0


def test_the_saver_forbids_races_and_so_a_plan_may_be_late() -> None:
    saving, upload = replace(link(20.0, 1.0), battery=0.1, charging=False), TABLE.rows[UPLOAD.plan]
    assert forecast(TABLE, saving, LOOSE).miss[upload] > 0.0
    assert forecast(TABLE, replace(saving, charging=True), LOOSE).miss[upload] == 0.0


def test_robust_dares_more_where_a_race_bounds_the_loss() -> None:
    cuts = {
        share: Robust().decide(TABLE, link(6.0, 1.0), replace(LOOSE, hedge_max_share=share)).plan.cut for share in (0.0, 0.2)
    }
    assert cuts[0.2] < cuts[0.0]
