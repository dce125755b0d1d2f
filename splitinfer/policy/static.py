"""Always the same plan."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.errors import NoFeasiblePlan
from splitinfer.plan import Budget, Conditions, Plan, objection
from splitinfer.policy.rule import Decision
from splitinfer.policy.table import Table, local_plan


@dataclass(frozen=True, slots=True)
class Static:
    """Always the same plan; the local one while the link is known to be dead."""

    plan: Plan

    @property
    def name(self) -> str:
        """As `policy` reads it."""
        return f"static:{self.plan}"

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """See `Policy`. The budget's hard limits hold here too."""
        row = table.rows.get(self.plan)
        why_not = "this device has no such plan" if row is None else objection(table.offers[row], budget)
        if why_not is not None:
            raise NoFeasiblePlan(f"the fixed plan {self.plan} cannot be used: {why_not}; choose another or change the budget")
        local = local_plan(table, budget) if conditions.link_up is False else None
        if local is not None and local != self.plan:
            return Decision(local, lambda: "the link is down")
        return Decision(self.plan, lambda: "fixed")
