"""What a request is held to: patience with the cloud, and the start of a race."""

from __future__ import annotations

import pytest

from splitinfer.events import BudgetSet, Event, Inferred, LinkChanged, ModelReady, Outcome, PowerRead, Requested, Transferred
from splitinfer.hedges import KEPT_MOST
from splitinfer.payload import Part, Payload
from splitinfer.plan import Budget, Cost, Plan, PlanScore, Profile, Scorecard
from splitinfer.policy import RACE_MARGIN, Robust, Static
from splitinfer.scheduler import Scheduler
from splitinfer.terms import PATIENCE_MAX_MS, Request
from tests.core.test_flow import DIGEST, model

PLAN = Plan(1, "int8")
PROFILE = Profile(DIGEST, "board", "engine", (50.0, 50.0, 50.0), tail_ms=(9.0, 6.0, 3.0, 0.0))
SCORES = Scorecard(DIGEST, {PLAN: PlanScore(20_000, 20_000, 0.0, 0.0, 100)})
DUE = Budget(latency_ms=200.0)
PATIENT = Budget()


def scheduler(*events: Event, budget: Budget = DUE, holds: int = 3) -> Scheduler:
    made = Scheduler(Static(PLAN), budget)
    made.handle(LinkChanged(True), 0.0)
    for nbytes in (256, 100_000) * 5:
        made.handle(Transferred(nbytes, 20.0 + 8e3 * nbytes / 10e6), 100.0)
    for event in (ModelReady(model(holds=holds), PROFILE, SCORES), *events):
        made.handle(event, 100.0)
    return made


def request(
    made: Scheduler, budget: Budget = DUE, began_ms: float = 1_000.0, now_ms: float = 1_010.0, holds: int = 3
) -> Request:
    return Request(began_ms, budget, holds == 3, made, lambda: now_ms)


def payload(cut: int = 1, nbytes: int = 20_000) -> Payload:
    return Payload(DIGEST, cut, "int8", (Part("t", "uint8", (nbytes,), "int8", (memoryview(bytes(nbytes)),)),))


# The race.


@pytest.mark.parametrize(("cut", "rest_ms"), [(0, 150.0), (1, 100.0), (2, 50.0)])
def test_a_race_starts_when_the_rest_would_just_be_in_time(cut: int, rest_ms: float) -> None:
    assert request(scheduler()).terms().race_from_ms(cut) == pytest.approx(1_000 + 200 - RACE_MARGIN * rest_ms)


def test_where_it_cannot_be_in_time_it_starts_at_once() -> None:
    assert request(scheduler(), Budget(latency_ms=100.0)).terms().race_from_ms(0) == 1_010.0
    assert request(scheduler(), now_ms=1_180.0).terms().race_from_ms(1) == 1_180.0


def test_it_follows_how_fast_the_device_is_now() -> None:
    slow = [Inferred(PLAN, Cost(head_ms=100.0), Outcome.REMOTE, (100.0, None, None))] * 10
    assert request(scheduler(*slow)).terms().race_from_ms(1) == pytest.approx(max(1_200 - RACE_MARGIN * 200, 1_010.0))


@pytest.mark.parametrize(
    ("events", "budget"),
    [
        ((), Budget()),
        ((), Budget(latency_ms=200.0, hedge_max_share=0.0)),
        ((PowerRead(0.10, charging=False),), DUE),
    ],
    ids=["no deadline", "no share", "saver"],
)
def test_without_a_deadline_a_share_or_a_battery_there_is_no_race(events: tuple[Event, ...], budget: Budget) -> None:
    assert request(scheduler(*events), budget).terms().race_from_ms(1) is None


def test_a_charger_allows_it_again() -> None:
    made = scheduler(PowerRead(0.10, charging=False), PowerRead(0.10, charging=True))
    assert request(made).terms().race_from_ms(1) is not None


def test_a_budget_that_forbids_the_local_plan_forbids_to_race_it() -> None:
    heavy = Profile(DIGEST, "board", "engine", (50.0,) * 3, tail_ms=(9.0, 6.0, 3.0, 0.0), peak_bytes=(0, 10, 20, 30))
    made = scheduler(ModelReady(model(), heavy, SCORES))
    assert request(made, Budget(latency_ms=200.0, memory_bytes=30)).terms().race_from_ms(1) is not None
    assert request(made, Budget(latency_ms=200.0, memory_bytes=20)).terms().race_from_ms(1) is None


def raced(made: Scheduler, n: int, share: float) -> int:
    """How many of some requests race, if every one of them would."""
    budget, count = Budget(latency_ms=200.0, hedge_max_share=share), 0
    made.handle(BudgetSet(budget), 200.0)
    for step in range(n):
        now_ms = 1_000.0 + step * 300.0
        made.handle(Requested(), now_ms)
        races = request(made, budget, now_ms, now_ms).terms().race_from_ms(1) is not None
        count += races
        outcome = Outcome.RACED_LOCAL if races else Outcome.REMOTE
        made.handle(Inferred(PLAN, Cost(head_ms=50.0, uplink_ms=30.0), outcome, (50.0, None, None)), now_ms + 80.0)
    return count


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_the_share_of_races_is_kept(share: float) -> None:
    assert raced(scheduler(), 300, share) == pytest.approx(300 * share, abs=KEPT_MOST + 2)


# Patience.


def patience_ms(made: Scheduler, budget: Budget = PATIENT, nbytes: int = 20_000, holds: int = 3) -> float:
    now_ms = 1_010.0
    until_ms = request(made, budget, now_ms=now_ms, holds=holds).terms().patience_until_ms(payload(nbytes=nbytes))
    assert until_ms is not None
    return until_ms - now_ms


def test_the_longer_a_reply_should_take_the_longer_it_is_waited_for() -> None:
    made = scheduler(budget=PATIENT)
    short_ms, long_ms = patience_ms(made, nbytes=20_000), patience_ms(made, nbytes=400_000)
    assert made.reply_ms(1, 20_000) < short_ms < long_ms <= PATIENCE_MAX_MS


def test_nobody_waits_for_ever_where_the_device_can_go_on() -> None:
    made = scheduler(budget=PATIENT)
    assert patience_ms(made, nbytes=10**9) == PATIENCE_MAX_MS
    crawling = Profile(DIGEST, "board", "engine", (5e3, 5e3, 5e3), tail_ms=(9.0, 6.0, 3.0, 0.0))
    made.handle(ModelReady(model(), crawling, SCORES), 200.0)
    assert PATIENCE_MAX_MS < patience_ms(made, nbytes=10**9) <= 3 * 10e3


def test_a_device_that_cannot_finish_waits_until_the_deadline() -> None:
    made = scheduler(holds=2)
    assert patience_ms(made, DUE, holds=2) == pytest.approx(190.0)
    assert patience_ms(made, PATIENT, holds=2, nbytes=10**8) > PATIENCE_MAX_MS, "without one, three times as long as it should"


# Being late.


@pytest.mark.parametrize(("now_ms", "late"), [(1_200.0, False), (1_200.1, True)])
def test_a_request_is_late_after_its_latency(now_ms: float, late: bool) -> None:
    assert request(scheduler(), now_ms=now_ms).late() is late
    assert not request(scheduler(), Budget(), now_ms=now_ms).late()


def test_before_a_model_there_is_no_race() -> None:
    assert request(Scheduler(Robust(), DUE)).terms().race_from_ms(0) is None
