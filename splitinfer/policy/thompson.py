"""A draw from what is believed of the link, and the best plan for it: the less is known, the more is tried.

    latency_ms + latency_budget_ms * [latency > budget] + price * energy_mj      at one rate, drawn from the posterior

Where the plan in force sends, every request measures the link: the best plan for what is expected is taken (`Robust`), and
nothing is tried. A device that computes alone hears nothing, and a link that nobody has measured for a while is believed to be
anything, so that now and then a plan is taken which would be good if the link were: exploration that costs no probe, and that
the local hedge bounds (W. R. Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933; Russo
et al., "A tutorial on Thompson sampling", 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from statistics import NormalDist

import numpy as np

from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Plan
from splitinfer.policy.robust import Robust, reason
from splitinfer.policy.rule import Decision, least
from splitinfer.policy.table import LATENCY_MAX_MS, Floats, Table, hedges, is_critical, prefer, price, usable

UNKNOWN = 0.9
"""Doubt about ln(rate) from which on a link has to be tried, whatever it may cost: after a pause it is 0.7, on a new connection
1."""
_normal = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Thompson:
    """Samples the link; the default."""

    name: str = "thompson"

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """See `Policy`.

        It decides as `Robust` where there is nothing to find out, since every upload tells of the link: while a plan in force
        sends. And on a critical battery, and on a link that is known while no race bounds the loss.
        """
        link = conditions.uplink or ASSUMED_UPLINK
        doubt = link.spread if link.doubt is None else link.doubt
        exposed = budget.latency_ms is not None and not hedges(conditions, budget)
        row = None if current is None else table.rows.get(current)
        sends = row is not None and not table.local[row]
        if is_critical(conditions) or sends or (exposed and doubt < UNKNOWN):
            return Robust().decide(table, conditions, budget, current)
        allowed = usable(table, conditions, budget)
        rate_bps = link.rate_bps * exp(doubt * _normal(draw))
        sending_ms = np.minimum(8e3 / rate_bps * table.nbytes, LATENCY_MAX_MS)
        score = np.minimum(table.remote_ms(conditions, link) + sending_ms, LATENCY_MAX_MS)
        raced_ms: Floats | float = 0.0
        if budget.latency_ms is not None:
            if hedges(conditions, budget):
                start_ms = table.race_start_ms(budget.latency_ms)
                raced_ms = np.minimum(np.maximum(score - start_ms, 0.0), table.rest_ms)
                score = np.minimum(score, start_ms + table.rest_ms)
            score = score + budget.latency_ms * (score > budget.latency_ms)
        joule_s = price(conditions, budget)
        if joule_s or budget.energy_mj is not None:
            energy_mj = table.energy_mj(conditions, sending_ms) + table.power.compute_w * raced_ms
            score = score + joule_s * energy_mj
            if budget.energy_mj is not None:
                allowed = prefer(allowed, energy_mj <= budget.energy_mj)
        return least(table, score, allowed, current, lambda row: f"{reason(table, row, conditions, budget)}, drawn")
