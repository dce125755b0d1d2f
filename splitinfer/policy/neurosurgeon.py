"""The least latency at one rate, as if that were certain: what most published systems do.

Kang et al., "Neurosurgeon: collaborative intelligence between the cloud and mobile edge", ASPLOS 2017. Here to be compared
with.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Plan
from splitinfer.policy.robust import reason
from splitinfer.policy.rule import Decision, least
from splitinfer.policy.table import Table, usable


@dataclass(frozen=True, slots=True)
class Neurosurgeon:
    """Knows no spread, no deadline, no price and no inertia. Which estimate it gets is the scheduler's business (`belief`)."""

    name: str = "neurosurgeon"

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """See `Policy`."""
        link = conditions.uplink or ASSUMED_UPLINK
        latency_ms = table.remote_ms(conditions, link) + 8e3 / link.rate_bps * table.nbytes
        return least(
            table, latency_ms, usable(table, conditions, budget), None, lambda row: reason(table, row, conditions, budget)
        )
