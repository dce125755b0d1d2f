"""What the scheduler says to single events, and what it never does."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from math import inf, isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.errors import NoFeasiblePlan, Reason
from splitinfer.events import (
    BudgetSet,
    Event,
    Failed,
    Inferred,
    InputsDrifted,
    LinkChanged,
    LoadReported,
    ModelReady,
    Outcome,
    PlanChanged,
    PowerRead,
    ProbeDue,
    Requested,
    RequestRefused,
    Served,
    Transferred,
    Woken,
)
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Budget, Cost, Plan, PlanScore, Profile, Scorecard, objection
from splitinfer.policy import Policy, Robust, Static, policy
from splitinfer.scheduler import PROBE_BYTES, Scheduler
from splitinfer.scheduler.exploration import PROBE_GAP_GROWTH
from splitinfer.scheduler.pace import DWELL_MS

DIGEST = Digest("0" * 64)
SEGMENT_MS = (60.0, 60.0, 60.0)
UPLOAD, MIDDLE, LOCAL = Plan(0, "raw"), Plan(1, "int8"), Plan(3, "none")
PROBES = [ProbeDue(nbytes) for nbytes in PROBE_BYTES]


def ready(holds: frozenset[int] = frozenset({0, 1, 2})) -> ModelReady:
    """180 ms on the device, 18 ms in the cloud; 150 kB at cut 0 and 12 kB at cut 1."""
    shapes = ((1, 150_528), (1, 12_000), (1, 80_000))
    specs = [TensorSpec(f"t{k}", "uint8" if k == 0 else "float32", shape) for k, shape in enumerate(shapes)]
    cuts = [Cut(k, f"{k:012x}", f"t{k}", (spec,), k / 3) for k, spec in enumerate(specs)] + [
        Cut(3, f"{3:012x}", "end", (), 1.0)
    ]
    segments = tuple(Segment(i, f"{i:064x}", 1, 1, 1, (f"t{i}",), (f"t{i + 1}",)) for i in range(3))
    output = TensorSpec("t3", "float32", (1, 10))
    model = Model(DIGEST, "net", "1", (specs[0],), (output,), tuple(cuts), segments, holds)
    profile = Profile(DIGEST, "made up", "none", SEGMENT_MS, {MIDDLE: 1.0}, {}, tail_ms=(18.0, 12.0, 6.0, 0.0))
    scores = {UPLOAD: PlanScore(150_528, 150_528, 0.0, 0.0, 200), MIDDLE: PlanScore(12_000, 12_000, 0.0, 0.0, 200)}
    return ModelReady(model, profile, Scorecard(DIGEST, scores))


def scheduler(*events: Event, rule: Policy | None = None) -> Scheduler:
    """After some events, a millisecond apart."""
    made = Scheduler(rule or Robust())
    for at_ms, event in enumerate((ready(), *events)):
        made.handle(event, float(at_ms))
    return made


def inferred(plan: Plan = LOCAL, outcome: Outcome = Outcome.LOCAL) -> Inferred:
    return Inferred(plan, Cost(head_ms=180.0), outcome, SEGMENT_MS[: plan.cut])


def changes(said: list[Event]) -> list[tuple[Plan | None, Plan, str]]:
    return [(event.old, event.new, event.cause) for event in said if isinstance(event, PlanChanged)]


def fast(nbytes: int = 100_000, rate_bps: float = 100e6, rtt_ms: float = 5.0) -> Transferred:
    return Transferred(nbytes, rtt_ms + 8e3 * nbytes / rate_bps)


def test_before_a_model_there_is_no_plan_but_what_is_heard_is_kept() -> None:
    made = Scheduler(Robust())
    heard: list[Event] = [LinkChanged(True), fast(256), fast(), fast(), PowerRead(0.5), inferred(), LoadReported(3.0)]
    for at_ms, event in enumerate(heard):
        assert made.handle(event, float(at_ms)) == []
    assert (made.plan, made.table, made.wakeup_at_ms) == (None, None, None)
    with pytest.raises(ValueError, match="no plan 0/raw"):
        made.predicted(UPLOAD)
    assert changes(made.handle(ready(), 100.0)) == [(None, UPLOAD, "start")]


def test_the_first_plan_tries_the_link() -> None:
    made = Scheduler(Robust())
    said = made.handle(ready(), 0.0)
    assert changes(said) == [(None, MIDDLE, "start")]
    assert isinstance(said[0], PlanChanged)
    assert "expects" in said[0].reason


def test_without_a_cloud_the_first_plan_is_local_and_nothing_is_probed() -> None:
    made = Scheduler(Robust())
    made.handle(LinkChanged(False, "no cloud"), 0.0)
    assert changes(made.handle(ready(), 1.0)) == [(None, LOCAL, "start")]
    assert made.handle(Requested(), 10_000.0) == []
    assert made.wakeup_at_ms is None


def test_another_model_starts_anew() -> None:
    made = scheduler()
    assert changes(made.handle(ready(frozenset({0})), 10.0)) == [(None, MIDDLE, "start")]
    assert made.table is not None
    assert objection(made.table.offers[made.table.rows[LOCAL]], Budget()) == "segments 1..2 are not held here"


def test_a_change_within_the_dwell_waits_for_wake() -> None:
    made = scheduler(LinkChanged(True, "connected"))
    for at_ms in (10.0, 20.0, 30.0, 40.0):
        assert changes(made.handle(fast(), at_ms)) == []
    assert made.plan == MIDDLE
    assert made.wakeup_at_ms == DWELL_MS
    assert changes(made.wake(DWELL_MS - 1)) == []
    assert changes(made.wake(DWELL_MS)) == [(MIDDLE, UPLOAD, "link")]
    assert made.wakeup_at_ms is None


def test_a_wish_that_passes_is_forgotten() -> None:
    made = scheduler(LinkChanged(True, "connected"), *[fast()] * 4)
    assert made.wakeup_at_ms is not None
    for _ in range(6):
        made.handle(fast(rate_bps=5e6, rtt_ms=30.0), 50.0)
    assert made.wakeup_at_ms is None
    assert made.wake(5_000.0) == []


def test_changes_of_mind_become_slower_and_slower() -> None:
    made = scheduler()
    at_ms: list[float] = []
    for now_ms in range(1_000, 120_000, 100):
        busy = (now_ms // 1_000) % 2 == 0
        said = made.handle(LoadReported(2_000.0 if busy else 0.0), float(now_ms))
        said += made.wake(float(now_ms))
        at_ms += [now_ms for _ in changes(said)]
    gaps = [b - a for a, b in pairwise(at_ms)]
    assert len(at_ms) <= 16
    assert gaps[0] < 4_000
    assert gaps[-1] >= 8_000, gaps


def test_link_and_power_alone_change_the_plan_at_once() -> None:
    made = scheduler(LinkChanged(True, "connected"))
    assert changes(made.handle(LinkChanged(False, "timeout"), 20.0)) == [(MIDDLE, LOCAL, "link")]
    assert changes(made.handle(LinkChanged(True, "connected"), 30.0)) == [(LOCAL, MIDDLE, "link")]
    made = scheduler(LinkChanged(True), *[fast(n, rate_bps=1.2e6, rtt_ms=100.0) for n in (256, 16_384, 12_000, 12_000, 12_000)])
    made.wake(2_000.0)
    assert made.plan == LOCAL
    assert changes(made.handle(PowerRead(0.10, charging=False), 2_010.0)) == [(LOCAL, MIDDLE, "battery")]
    assert changes(made.handle(PowerRead(0.10, charging=True), 2_020.0)) == [(MIDDLE, LOCAL, "battery")]


def test_the_saver_is_left_later_than_it_is_entered() -> None:
    made = scheduler(PowerRead(0.16))
    assert not made.conditions.saver
    made.handle(PowerRead(0.15), 10.0)
    made.handle(PowerRead(0.18), 20.0)
    assert made.conditions.saver
    made.handle(PowerRead(0.21), 30.0)
    assert not made.conditions.saver


def test_a_budget_acts_at_once_and_an_impossible_one_changes_nothing() -> None:
    made = scheduler()
    assert changes(made.handle(BudgetSet(Budget(depth_min=0.9)), 5.0)) == [(MIDDLE, LOCAL, "budget")]
    assert changes(made.handle(BudgetSet(Budget()), 6.0)) == [(LOCAL, MIDDLE, "budget")]
    half = Scheduler(Robust())
    half.handle(ready(frozenset({0})), 0.0)
    with pytest.raises(NoFeasiblePlan):
        half.handle(BudgetSet(Budget(depth_min=0.9)), 5.0)
    assert (half.budget, half.plan) == (Budget(), MIDDLE)
    with pytest.raises(NoFeasiblePlan):
        Scheduler(Robust(), Budget(depth_min=0.9)).handle(ready(frozenset({0})), 0.0)


def test_a_model_that_cannot_be_used_leaves_the_old_one() -> None:
    made = Scheduler(Static(MIDDLE))
    made.handle(ready(), 0.0)
    table = made.table
    with pytest.raises(NoFeasiblePlan, match="segment 0 is not held here"):
        made.handle(ready(frozenset()), 1.0)
    assert (made.plan, made.table) == (MIDDLE, table)


def test_a_fixed_plan_falls_back_and_comes_back() -> None:
    made = Scheduler(Static(UPLOAD))
    made.handle(ready(), 0.0)
    assert changes(made.handle(LinkChanged(False), 1.0)) == [(UPLOAD, LOCAL, "link")]
    assert changes(made.handle(LinkChanged(True), 2.0)) == [(LOCAL, UPLOAD, "link")]
    assert changes(made.handle(fast(rate_bps=1e4), 3.0)) == []


def test_a_slow_cloud_is_not_taken_for_a_slow_link() -> None:
    def rate_bps(queue_ms: float) -> float:
        made = Scheduler(Static(MIDDLE))
        before: list[Event] = [ready(), LinkChanged(True), *[fast(nbytes) for nbytes in (256, 100_000, 256, 100_000)]]
        late = Transferred(0, 300.0, complete=False, attempted_bytes=12_000)
        for event in (*before, LoadReported(2 * queue_ms), late, late):
            made.handle(event, 10.0)
        assert made.conditions.uplink is not None
        return made.conditions.uplink.rate_bps

    assert rate_bps(queue_ms=400.0) == pytest.approx(100e6, rel=0.1)
    assert rate_bps(queue_ms=0.0) < 50e6


def test_a_refusing_cloud_is_left_alone_for_a_while() -> None:
    made = scheduler(LinkChanged(True, "connected"))
    assert changes(made.handle(RequestRefused(Reason.OVERLOADED), 2_000.0)) == [(MIDDLE, LOCAL, "load")]
    said = [event for at_ms in range(3_000, 40_000, 500) for event in made.handle(Requested(), float(at_ms))]
    assert changes(said) == [(LOCAL, MIDDLE, "load")]


def test_a_local_device_probes_when_it_is_asked_to_infer() -> None:
    made = scheduler(LinkChanged(True), *[fast(12_000, rate_bps=2e5)] * 4)
    made.wake(1_500.0)
    assert made.plan == LOCAL
    assert made.wakeup_at_ms is None, "nobody asks for an inference: nothing is sent"
    said = made.handle(Requested(), 4_000.0)
    assert said == PROBES
    assert made.wakeup_at_ms is None
    assert made.handle(Requested(), 4_100.0) == []
    due_ms = made.wakeup_at_ms
    assert due_ms is not None
    assert made.wake(due_ms) == PROBES
    made.handle(Requested(), due_ms + 10)
    later_ms = made.wakeup_at_ms
    assert later_ms is not None
    assert later_ms - due_ms == PROBE_GAP_GROWTH * (due_ms - 4_000.0)


def test_what_a_probe_finds_is_named_exploration() -> None:
    made = scheduler(LinkChanged(True), *[fast(12_000, rate_bps=2e5)] * 4)
    made.wake(1_500.0)
    assert made.handle(Requested(), 4_000.0) == PROBES
    said = [event for at_ms, nbytes in enumerate(PROBE_BYTES) for event in made.handle(fast(nbytes), 4_010.0 + at_ms)]
    said += made.handle(fast(PROBE_BYTES[1]), 4_020.0)
    assert [cause for _, _, cause in changes(said)] == ["explore"]
    assert made.plan != LOCAL


def test_where_even_a_perfect_link_would_not_help_nothing_is_probed() -> None:
    made = Scheduler(Robust(), Budget(depth_min=0.9))
    made.handle(ready(), 0.0)
    made.handle(LinkChanged(True), 1.0)
    assert [made.handle(Requested(), at_ms * 1e3) for at_ms in range(1, 60)] == [[]] * 59


def test_a_request_that_stands_behind_the_plan_follows_the_best_that_is_left() -> None:
    made = Scheduler(Robust())
    with pytest.raises(NoFeasiblePlan):
        made.plan_from(0)
    made = scheduler(LinkChanged(True, "connected"))
    assert made.plan_from(0) == made.plan_from(1) == made.plan == MIDDLE
    assert made.plan_from(2).cut >= 2
    assert made.plan_from(0, Budget(depth_min=0.9)) == LOCAL
    assert made.plan == MIDDLE


def test_events_that_say_nothing_about_the_conditions_are_ignored() -> None:
    made = scheduler()
    before = made.conditions
    ignored: list[Event] = [PlanChanged(None, LOCAL, "start"), ProbeDue(1), Served(DIGEST, 0, "raw", 1.0, 1.0, 1.0, 1)]
    ignored += [InputsDrifted(MIDDLE, ("t1",))]
    for event in ignored:
        assert made.handle(event, 5_000.0) == []
    assert made.conditions == before


def odd(plan: Plan = MIDDLE, outcome: Outcome = Outcome.REMOTE, tensor: str = "t1") -> Inferred:
    return replace(inferred(plan, outcome), departed=(tensor,))


def test_a_drift_is_said_once_and_counts_for_its_model_only() -> None:
    made = scheduler(odd(), odd())
    said = made.handle(odd(), 10.0)
    assert said[0] == InputsDrifted(MIDDLE, ("t1",))
    assert [(new, cause) for _, new, cause in changes(said)] == [(LOCAL, "drift")]
    assert made.handle(odd(), 11.0) == [], "what was on its way says nothing new"
    assert changes(made.handle(ready(), 12.0)) == [(None, MIDDLE, "start")]
    assert not made.conditions.drifted


def test_the_time_that_another_codec_took_is_not_the_plans() -> None:
    for departed, encode_ms in (((), 50.0), (("t1",), 1.0)):
        made = Scheduler(Static(MIDDLE))
        made.handle(ready(), 0.0)
        for at_ms in range(10):
            event = Inferred(MIDDLE, Cost(encode_ms=50.0), Outcome.REMOTE, (60.0,), departed=departed)
            made.handle(event, float(at_ms))
        assert made.profile is not None
        assert made.profile.encode_ms[MIDDLE] == encode_ms


def test_a_fixed_plan_stays_while_inputs_drift() -> None:
    made = Scheduler(Static(MIDDLE))
    for at_ms, event in enumerate((ready(), odd(), odd(), odd())):
        said = made.handle(event, float(at_ms))
    assert said == [InputsDrifted(MIDDLE, ("t1",))]
    assert made.plan == MIDDLE


def test_a_device_without_a_lossless_plan_keeps_a_lossy_one() -> None:
    made = Scheduler(Robust(), Budget(uplink_bytes=20_000))
    for at_ms, event in enumerate((ready(frozenset({0})), odd(), odd(), odd())):
        said = made.handle(event, float(at_ms))
    assert said == [InputsDrifted(MIDDLE, ("t1",))]
    assert (made.plan, made.conditions.drifted) == (MIDDLE, True)


def test_requests_that_coded_no_float_with_loss_say_nothing_of_the_inputs() -> None:
    made = scheduler(*[odd(LOCAL, Outcome.LOCAL), odd(MIDDLE, Outcome.LOCAL), odd(UPLOAD), odd(Plan(7, "gone"))] * 5)
    assert not made.conditions.drifted


ANY = st.floats(allow_nan=True, allow_infinity=True)
EVENTS = st.one_of(
    st.builds(Transferred, st.integers(0, 10**7), ANY, st.booleans(), st.booleans(), st.none() | st.integers(0, 10**7)),
    st.builds(Transferred, st.integers(1, 10**6), st.floats(0.1, 5_000.0)),
    st.builds(
        LinkChanged,
        st.booleans(),
        st.just(""),
        st.none() | st.booleans(),
        st.sampled_from([None, "wifi", "lte", "pigeon"]),
        st.sampled_from([None, "home", "away"]),
    ),
    st.just(Requested()),
    st.just(Woken()),
    st.builds(PowerRead, st.none() | ANY | st.floats(0.0, 1.0), st.none() | st.booleans()),
    st.builds(LoadReported, ANY, st.none() | ANY),
    st.builds(RequestRefused, st.sampled_from(Reason)),
    st.builds(
        BudgetSet,
        st.builds(
            Budget,
            st.none() | st.floats(1.0, 1e4),
            st.floats(0, 1),
            st.booleans(),
            depth_min=st.floats(0.0, 2.0),
            battery_lasts_ms=st.none() | st.floats(0.0, 1e9),
            battery_share_per_h=st.none() | st.floats(0.0, 1.0),
            joule_s=st.floats(0.0, 10.0),
        ),
    ),
    st.builds(
        Inferred,
        st.sampled_from([UPLOAD, MIDDLE, LOCAL, Plan(7, "gone")]),
        st.builds(Cost, head_ms=ANY, encode_ms=ANY, tail_ms=ANY, energy_mj=st.none() | ANY),
        st.sampled_from(Outcome),
        st.lists(st.none() | ANY | st.floats(1.0, 500.0), max_size=5).map(tuple),
        departed=st.sampled_from([(), ("t1",)]),
    ),
    st.builds(Failed, st.just(MIDDLE), st.just(Outcome.EXPIRED), st.just("")),
    st.sampled_from([ready(), ready(frozenset({0})), ready(frozenset({1}))]),
)


RULES = ("thompson", "robust", "neurosurgeon", "neurosurgeon+kalman", "linucb")


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(RULES), st.lists(st.tuples(EVENTS, st.floats(0.0, 5_000.0)), max_size=40))
def test_any_events_leave_a_plan_of_the_table_and_a_wake_in_order(name: str, events: list[tuple[Event, float]]) -> None:
    made, now_ms = scheduler(rule=policy(name)), 0.0
    told = made.plan
    for event, gap_ms in events:
        now_ms += gap_ms
        said: list[Event] = []
        if made.wakeup_at_ms is not None and made.wakeup_at_ms <= now_ms:
            said = made.wake(now_ms)
            assert made.wakeup_at_ms is None or made.wakeup_at_ms > now_ms, "a wake must not ask for itself"
        try:
            said += made.handle(event, now_ms)
        except NoFeasiblePlan:
            assert isinstance(event, BudgetSet | ModelReady)
        told = next((new for _, new, _ in reversed(changes(said))), told)
        assert made.plan == told
        assert made.table is not None
        assert made.plan in made.table.rows
        cost = made.predicted(made.plan)
        assert 0.0 <= cost.latency_ms < float("inf")
        assert len(changes(said)) <= 2
        assert not numbers_that_are_none(made)


def numbers_that_are_none(made: Scheduler) -> list[str]:
    """Fields of the conditions that are not finite; of the time since the last upload infinity is one: there was none."""
    seen = asdict(made.conditions)
    seen |= {f"uplink.{name}": value for name, value in (seen.pop("uplink") or {}).items()}
    if seen["radio_idle_ms"] == inf:
        del seen["radio_idle_ms"]
    return [name for name, value in seen.items() if isinstance(value, float) and not isfinite(value)]
