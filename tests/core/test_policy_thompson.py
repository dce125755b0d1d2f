"""A draw from what is believed of the link: what is tried, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.plan import Budget, Conditions, Plan, Uplink, objection
from splitinfer.policy import Neurosurgeon, Robust, Table, Thompson
from tests.core.test_policy import BUDGETS, CONDITIONS, EARLY, LATE, LOCAL, PLANS, TABLE, UPLOAD

DRAWS = tuple((k + 0.5) / 40 for k in range(40))


def link(mbps: float, doubt: float, spread: float = 0.3, rtt_ms: float = 20.0) -> Conditions:
    return Conditions(link_up=True, uplink=Uplink(mbps * 1e6, spread, rtt_ms, doubt=doubt), queue_ms=0.0)


def picks(conditions: Conditions, budget: Budget = Budget(), table: Table = TABLE) -> list[Plan]:  # noqa: B008
    """With each draw, from the slowest link to the fastest."""
    return [Thompson().decide(table, conditions, budget, draw=draw).plan for draw in DRAWS]


def test_the_same_draw_gives_the_same_plan() -> None:
    for draw in DRAWS:
        one, other = (Thompson().decide(TABLE, link(8.0, 1.0), Budget(latency_ms=150.0), draw=draw) for _ in range(2))
        assert one.plan == other.plan
        assert np.array_equal(one.scores, other.scores)
        assert one.reason == other.reason


def test_the_middle_of_what_is_believed_is_the_median() -> None:
    for mbps in (100.0, 12.0, 1.0, 0.1):
        conditions = link(mbps, doubt=1.5)
        assert (
            Thompson().decide(TABLE, conditions, Budget(), draw=0.5).plan
            == Neurosurgeon().decide(TABLE, conditions, Budget()).plan
        )


@pytest.mark.parametrize(("mbps", "best"), [(100.0, UPLOAD.plan), (10.0, EARLY.plan), (1.0, LATE.plan), (0.1, LOCAL.plan)])
def test_a_well_known_link_is_used_as_it_is(mbps: float, best: Plan) -> None:
    assert set(picks(link(mbps, doubt=0.02))) == {best}
    assert set(picks(link(mbps, doubt=0.02, spread=2.0))) == {best}, "what another measurement would not settle is not tried"


def test_a_stale_one_is_tried_the_better_it_is_hoped_to_be_the_earlier() -> None:
    plans = picks(link(3.0, doubt=1.0))
    assert len(set(plans)) >= 3
    assert [plan.cut for plan in plans] == sorted((plan.cut for plan in plans), reverse=True)


def test_a_device_that_is_alone_tries_a_link_that_it_knows_no_more() -> None:
    tried = {doubt: sum(plan != LOCAL.plan for plan in picks(link(0.25, doubt))) for doubt in (0.05, 0.7, 1.4)}
    assert tried[0.05] == 0 < tried[0.7] < tried[1.4]


def test_without_doubt_of_its_own_the_spread_is_taken_for_it() -> None:
    conditions = Conditions(link_up=True, uplink=Uplink(3e6, 1.0, 20.0))
    assert picks(conditions) == picks(link(3.0, doubt=1.0))


def test_a_plan_that_the_device_can_still_save_is_not_feared() -> None:
    """250 ms are enough to compute everything alone (200 ms): a late cloud is overtaken."""
    unknown, upload = link(8.0, doubt=1.2), TABLE.rows[UPLOAD.plan]
    slow = Thompson().decide(TABLE, unknown, Budget(latency_ms=250.0), draw=0.05)
    assert slow.scores[upload] <= 250.0
    tight = Thompson().decide(TABLE, unknown, Budget(latency_ms=150.0), draw=0.05)
    assert tight.scores[upload] > 300.0, "in 150 ms the device cannot do it alone"


@pytest.mark.parametrize(
    "bounded_by_nothing",
    [
        {"hedged": False},
        {"battery": 0.10, "charging": False},
    ],
)
def test_while_no_race_bounds_the_loss_only_a_link_that_is_not_known_is_tried(bounded_by_nothing: dict[str, object]) -> None:
    budget = Budget(latency_ms=250.0)
    familiar, new = (replace(link(3.0, doubt), **bounded_by_nothing) for doubt in (0.4, 1.0))
    assert set(picks(familiar, budget)) == {Robust().decide(TABLE, familiar, budget).plan}
    assert len(set(picks(new, budget))) >= 3


def test_on_a_critical_battery_nothing_is_tried() -> None:
    empty = replace(link(3.0, doubt=1.5), battery=0.04, charging=False)
    for budget in (Budget(), Budget(latency_ms=250.0)):
        assert set(picks(empty, budget)) == {Robust().decide(TABLE, empty, budget).plan}
    assert len(set(picks(replace(empty, charging=True)))) >= 3


def test_the_dearer_a_joule_the_less_energy() -> None:
    slow, computed_ms = link(0.25, doubt=0.02, rtt_ms=60.0), []
    for joule_s in (0.0, 0.3, 1.0, 3.0):
        plan = Thompson().decide(TABLE, replace(slow, joule_s=joule_s), Budget()).plan
        computed_ms.append(TABLE.offers[TABLE.rows[plan]].cost.head_ms)
    assert computed_ms == sorted(computed_ms, reverse=True)
    assert computed_ms[-1] < computed_ms[0]
    assert Thompson().decide(TABLE, slow, Budget(joule_s=3.0)).plan == plan, "a budget may say so, too"


def test_the_reason_says_that_it_was_drawn() -> None:
    assert Thompson().decide(TABLE, link(3.0, 1.0), Budget(), draw=0.9).reason.endswith("drawn")


@settings(derandomize=True, deadline=None, max_examples=300)
@given(CONDITIONS, st.none() | st.floats(0.0, 2.0), BUDGETS, PLANS, st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_any_world_gives_a_plan_within_the_hard_limits(
    conditions: Conditions, doubt: float | None, budget: Budget, current: Plan | None, draw: float
) -> None:
    if conditions.uplink is not None:
        conditions = replace(conditions, uplink=replace(conditions.uplink, doubt=doubt))
    decision = Thompson().decide(TABLE, conditions, budget, current, draw)
    row = TABLE.offers[TABLE.rows[decision.plan]]
    assert objection(row, budget) is None
    assert row.local or conditions.link_up is not False
    assert row.lossless or not conditions.drifted
    assert not np.isnan(decision.scores).any()
    assert np.isfinite(decision.scores[TABLE.rows[decision.plan]])
    assert decision.reason
