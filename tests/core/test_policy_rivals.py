"""What we are compared with: the least latency at one rate, and a bandit that knows no model of the link."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.draw import normal, uniform
from splitinfer.plan import Budget, Conditions, Plan, Uplink, objection, predict
from splitinfer.policy import Learner, LinUCB, Neurosurgeon, Policy, Static, policy
from splitinfer.policy.names import NAMED
from tests.core.test_policy import BUDGETS, CONDITIONS, EARLY, LOCAL, PLANS, TABLE, UPLOAD, link

# Neurosurgeon.


@settings(derandomize=True, deadline=None, max_examples=300)
@given(CONDITIONS, BUDGETS, PLANS, st.floats(0.01, 0.99))
def test_neurosurgeon_is_the_least_latency_at_one_rate(
    conditions: Conditions, budget: Budget, current: Plan | None, draw: float
) -> None:
    seen = replace(conditions, uplink=conditions.uplink or Uplink(10e6, 1.0, 50.0))
    allowed = [offer for offer in TABLE.offers if objection(offer, budget) is None]
    if seen.drifted:
        allowed = [offer for offer in allowed if offer.lossless] or allowed
    if seen.link_up is False:
        allowed = [offer for offer in allowed if offer.local] or allowed
    best_ms = min(predict(offer, seen, TABLE.power).latency_ms for offer in allowed)
    decision = Neurosurgeon().decide(TABLE, conditions, budget, current, draw)
    chosen = TABLE.offers[TABLE.rows[decision.plan]]
    assert chosen in allowed
    assert predict(chosen, seen, TABLE.power).latency_ms == pytest.approx(best_ms)


@pytest.mark.parametrize("rtt_ms", [5.0, 50.0])
def test_it_changes_at_the_rates_where_latencies_cross(rtt_ms: float) -> None:
    seen = set()
    for step in range(60):
        conditions = Conditions(link_up=True, uplink=Uplink(5e4 * 1.2**step, 0.0, rtt_ms))
        allowed = [offer for offer in TABLE.offers if objection(offer, Budget()) is None]
        best = min(allowed, key=lambda offer: predict(offer, conditions, TABLE.power).latency_ms)
        assert Neurosurgeon().decide(TABLE, conditions, Budget()).plan == best.plan
        seen.add(best.plan)
    assert len(seen) >= 4


def test_neurosurgeon_knows_no_spread_no_deadline_no_battery_and_no_inertia() -> None:
    known = link(60.0, spread=0.0)
    plan = Neurosurgeon().decide(TABLE, known, Budget()).plan
    assert plan == UPLOAD.plan
    others = [
        (replace(known, uplink=replace(known.uplink, spread=2.0, doubt=2.0)), Budget(), None),
        (known, Budget(latency_ms=100.0), None),
        (replace(known, battery=0.01, charging=False, joule_s=2.0), Budget(joule_s=5.0), None),
        (known, Budget(), EARLY.plan),
    ]
    assert {Neurosurgeon().decide(TABLE, *other).plan for other in others} == {plan}


# LinUCB.


def world(plan: Plan, rate_bps: float, rtt_ms: float, step: int) -> float:
    """What a hand-over takes: a linear thing with noise."""
    offer = TABLE.offers[TABLE.rows[plan]]
    sending_ms = 8e3 * offer.score.bytes_p50 / rate_bps
    return (rtt_ms + sending_ms + offer.cost.tail_ms) * (1 + 0.1 * normal(1, step))


def live(rule: LinUCB, rate_bps: float, rtt_ms: float, n: int, seed: int = 0) -> tuple[LinUCB, list[Plan]]:
    plans = []
    for step in range(n):
        plan = rule.decide(TABLE, Conditions(link_up=True), Budget(), draw=uniform(seed, step)).plan
        plans.append(plan)
        if plan != LOCAL.plan:
            rule = rule.learnt(TABLE, plan, world(plan, rate_bps, rtt_ms, step))
    return rule, plans


def regret(plans: list[Plan], rate_bps: float, rtt_ms: float) -> float:
    conditions = Conditions(link_up=True, uplink=Uplink(rate_bps, 0.0, rtt_ms))
    took = {offer.plan: predict(offer, conditions, TABLE.power).latency_ms for offer in TABLE.offers}
    allowed = [took[offer.plan] for offer in TABLE.offers if objection(offer, Budget()) is None]
    return sum(took[plan] for plan in plans) / len(plans) / min(allowed) - 1


@pytest.mark.parametrize(("rate_bps", "rtt_ms"), [(100e6, 10.0), (8e6, 30.0), (1.5e6, 50.0), (0.1e6, 100.0)])
def test_linucb_learns_what_is_good_without_being_told_the_rate(rate_bps: float, rtt_ms: float) -> None:
    _, plans = live(LinUCB(), rate_bps, rtt_ms, 300)
    assert regret(plans[100:], rate_bps, rtt_ms) < 0.3


def test_linucb_follows_when_the_link_becomes_another_one() -> None:
    rule, _ = live(LinUCB(), 100e6, 10.0, 200)
    rule, _ = live(rule, 0.3e6, 80.0, 100, seed=1)
    _, plans = live(rule, 0.3e6, 80.0, 200, seed=2)
    assert regret(plans, 0.3e6, 80.0) < 0.5 < regret([UPLOAD.plan], 0.3e6, 80.0)
    assert plans.count(UPLOAD.plan) < 0.05 * len(plans)


def test_linucb_goes_remote_now_and_then_since_a_device_that_stays_local_learns_nothing() -> None:
    rule, _ = live(LinUCB(), 0.02e6, 500.0, 300)
    plans = [rule.decide(TABLE, Conditions(link_up=True), Budget(), draw=(k + 0.5) / 160).plan for k in range(160)]
    assert [plan != LOCAL.plan for plan in plans] == [True] * 10 + [False] * 150
    dead = [rule.decide(TABLE, Conditions(link_up=False), Budget(), draw=(k + 0.5) / 160).plan for k in range(160)]
    assert set(dead) == {LOCAL.plan}


def test_learning_leaves_the_learner_as_it_was() -> None:
    rule = LinUCB()
    before = rule.decide(TABLE, Conditions(), Budget()).scores
    after = rule.learnt(TABLE, UPLOAD.plan, 2_000.0)
    assert after.learnt_from == rule.learnt_from + 1 == 1
    assert np.array_equal(rule.decide(TABLE, Conditions(), Budget()).scores, before)
    assert after.decide(TABLE, Conditions(), Budget()).scores[0] > before[0]


@pytest.mark.parametrize(
    ("plan", "remote_ms"),
    [(LOCAL.plan, 100.0), (Plan(9, "gone"), 100.0), (UPLOAD.plan, nan), (UPLOAD.plan, inf), (UPLOAD.plan, -1.0)],
)
def test_what_is_no_hand_over_and_what_is_no_time_teach_nothing(plan: Plan, remote_ms: float) -> None:
    rule, _ = live(LinUCB(), 8e6, 30.0, 50)
    assert rule.learnt(TABLE, plan, remote_ms) is rule


def test_who_learns() -> None:
    assert isinstance(LinUCB(), Learner)
    assert not any(isinstance(rule, Learner) for rule in (Neurosurgeon(), Static(UPLOAD.plan), policy("thompson")))


# All of them.

RULES = [*NAMED, "static:1/int8"]


@pytest.mark.parametrize("name", RULES)
def test_a_policy_is_read_by_its_name(name: str) -> None:
    assert policy(name).name == name


def test_an_unknown_name_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"thompson.*neurosurgeon.*linucb.*static:"):
        policy("oracle")


@pytest.mark.parametrize("rule", [policy(name) for name in NAMED], ids=[*NAMED])
@settings(derandomize=True, deadline=None, max_examples=100)
@given(CONDITIONS, BUDGETS, PLANS, st.floats(1e-6, 1 - 1e-6))
def test_any_world_gives_a_legal_plan(
    rule: Policy, conditions: Conditions, budget: Budget, current: Plan | None, draw: float
) -> None:
    decision = rule.decide(TABLE, conditions, budget, current, draw)
    row = TABLE.offers[TABLE.rows[decision.plan]]
    assert objection(row, budget) is None
    assert row.local or conditions.link_up is not False
    assert row.lossless or not conditions.drifted
    assert not np.isnan(decision.scores).any()
    again = rule.decide(TABLE, conditions, budget, current, draw)
    assert (again.plan, again.reason) == (decision.plan, decision.reason)
