"""What the scheduler makes of what it is told of batteries, networks and servers: the parts at work together."""

from __future__ import annotations

from math import inf, nan

import pytest

from splitinfer.battery import HOUR_MS
from splitinfer.draw import uniform
from splitinfer.events import (
    BudgetSet,
    Event,
    Inferred,
    LinkChanged,
    LoadReported,
    Outcome,
    PlanChanged,
    PowerRead,
    Requested,
    Transferred,
)
from splitinfer.plan import Budget, Cost
from splitinfer.policy import LinUCB, Policy, Robust, Thompson, price
from splitinfer.scheduler import Scheduler
from tests.core.test_scheduler import LOCAL, MIDDLE, SEGMENT_MS, UPLOAD, fast, ready, scheduler

# A battery that has to last.


def test_a_goal_that_is_set_before_the_first_reading_begins_at_it() -> None:
    made = scheduler(BudgetSet(Budget(battery_lasts_ms=10 * HOUR_MS)))
    assert made.conditions.joule_s is None
    made.handle(PowerRead(0.8, False), HOUR_MS)
    assert made.conditions.joule_s == 0.0
    made.handle(PowerRead(0.71, False), 2 * HOUR_MS)
    assert made.conditions.joule_s is not None
    assert price(made.conditions) == made.conditions.joule_s > 0.0


def test_a_goal_of_a_budget_that_was_there_from_the_start_begins_at_the_first_reading_too() -> None:
    made = Scheduler(Robust(), Budget(battery_share_per_h=0.05))
    made.handle(ready(), 0.0)
    made.handle(PowerRead(0.8, False), 0.0)
    made.handle(PowerRead(0.72, False), HOUR_MS)
    assert price(made.conditions) > 0.0
    made.handle(PowerRead(0.72, True), HOUR_MS + 1)
    assert price(made.conditions) == 0.0


def test_debt_changes_the_plan_to_one_of_less_energy_and_says_why() -> None:
    made = scheduler(BudgetSet(Budget(battery_lasts_ms=8 * HOUR_MS)), PowerRead(0.8, False))
    for nbytes in (256, 16_384, 12_000, 12_000, 12_000):
        made.handle(fast(nbytes, rate_bps=1.2e6, rtt_ms=100.0), 100.0)
    made.wake(5_000.0)
    assert made.plan == LOCAL
    said = made.handle(PowerRead(0.6, False), HOUR_MS)
    said += made.handle(Requested(), HOUR_MS + 60_000.0)
    said += made.wake(HOUR_MS + 120_000.0)
    assert [(event.new, event.cause) for event in said if isinstance(event, PlanChanged)] == [(MIDDLE, "battery")]


@pytest.mark.parametrize("energy_mj", [nan, inf, -1e9])
def test_energy_that_is_none_is_not_spent(energy_mj: float) -> None:
    made = scheduler(PowerRead(0.8, False), BudgetSet(Budget(battery_lasts_ms=HOUR_MS)))
    for step in range(1, 4):
        made.handle(PowerRead(0.8 - step / 100, False), step * 1e5)
        made.handle(Inferred(LOCAL, Cost(head_ms=180.0, energy_mj=energy_mj), Outcome.LOCAL, SEGMENT_MS), step * 1e5 + 1)
    made.handle(Requested(), 4e5)
    assert made.conditions.joule_s is not None
    assert 0.0 <= made.conditions.joule_s < 100.0


# A server that tells lies, and one that says nothing.


def lied_to(rule: Policy, late_ms: float, answered: bool, n: int = 120) -> list[bool]:
    """Whether each request went to the cloud. It says that it is idle and that its link is fast, and takes seconds."""
    made = Scheduler(rule)
    made.handle(ready(), 0.0)
    made.handle(LinkChanged(True), 0.0)
    for nbytes in (256, 100_000) * 4:
        made.handle(fast(nbytes), 100.0)
    now_ms, remote = 1_000.0, []
    for _ in range(n):
        now_ms += 500.0
        said: list[Event] = made.wake(now_ms) + made.handle(Requested(), now_ms)
        assert not any(isinstance(event, PlanChanged) and event.new == event.old for event in said)
        plan = made.plan
        assert plan is not None
        remote.append(plan != LOCAL)
        head_ms = sum(SEGMENT_MS[: plan.cut])
        if plan == LOCAL:
            now_ms += head_ms
            made.handle(Inferred(plan, Cost(head_ms=head_ms), Outcome.LOCAL, SEGMENT_MS), now_ms)
            continue
        now_ms += head_ms + late_ms
        made.handle(Transferred(150_000 if plan == UPLOAD else 12_000, 17.0), now_ms)
        if answered:
            made.handle(LoadReported(0.0, 1.0), now_ms)
        cost = Cost(head_ms=head_ms, uplink_ms=12.0 if answered else late_ms, queue_ms=late_ms - 22.0 if answered else 0.0)
        outcome = Outcome.REMOTE if answered else Outcome.RESUMED
        made.handle(Inferred(plan, cost, outcome, SEGMENT_MS[: plan.cut]), now_ms)
    return remote


