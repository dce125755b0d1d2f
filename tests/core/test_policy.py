"""Which plan is taken, and why."""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.energy import Power, Radio
from splitinfer.errors import NoFeasiblePlan
from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Cost, Offer, Plan, PlanScore, Uplink, objection, predict
from splitinfer.policy import Robust, Static, Table, forecast, in_saver, policy, price


def offer(plan: str, head_ms: float, nbytes: int, tail_ms: float = 10.0, loss: float | None = 0.0) -> Offer:
    return Offer(
        Plan.parse(plan),
        Cost(head_ms=head_ms, encode_ms=1.0, tail_ms=tail_ms, decode_ms=1.0),
        PlanScore(nbytes, nbytes, loss, loss, n=200),
        depth=head_ms / 200.0,
        local=False,
        lossless=plan.endswith("raw"),
    )


LOCAL = Offer(Plan(4, "none"), Cost(head_ms=200.0), PlanScore(0, 0, 0.0, 0.0), 1.0, local=True, lossless=True)
UPLOAD, EARLY, LATE = offer("0/raw", 0.0, 150_000, 20.0), offer("1/int8", 40.0, 40_000), offer("3/int4", 120.0, 4_000, 5.0)
LOSSY = offer("1/int4", 40.0, 9_000, loss=0.05)
TABLE = Table((UPLOAD, EARLY, LOSSY, LATE, LOCAL))


def link(mbps: float, rtt_ms: float = 20.0, spread: float = 0.2) -> Conditions:
    return Conditions(link_up=True, uplink=Uplink(mbps * 1e6, spread, rtt_ms), queue_ms=0.0)


def pick(conditions: Conditions, budget: Budget = Budget(), current: Plan | None = None, table: Table = TABLE) -> Plan:  # noqa: B008
    return Robust().decide(table, conditions, budget, current).plan


@pytest.mark.parametrize(("mbps", "best"), [(100.0, UPLOAD), (12.0, EARLY), (1.0, LATE), (0.1, LOCAL)])
def test_the_faster_the_link_the_earlier_the_hand_over(mbps: float, best: Offer) -> None:
    assert pick(link(mbps)) == best.plan


CONDITIONS = st.builds(
    Conditions,
    link_up=st.sampled_from([True, False, None]),
    uplink=st.none() | st.builds(Uplink, st.floats(1e3, 1e10), st.floats(0.0, 2.0), st.floats(0.1, 2_000.0)),
    queue_ms=st.none() | st.floats(0.0, 1e5),
    tail_scale=st.floats(0.1, 100.0),
    battery=st.none() | st.floats(0.0, 1.0),
    charging=st.none() | st.booleans(),
    metered=st.none() | st.booleans(),
    saver=st.booleans(),
    drifted=st.booleans(),
)
BUDGETS = st.builds(
    Budget,
    latency_ms=st.none() | st.floats(1.0, 1e4),
    accuracy_loss_max=st.floats(0.0, 1.0),
    energy_mj=st.none() | st.floats(0.0, 1e4),
    uplink_bytes=st.none() | st.integers(0, 10**6),
    depth_min=st.floats(0.0, 1.0),
)
PLANS = st.sampled_from([None, Plan(9, "gone"), *(row.plan for row in TABLE.offers)])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(CONDITIONS, BUDGETS, PLANS)
def test_any_world_gives_a_plan_within_the_hard_limits(conditions: Conditions, budget: Budget, current: Plan | None) -> None:
    decision = Robust().decide(TABLE, conditions, budget, current)
    row = TABLE.offers[TABLE.rows[decision.plan]]
    assert objection(row, budget) is None
    assert row.local or conditions.link_up is not False
    assert row.lossless or not conditions.drifted
    assert len(decision.scores) == len(TABLE.offers)
    assert isfinite(decision.scores[TABLE.rows[decision.plan]])
    assert Robust().decide(TABLE, conditions, budget, decision.plan).plan == decision.plan, "a choice must be stable"


