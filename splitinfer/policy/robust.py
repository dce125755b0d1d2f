"""The least expected cost over the distribution of the link.

    E[latency_ms] + latency_budget_ms * P(latency > budget) + price * energy_mj

over seven points of the log-normal distribution of the rate. The price (s per J, which is ms per mJ) is what the battery makes
of a millijoule.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf

import numpy as np

from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Plan
from splitinfer.policy.rule import Decision, least
from splitinfer.policy.table import LATENCY_MAX_MS, Floats, Table, hedges, is_critical, prefer, price, usable

POINTS = (-1.28, -0.67, -0.25, 0.25, 0.67, 1.28, 1.80)
"""Standard deviations by which ln(rate) is below its median; more of them on the slow side ..."""
WEIGHTS: Floats = np.array([[0.17], [0.16], [0.17], [0.17], [0.16], [0.10], [0.07]])
"""... and how likely each is."""
MISS_ACCEPTED = 0.1
"""A plan meets the latency budget if it is late at most this often."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the plans of a table would cost now: one entry a row.

    Attributes:
        latency_ms: mean.
        miss: probability to be late.
        energy_mj: mean.
    """

    latency_ms: Floats
    miss: Floats
    energy_mj: Floats


def forecast(table: Table, conditions: Conditions, budget: Budget) -> Forecast:
    """What plans cost over the distribution of the rate; with a spread of 0 it is `plan.predict`, row by row.

    Where the device may race, a plan that needs it no more often than the budget allows is never late.
    """
    link = conditions.uplink or ASSUMED_UPLINK
    ms_per_byte = np.array([[8e3 / link.rate_bps * exp(point * link.spread)] for point in POINTS])
    sending_ms = np.minimum(ms_per_byte * table.nbytes, LATENCY_MAX_MS)
    latency_ms = np.minimum(table.remote_ms(conditions, link) + sending_ms, LATENCY_MAX_MS)
    # the vectors stand in the last axis: sums over the first one are plain additions in a fixed order
    raced_ms: Floats = np.zeros(1)
    if budget.latency_ms is not None and hedges(conditions, budget):
        start_ms = table.race_start_ms(budget.latency_ms)
        raced_ms = np.minimum(np.maximum(latency_ms - start_ms, 0.0), table.rest_ms)
        share = (raced_ms * WEIGHTS).sum(axis=0) / np.maximum(table.rest_ms, 1e-9)
        raced_ms = np.where(share <= budget.hedge_max_share, raced_ms, 0.0)
        latency_ms = np.where((raced_ms > 0) & (raced_ms >= table.rest_ms), start_ms + table.rest_ms, latency_ms)
    late = latency_ms > (inf if budget.latency_ms is None else budget.latency_ms)
    sent_mj = table.energy_mj(conditions, (sending_ms * WEIGHTS).sum(axis=0))
    return Forecast(
        latency_ms=(latency_ms * WEIGHTS).sum(axis=0),
        miss=(late * WEIGHTS).sum(axis=0),
        energy_mj=sent_mj + table.power.compute_w * (raced_ms * WEIGHTS).sum(axis=0),
    )


@dataclass(frozen=True, slots=True)
class Robust:
    """Weighs means and misses; draws nothing."""

    name: str = "robust"

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """See `Policy`. At 5 % charge or less, of the plans that meet the latency budget the one that needs least energy."""
        allowed = usable(table, conditions, budget)
        costs = forecast(table, conditions, budget)
        if budget.energy_mj is not None:
            allowed = prefer(allowed, costs.energy_mj <= budget.energy_mj)
        if is_critical(conditions):
            allowed = prefer(allowed, costs.miss <= MISS_ACCEPTED)
            score = costs.energy_mj
        else:
            score = costs.latency_ms + (budget.latency_ms or 0.0) * costs.miss + price(conditions, budget) * costs.energy_mj
        return least(table, score, allowed, current, lambda row: reason(table, row, conditions, budget))


def reason(table: Table, row: int, conditions: Conditions, budget: Budget) -> str:
    """Why a plan may be chosen, in words: what it costs, and what else holds."""
    costs = forecast(table, conditions, budget)
    parts = [f"expects {costs.latency_ms[row]:.1f} ms"]
    if budget.latency_ms is not None:
        parts.append(f"{costs.miss[row]:.0%} over {budget.latency_ms:g} ms")
    parts.append(f"{costs.energy_mj[row]:.0f} mJ at {price(conditions, budget):.2f} s/J")
    if conditions.link_up is False:
        parts.append("the link is down")
    if conditions.drifted:
        parts.append("without loss: inputs are unlike the samples")
    if is_critical(conditions):
        parts.append("battery critical: least energy")
    return ", ".join(parts)
