"""What became of one run, as columns: small enough to be sent between processes by the hundred thousand requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from splitinfer.events import Outcome
from splitinfer.plan import Plan
from splitinfer.sim.world import Run

OUTCOMES = tuple(Outcome)
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Course:
    """One run. Columns have an entry for each request, in order.

    Attributes:
        began_ms: when it was asked.
        latency_ms: until the answer, or until it was given up.
        plan: index into `plans` of what was carried out.
        outcome: index into `OUTCOMES`.
        plans: those that were carried out, by cut.
        switches: changes of the plan.
        energy_mj: of the whole run by the device's true figures, idle draw apart.
        sent_bytes: that left the device, cancelled uploads and probes included.
        ended_ms: virtual time.
    """

    began_ms: Floats
    latency_ms: Floats
    plan: Indices
    outcome: Indices
    plans: tuple[Plan, ...]
    switches: int
    energy_mj: float
    sent_bytes: int
    ended_ms: float

    @classmethod
    def of(cls, run: Run) -> Course:
        """The columns of a run."""
        plans = tuple(sorted({finished.plan for finished in run.finished}))
        place = {plan: index for index, plan in enumerate(plans)}
        rows = run.finished
        return cls(
            np.array([row.began_ms for row in rows], np.float64),
            np.array([row.latency_ms for row in rows], np.float64),
            np.array([place[row.plan] for row in rows], np.int32),
            np.array([OUTCOMES.index(row.outcome) for row in rows], np.int32),
            plans,
            run.switches,
            run.energy_mj,
            run.sent_bytes,
            run.ended_ms,
        )

    def __len__(self) -> int:
        return len(self.latency_ms)

    @cached_property
    def cuts(self) -> Indices:
        """Of each request's plan."""
        return np.array([plan.cut for plan in self.plans], np.int32)[self.plan]

    def share(self, *outcomes: Outcome) -> float:
        """Of the requests that ended so."""
        return float(np.isin(self.outcome, [OUTCOMES.index(outcome) for outcome in outcomes]).mean())