@pytest.mark.parametrize("name", ["thompson", "robust", "linucb", "neurosurgeon"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_price_beyond_all_measure_takes_no_plan_that_is_not_allowed(name: str) -> None:
    budget = Budget(latency_ms=100.0, joule_s=1.7e308, depth_min=0.5)
    chosen = policy(name).decide(TABLE, link(20.0), budget).plan
    assert objection(TABLE.offers[TABLE.rows[chosen]], budget) is None


@pytest.mark.parametrize("name", [field.name for field in fields(Budget) if field.name != "strict"])
@pytest.mark.parametrize("limit", [nan, inf, -1.0])
def test_a_limit_that_is_none_is_refused_by_name(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} of a budget must be a finite number of at least 0"):
        Budget(**{name: limit})


UPLINKS = st.builds(
    Uplink,
    rate_bps=st.floats(1e5, 1e9),
    spread=st.just(0.0),
    rtt_ms=st.floats(0.1, 500.0),
    window_bytes=st.none() | st.floats(1e3, 1e6),
    wake_ms=st.floats(0.0, 600.0),
)
POWERS = st.builds(
    lambda compute_w, *radio: Power(compute_w, 0.0, {"lte": Radio("lte", *radio)}),
    st.floats(0.1, 10.0),
    st.floats(0.0, 5.0),
    st.floats(0.0, 500.0),
    st.floats(0.0, 2.0),
    st.floats(0.0, 1e4),
    st.floats(0.0, 2.0),
    st.floats(0.0, 600.0),
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(UPLINKS, POWERS, st.floats(0.0, 500.0), st.floats(0.1, 20.0), st.sampled_from([None, "lte", "5g"]), st.floats(0.0, 2e4))
def test_the_columns_compute_what_predict_says(
    uplink: Uplink, power: Power, queue_ms: float, tail_scale: float, radio: str | None, idle_ms: float
) -> None:
    conditions = Conditions(True, uplink, queue_ms, tail_scale, radio=radio, radio_idle_ms=idle_ms)
    table = Table(TABLE.offers, power)
    costs = forecast(table, conditions, Budget())
    for index, row in enumerate(table.offers):
        expected = predict(row, conditions, table.power)
        if expected.latency_ms < 5_000:
            assert costs.latency_ms[index] == pytest.approx(expected.latency_ms)
            assert costs.energy_mj[index] == pytest.approx(expected.energy_mj)


def test_the_probability_to_be_late_counts_the_slow_side() -> None:
    budget = Budget(latency_ms=150.0)
    sure = forecast(TABLE, link(15.0, spread=0.01), budget)
    unsure = forecast(TABLE, link(15.0, spread=0.8), budget)
    upload, local = TABLE.rows[UPLOAD.plan], TABLE.rows[LOCAL.plan]
    assert sure.miss[upload] == 0.0
    assert 0.1 < unsure.miss[upload] < 0.5
    assert unsure.latency_ms[upload] > sure.latency_ms[upload]
    assert sure.miss[local] == unsure.miss[local] == pytest.approx(1.0)


def test_a_plan_that_may_be_late_loses_to_one_that_will_not() -> None:
    shaky = link(13.0, spread=1.5)
    assert pick(shaky) == EARLY.plan
    assert pick(shaky, Budget(latency_ms=190.0)) == LATE.plan


def test_the_current_plan_stays_while_the_best_is_hardly_better() -> None:
    at = next(m / 10 for m in range(1_000, 10, -1) if pick(link(m / 10)) == EARLY.plan)  # just slow enough to leave the upload
    assert pick(link(at), current=UPLOAD.plan) == UPLOAD.plan
    assert pick(link(at * 0.7), current=UPLOAD.plan) == EARLY.plan


@pytest.mark.parametrize(("mbps", "best"), [(100.0, UPLOAD), (12.0, UPLOAD), (1.0, LOCAL)])
def test_inputs_unlike_the_samples_leave_lossless_plans(mbps: float, best: Offer) -> None:
    decision = Robust().decide(TABLE, replace(link(mbps), drifted=True), Budget(), LATE.plan)
    assert decision.plan == best.plan
    assert decision.reason.endswith("without loss: inputs are unlike the samples")
    assert pick(replace(link(mbps), drifted=True), Budget(depth_min=1.0)) == LOCAL.plan


def test_where_no_lossless_plan_is_within_the_budget_a_lossy_one_is_better_than_none() -> None:
    only_lossy = Table((EARLY, LATE))
    assert pick(replace(link(12.0), drifted=True), table=only_lossy) == pick(link(12.0), table=only_lossy)


def test_a_dead_link_leaves_the_local_plan() -> None:
    dead = replace(link(100.0), link_up=False)
    decision = Robust().decide(TABLE, dead, Budget(), UPLOAD.plan)
    assert decision.plan == LOCAL.plan
    assert "the link is down" in decision.reason


def test_a_device_without_the_whole_model_keeps_trying_a_dead_link() -> None:
    half = Table((UPLOAD, EARLY))
    assert pick(replace(link(100.0), link_up=False), table=half) == UPLOAD.plan


def test_an_unmeasured_link_is_tried() -> None:
    assert pick(Conditions()) == pick(Conditions(uplink=ASSUMED_UPLINK)) != LOCAL.plan


def test_a_busy_cloud_is_avoided() -> None:
    assert pick(replace(link(100.0), queue_ms=500.0)) == LOCAL.plan
    assert pick(replace(link(100.0), tail_scale=30.0)) == LOCAL.plan


# Budget.


def test_lossy_plans_need_a_budget_for_it() -> None:
    assert pick(link(6.0)) != LOSSY.plan
    assert pick(link(6.0), Budget(accuracy_loss_max=0.05)) == LOSSY.plan


def test_strict_compares_the_bound() -> None:
    row = replace(LOSSY, score=replace(LOSSY.score, accuracy_loss=0.01, accuracy_loss_bound=0.03))
    table = Table((row, LOCAL))
    assert pick(link(6.0), Budget(accuracy_loss_max=0.02), table=table) == row.plan
    assert pick(link(6.0), Budget(accuracy_loss_max=0.02, strict=True), table=table) == LOCAL.plan


def test_privacy_and_volume_are_hard_limits() -> None:
    assert pick(link(100.0), Budget(depth_min=0.5)) == LATE.plan
    assert pick(link(100.0), Budget(uplink_bytes=50_000)) == EARLY.plan


def test_energy_is_limited_where_some_plan_can_keep_to_it() -> None:
    def energy(budget: Budget) -> float:
        chosen = pick(link(0.25), budget)
        return float(forecast(TABLE, link(0.25), budget).energy_mj[TABLE.rows[chosen]])

    assert pick(link(0.25)) == LOCAL.plan
    assert energy(Budget(energy_mj=500.0)) <= 500.0 < energy(Budget())
    assert pick(link(0.25), Budget(energy_mj=1.0)) == LOCAL.plan, "no plan can: the limit cannot choose"


def test_a_budget_that_excludes_everything_says_what_stands_in_the_way() -> None:
    with pytest.raises(NoFeasiblePlan, match=r"0/raw: depth 0.00 is below depth_min 0.90.*relax the budget"):
        pick(link(100.0), Budget(depth_min=0.9), table=Table((UPLOAD, EARLY)))
    with pytest.raises(NoFeasiblePlan, match="it has none"):
        pick(link(100.0), table=Table(()))


# What this device does not hold, and memory.

AWAY = replace(LOCAL, missing=(1, 2, 3))
PART = Table((UPLOAD, EARLY, replace(LATE, missing=(1, 2)), AWAY))


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ((3,), "segment 3 is not held here"),
        ((3, 4, 5), "segments 3..5 are not held here"),
        ((1, 3), "segments 1, 3 are not held here"),
    ],
)
def test_a_plan_over_absent_segments_says_which(missing: tuple[int, ...], why: str) -> None:
    assert objection(replace(LOCAL, missing=missing), Budget(memory_bytes=1, depth_min=1.0)) == why


@settings(derandomize=True, deadline=None, max_examples=200)
@given(CONDITIONS, BUDGETS, PLANS)
def test_no_world_makes_a_device_choose_what_it_does_not_hold(
    conditions: Conditions, budget: Budget, current: Plan | None
) -> None:
    for rule in (Robust(), Static(EARLY.plan), Static(LATE.plan), Static(LOCAL.plan)):
        try:
            decision = rule.decide(PART, conditions, budget, current)
        except NoFeasiblePlan:
            continue
        assert decision.plan.cut <= 1


@pytest.mark.parametrize(
    ("needed", "budget", "why"),
    [
        (210_000_000, Budget(memory_bytes=100_000_000), "needs 210 MB of memory, the budget has 100 MB"),
        (100_400_000, Budget(memory_bytes=100_000_000), "needs 100.4 MB of memory, the budget has 100 MB"),
        (100_000_000, Budget(memory_bytes=100_000_000), None),
        (None, Budget(memory_bytes=1), None),
        (None, Budget(memory_bytes=1, strict=True), "its memory was not measured"),
        (210_000_000, Budget(strict=True), None),
    ],
)
def test_memory_is_a_hard_limit(needed: int | None, budget: Budget, why: str | None) -> None:
    assert objection(replace(LOCAL, memory_bytes=needed), budget) == why


def test_too_much_memory_is_worse_than_a_dead_link() -> None:
    heavy = Table((UPLOAD, EARLY, replace(LOCAL, memory_bytes=50_000_000)))
    dead, light = replace(link(100.0), link_up=False), Budget(memory_bytes=40_000_000)
    assert pick(dead, table=heavy) == Static(EARLY.plan).decide(heavy, dead, Budget()).plan == LOCAL.plan
    assert pick(dead, light, table=heavy) == UPLOAD.plan
    assert Static(EARLY.plan).decide(heavy, dead, light).plan == EARLY.plan


def test_a_budget_that_excludes_everything_says_what_stands_between_it_and_the_device_alone() -> None:
    with pytest.raises(NoFeasiblePlan, match=r"4/none: segments 1\.\.3 are not held here\); relax"):
        pick(link(100.0), Budget(depth_min=0.9), table=PART)


# Battery.


@pytest.mark.parametrize(
    ("battery", "charging", "expected"),
    [
        (None, None, 0.0),
        (0.8, False, 0.0),
        (0.1, True, 0.0),
        (0.5, None, 0.0),
        (0.325, False, 0.1),
        (0.15, False, 1.0),
        (0.0, None, 1.0),
    ],
)
def test_the_price_of_energy(battery: float | None, charging: bool | None, expected: float) -> None:
    assert price(Conditions(battery=battery, charging=charging)) == pytest.approx(expected)


def test_the_saver_does_not_flicker() -> None:
    assert [in_saver(Conditions(battery=b)) for b in (0.21, 0.16, 0.15)] == [False, False, True]
    assert [in_saver(Conditions(battery=b, saver=True)) for b in (0.16, 0.20, 0.21)] == [True, True, False]
    assert not in_saver(Conditions(battery=0.1, charging=True, saver=True))


def test_the_emptier_the_battery_the_less_energy() -> None:
    at = link(0.25, rtt_ms=60.0)
    spent = []
    for battery in (0.8, 0.4, 0.16, 0.1, 0.03):
        conditions = replace(at, battery=battery, charging=False)
        costs = forecast(TABLE, conditions, Budget())
        spent.append(float(costs.energy_mj[TABLE.rows[pick(conditions)]]))
    assert spent == sorted(spent, reverse=True)
    assert spent[-1] < 0.85 * spent[0]


def test_a_critical_battery_takes_the_least_energy_of_the_plans_in_time() -> None:
    empty = replace(link(12.0), battery=0.04, charging=False)
    assert pick(empty) == UPLOAD.plan
    assert pick(empty, Budget(latency_ms=120.0)) == EARLY.plan
    assert "critical" in Robust().decide(TABLE, empty, Budget()).reason
    assert pick(empty, Budget(latency_ms=1.0)) == UPLOAD.plan, "none is in time: then the least energy of all"


# Names and fixed plans.


@pytest.mark.parametrize("text", ["robust", "static:2/int8+zstd1"])
def test_a_policy_is_read_by_its_name(text: str) -> None:
    assert policy(text).name == text


@pytest.mark.parametrize("text", ["", "best", "static", "static:", "static:int8", "robust:1"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CUT/CODEC"):
        policy(text)


def test_a_fixed_plan_gives_way_to_a_dead_link_only() -> None:
    fixed = Static(EARLY.plan)
    assert fixed.decide(TABLE, link(0.01), Budget()).plan == EARLY.plan
    assert fixed.decide(TABLE, Conditions(), Budget(), LOCAL.plan).plan == EARLY.plan
    assert fixed.decide(TABLE, Conditions(link_up=False), Budget()).plan == LOCAL.plan
    assert fixed.decide(Table((UPLOAD, EARLY)), Conditions(link_up=False), Budget()).plan == EARLY.plan


@pytest.mark.parametrize(("plan", "why"), [("7/int8", "no such plan"), ("1/int4", "accuracy loss")])
def test_a_fixed_plan_is_not_above_the_budget(plan: str, why: str) -> None:
    with pytest.raises(NoFeasiblePlan, match=why):
        Static(Plan.parse(plan)).decide(TABLE, link(10.0), Budget())
