"""The least expected cost over the distribution of the link.

    E[latency_ms] + latency_budget_ms * P(latency > budget) + price * energy_mj

over seven points of the log-normal distribution of the rate. The price (s per J, which is ms per mJ) is what the battery makes
of a millijoule.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, inf

import numpy as np

from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Plan
from splitinfer.policy.rule import Decision, least
from splitinfer.policy.table import LATENCY_MAX_MS, Flags, Floats, Table, hedges, is_critical, prefer, price, usable

POINTS = (-1.28, -0.67, -0.25, 0.25, 0.67, 1.28, 1.80)
"""Standard deviations by which ln(rate) is below its median; more of them on the slow side ..."""
WEIGHTS: Floats = np.array([[0.17], [0.16], [0.17], [0.17], [0.16], [0.10], [0.07]])
"""... and how likely each is."""
MISS_ACCEPTED = 0.1
"""A plan meets the latency budget if it is late at most this often."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the plans of a table would cost now; its columns have one entry a row, and are made when they are asked for.

    Attributes:
        table: the plans.
        conditions: the world.
        limit_ms: latency budget; infinity = none.
        ms_per_byte: on the link, at each point of the distribution.
        at_points_ms: latency of each plan at each point, [points, plans].
        raced_ms: what the device computes besides the cloud, likewise; None = it does not race.
    """

    table: Table
    conditions: Conditions
    limit_ms: float
    ms_per_byte: Floats
    at_points_ms: Floats
    raced_ms: Floats | None

    @cached_property
    def latency_ms(self) -> Floats:
        """Mean."""
        return _mean(self.at_points_ms)

    @cached_property
    def miss(self) -> Floats:
        """Probability to be late."""
        return _mean(self.at_points_ms > self.limit_ms)

    @cached_property
    def penalised_ms(self) -> Floats:
        """Mean latency, and the latency budget once more for each time that it is missed."""
        if self.limit_ms == inf:
            return self.latency_ms
        return _mean(self.at_points_ms + self.limit_ms * (self.at_points_ms > self.limit_ms))

    @cached_property
    def energy_mj(self) -> Floats:
        """Mean, modelled."""
        sending_ms = _mean(np.minimum(self.ms_per_byte * self.table.nbytes, LATENCY_MAX_MS))
        sent_mj = self.table.energy_mj(self.conditions, sending_ms)
        return sent_mj if self.raced_ms is None else sent_mj + self.table.power.compute_w * _mean(self.raced_ms)


def _mean(at_points: Floats | Flags) -> Floats:
    """Over the points. The vectors stand in the last axis: this is plain additions in a fixed order."""
    mean: Floats = (at_points * WEIGHTS).sum(axis=0)
    return mean


def forecast(table: Table, conditions: Conditions, budget: Budget) -> Forecast:
    """What plans cost over the distribution of the rate; with a spread of 0 it is `plan.predict`, row by row.

    Where the device may race, a plan that needs it no more often than the budget allows is never late.
    """
    link = conditions.uplink or ASSUMED_UPLINK
    limit_ms = inf if budget.latency_ms is None else budget.latency_ms
    ms_per_byte = np.array([[8e3 / link.rate_bps * exp(point * link.spread)] for point in POINTS])
    latency_ms = np.minimum(ms_per_byte * table.nbytes + table.remote_ms(conditions, link), LATENCY_MAX_MS)
    if not hedges(conditions, budget):
        return Forecast(table, conditions, limit_ms, ms_per_byte, latency_ms, None)
    start_ms = table.race_start_ms(limit_ms)
    raced_ms = np.minimum(np.maximum(latency_ms - start_ms, 0.0), table.rest_ms)
    covered = _mean(raced_ms) <= budget.hedge_max_share * table.rest_ms
    latency_ms = np.where(covered, np.minimum(latency_ms, start_ms + table.rest_ms), latency_ms)
    return Forecast(table, conditions, limit_ms, ms_per_byte, latency_ms, raced_ms * covered)


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
            score, joule_s = costs.penalised_ms, price(conditions, budget)
            if joule_s:
                score = score + joule_s * costs.energy_mj
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