@pytest.mark.parametrize("rule", [Robust(), Thompson()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("answered", [True, False], ids=["answers late", "never answers"])
@pytest.mark.parametrize("late_ms", [1_000.0, 4_000.0])
def test_a_device_leaves_a_cloud_that_takes_seconds_whatever_that_says(rule: Policy, answered: bool, late_ms: float) -> None:
    remote = lied_to(rule, late_ms, answered)
    assert remote[:1] == [True]
    assert False in remote[:4]
    assert sum(remote) <= 0.15 * len(remote)


def test_a_cloud_that_answers_in_time_is_kept() -> None:
    assert all(lied_to(Robust(), 30.0, answered=True))


# Reports that cannot be true.


@pytest.mark.parametrize(
    "transfer",
    [
        Transferred(-1_000_000, 20.0),
        Transferred(-14_480, 20.0, complete=False),
        Transferred(10**400, 20.0),
        Transferred(1_000, nan),
        Transferred(1_000, inf),
    ],
    ids=["below 0", "the whole window", "more than a float holds", "no number", "for ever"],
)
def test_a_transfer_that_cannot_be_changes_nothing(transfer: Transferred) -> None:
    made = scheduler(LinkChanged(True), fast(12_000))
    before = made.conditions
    assert made.handle(transfer, 200.0) == []
    assert made.conditions == before
    made.handle(Requested(), 1_000.0)
    assert made.conditions.uplink is not None
    assert made.conditions.uplink.opening_ms(150_000) >= 0.0


def test_a_clock_that_jumps_back_a_little_makes_nothing_cheaper_than_free() -> None:
    made = scheduler(LinkChanged(True), fast(12_000))
    for now_ms in (5_000.0, 5_001.0, 1.0, 5_002.0, 0.0, 6_000.0):
        made.handle(Requested(), now_ms)
        assert 0.0 <= made.conditions.opening_share <= 1.0


# Draws.


def test_the_draws_of_a_seed_are_the_same_and_those_of_another_are_others() -> None:
    def plans(seed: int) -> list[object]:
        made = Scheduler(Thompson(), seed=seed)
        said = made.handle(ready(), 0.0) + made.handle(LinkChanged(True), 1.0)
        for step in range(40):
            now_ms = 2_000.0 + 3_000.0 * step
            said += made.handle(Requested(), now_ms) + made.wake(now_ms)
            if step % 4 == 0:
                said += made.handle(fast(12_000, rate_bps=1e6 * (1 + 30 * uniform(1, step))), now_ms + 50.0)
        return [*said]

    def shown(seed: int) -> list[str]:
        return [repr(event) for event in plans(seed)]

    assert shown(1) == shown(1)
    assert len({tuple(shown(seed)) for seed in range(1, 9)}) > 2


def test_a_bandit_in_the_scheduler_learns_from_answers_alone() -> None:
    made = Scheduler(LinUCB())
    made.handle(ready(), 0.0)
    made.handle(Inferred(LOCAL, Cost(head_ms=180.0), Outcome.LOCAL, SEGMENT_MS), 1.0)
    made.handle(Inferred(MIDDLE, Cost(head_ms=60.0, uplink_ms=50.0), Outcome.RESUMED, SEGMENT_MS), 2.0)
    assert isinstance(made.policy, LinUCB)
    assert made.policy.learnt_from == 0
    made.handle(Inferred(MIDDLE, Cost(head_ms=60.0, uplink_ms=50.0), Outcome.REMOTE, SEGMENT_MS[:1]), 3.0)
    assert made.policy.learnt_from == 1
