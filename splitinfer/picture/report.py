"""The values behind a report: several ways along the same timeline, one of them ours. Knows no clock and no client.

Times on the timeline are seconds from its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot

from splitinfer.events import Outcome
from splitinfer.plan import Plan

SURE = 2.0
"""A difference counts from so many standard errors on."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the timeline with one link.

    Attributes:
        name: for people.
        from_s: begins.
        to_s: ends.
        uplink_mbps: rate; 0 = nothing gets through.
        rtt_ms: round trip.
    """

    name: str
    from_s: float
    to_s: float
    uplink_mbps: float
    rtt_ms: float

    @property
    def dead(self) -> bool:
        """Whether nothing gets through."""
        return self.uplink_mbps == 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One request that was answered.

    Attributes:
        at_s: when it was asked.
        latency_ms: until the answer.
        plan: what was carried out.
        outcome: who computed the answer.
        right: the answer is the uncut model's.
        believed_mbps: uplink rate that the device assumed then; None = unknown, or the link was believed dead.
        battery: charge then, 0..1; None = mains.
    """

    at_s: float
    latency_ms: float
    plan: Plan
    outcome: Outcome
    right: bool
    believed_mbps: float | None = None
    battery: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Another plan was chosen."""

    at_s: float
    old: Plan | None
    new: Plan
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """One run in numbers. `se_ms` is the standard error of the mean, the energy is modelled."""

    requests: int
    answered: int
    mean_ms: float
    se_ms: float
    p99_ms: float
    uplink_bytes_mean: float
    budget_misses: int
    agreement: float
    energy_mj: float


@dataclass(frozen=True)
class Run:
    """One way along the timeline.

    Attributes:
        name: of the way.
        policy: what chose its plans; runs with the same one did the same.
        figures: over the whole timeline.
        stretch_ms: mean latency in each stretch; None where nothing was asked.
        moments: in order of time.
        changes: in order of time.
    """

    name: str
    policy: str
    figures: Figures
    stretch_ms: tuple[float | None, ...]
    moments: tuple[Moment, ...]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Rival:
    """Another way against a run: by how much the run's mean latency is lower, and the standard error of that."""

    name: str
    ahead_ms: float
    se_ms: float

    @property
    def beaten(self) -> bool:
        """The run is lower, by more than the error."""
        return self.ahead_ms > SURE * self.se_ms

    @property
    def ahead(self) -> bool:
        """The rival is lower, by more than the error."""
        return -self.ahead_ms > SURE * self.se_ms


@dataclass(frozen=True)
class Leg:
    """All ways for one slowness of the device.

    Attributes:
        slowdown: so many times slower than the machine.
        ours: name of the run that the others are compared with.
        runs: in the order of the tables.
    """

    slowdown: float
    ours: str
    runs: tuple[Run, ...]

    @property
    def our_run(self) -> Run:
        """The one the others are compared with."""
        return next(run for run in self.runs if run.name == self.ours)

    def rivals(self) -> tuple[Rival, ...]:
        """Ours against each other way."""
        return tuple(_against(self.our_run, run) for run in self.runs if run.name != self.ours)

    def drift(self) -> tuple[Rival, ...]:
        """Runs that did the same as an earlier one, against it: what the machine does to a mean from one run to the next."""
        return tuple(
            _against(again, first)
            for i, first in enumerate(self.runs)
            for again in self.runs[i + 1 :]
            if again.policy == first.policy
        )


def _against(run: Run, other: Run) -> Rival:
    """The standard error of a difference is that of two independent means."""
    mine, theirs = run.figures, other.figures
    return Rival(other.name, theirs.mean_ms - mine.mean_ms, hypot(theirs.se_ms, mine.se_ms))


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        title: of the page.
        about: what was run, in a sentence or two.
        facts: name -> what it is, in order.
        stretches: of the timeline.
        budget_ms: what a request may take.
        cuts: index n of the model's last cut.
        legs: one for each slowdown.
    """

    title: str
    about: str
    facts: Mapping[str, str]
    stretches: tuple[Stretch, ...]
    budget_ms: float
    cuts: int
    legs: tuple[Leg, ...]
