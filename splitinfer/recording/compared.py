"""Lives a recording again beside another policy: what that would have done, and what it would have cost.

What did not happen was not measured. The other policy is told what the recorded one measured, not what its own plans would have
met; and its costs are predicted, by the one formula (`plan.predict`), under what the recorded scheduler believed when the
request came. The recorded plans are predicted in the same way, so that like is held against like. Races are in no prediction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from splitinfer.events import Event, Failed, Inferred, Outcome, PlanChanged, Requested
from splitinfer.plan import Plan
from splitinfer.policy import Policy
from splitinfer.recording.reader import Recording
from splitinfer.recording.replay import ANSWERS, tell
from splitinfer.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        at_ms: when it came.
        plan: in force then.
        carried_out: what became of it: a plan may change at a cut.
        outcome: how it ended.
        measured_ms: what it took; None = it had no answer.
        predicted_ms: what the plan in force should have taken; None = the link was believed dead, and it needs one.
        other: the other policy's plan.
        other_predicted_ms: what that should have taken.
    """

    at_ms: float
    plan: Plan
    carried_out: Plan
    outcome: Outcome
    measured_ms: float | None
    predicted_ms: float | None
    other: Plan
    other_predicted_ms: float | None


@dataclass(frozen=True)
class Compared:
    """A recording beside another policy.

    Attributes:
        policy: the other one's name.
        asked: requests, in the order in which they ended.
        switches: changes of plan that were recorded, the first plan apart.
        other_switches: those of the other policy.
    """

    policy: str
    asked: tuple[Asked, ...]
    switches: int
    other_switches: int

    @property
    def agree(self) -> float | None:
        """Share of the requests for which both have the same plan; None without requests."""
        return _mean(float(one.plan == one.other) for one in self.asked)

    @property
    def measured_ms(self) -> float | None:
        """Mean of what was measured."""
        return _mean(one.measured_ms for one in self.asked if one.measured_ms is not None)

    @property
    def predicted_ms(self) -> float | None:
        """Mean of what was predicted of the recorded plans, where it can be held against the other's."""
        return _mean(mine for mine, _ in self._predicted())

    @property
    def other_predicted_ms(self) -> float | None:
        """Mean of what was predicted of the other's plans, for the same requests."""
        return _mean(other for _, other in self._predicted())

    def _predicted(self) -> list[tuple[float, float]]:
        pairs = ((one.predicted_ms, one.other_predicted_ms) for one in self.asked)
        return [(mine, other) for mine, other in pairs if mine is not None and other is not None]


@dataclass(frozen=True, slots=True)
class _Open:
    """A request that came: its time, and both plans with their predictions."""

    at_ms: float
    plan: Plan
    predicted_ms: float | None
    other: Plan
    other_predicted_ms: float | None

    def ended(self, event: Inferred | Failed) -> Asked:
        measured_ms = event.cost.latency_ms if isinstance(event, Inferred) else None
        return Asked(
            at_ms=self.at_ms,
            plan=self.plan,
            carried_out=event.plan,
            outcome=event.outcome,
            measured_ms=measured_ms,
            predicted_ms=self.predicted_ms,
            other=self.other,
            other_predicted_ms=self.other_predicted_ms,
        )


def compare(recording: Recording, rule: Policy) -> Compared:
    """What another policy would have done.

    Requests that were in flight at once are taken to end in the order in which they came.

    Raises:
        RecordingError: the recorded policy is not known here, or one of both finds no plan for what it is told.
    """
    mine, other = recording.start.scheduler(), recording.start.scheduler(rule)
    waiting: deque[_Open] = deque()
    asked: list[Asked] = []
    switches = other_switches = 0
    for recorded in recording.events:
        event = recorded.event
        if isinstance(event, ANSWERS):
            switches += _is_switch(event)
            continue
        if isinstance(event, Inferred | Failed):
            now = waiting.popleft() if waiting else _asked(mine, other, recorded.at_ms)
            if now is not None:
                asked.append(now.ended(event))
        tell(mine, recording, recorded)
        other_switches += sum(map(_is_switch, tell(other, recording, recorded)))
        if isinstance(event, Requested) and (now := _asked(mine, other, recorded.at_ms)) is not None:
            waiting.append(now)
    return Compared(rule.name, tuple(asked), switches, other_switches)


def _asked(mine: Scheduler, other: Scheduler, at_ms: float) -> _Open | None:
    """None = there is no model yet."""
    if mine.plan is None or other.plan is None:
        return None
    return _Open(at_ms, mine.plan, _predicted_ms(mine, mine.plan), other.plan, _predicted_ms(mine, other.plan))


def _predicted_ms(believing: Scheduler, plan: Plan) -> float | None:
    table = believing.table
    assert table is not None
    if believing.conditions.link_up is False and not table.offers[table.rows[plan]].local:
        return None
    return believing.predicted(plan).latency_ms


def _is_switch(event: Event) -> bool:
    return isinstance(event, PlanChanged) and event.old is not None


def _mean(values: Iterable[float]) -> float | None:
    found = [*values]
    return fmean(found) if found else None
