"""What a policy is: (table, conditions, budget, current plan, draw) in, decision and reason out. Pure.

A policy knows no clock and no event; it is asked again when something changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, Self, runtime_checkable

import numpy as np

from splitinfer.plan import Budget, Conditions, Plan
from splitinfer.policy.table import Flags, Floats, Table

HYSTERESIS = 0.05
"""The current plan stays while it costs at most this much more than the best."""

_NOTHING: Floats = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A plan and why.

    Attributes:
        plan: to be taken.
        explain: says why, for people; asked only where somebody reads it.
        scores: of each row of the table, smaller is better; infinity = not allowed now; empty = nothing was weighed.
    """

    plan: Plan
    explain: Callable[[], str] = field(repr=False)
    scores: Floats = field(default_factory=lambda: _NOTHING, repr=False)

    @property
    def reason(self) -> str:
        """Why, for people."""
        return self.explain()


class Policy(Protocol):
    """A rule that chooses."""

    @property
    def name(self) -> str:
        """As `policy` reads it."""
        ...

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """Chooses.

        Args:
            table: the plans of this device.
            conditions: the world. An unknown link is taken for `ASSUMED_UPLINK`.
            budget: what may be spent.
            current: the plan in force, which gets the benefit of the doubt.
            draw: a random number in (0, 1) for those that need one.

        Raises:
            NoFeasiblePlan: the budget excludes every plan whatever the link does.
        """
        ...


@runtime_checkable
class Learner(Policy, Protocol):
    """A policy that becomes another one by what its hand-overs took."""

    def learnt(self, table: Table, plan: Plan, remote_ms: float) -> Self:
        """What it is after a hand-over that took so long, from the first byte sent to the answer."""
        ...


def least(table: Table, score: Floats, allowed: Flags, current: Plan | None, explain: Callable[[int], str]) -> Decision:
    """The allowed row of the least score, or the current plan where that is hardly worse."""
    score = np.where(allowed, score, inf)
    best = int(score.argmin())
    if not allowed[best]:  # where nothing is allowed at a finite score, any row is the least
        best = int(allowed.argmax())
    held = None if current is None else table.rows.get(current)
    chosen = held if held is not None and score[held] <= (1 + HYSTERESIS) * score[best] else best
    return Decision(table.offers[chosen].plan, lambda: explain(chosen), score)
