"""Which plan to take: (table, conditions, budget, current plan) in, decision and reason out. Pure.

A policy knows no clock and no event; it is asked again when something changed. Hard limits come first. `Robust` then takes
the plan with the least

    E[latency_ms] + latency_budget_ms * P(latency > budget) + price * energy_mj

over seven points of the log-normal distribution of the rate. The price (s per J, which is ms per mJ) is what the battery makes
of a millijoule. Columns are numpy arrays and only + - * / touch them, so that every machine decides alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import exp, inf
from typing import Protocol

import numpy as np
import numpy.typing as npt

from splitinfer.errors import NoFeasiblePlan
from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Offer, Plan, Power, objection

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

HYSTERESIS = 0.05
"""The current plan stays while it costs at most this much more than the best."""
LATENCY_MAX_MS = 5_000.0
"""Beyond this a slower plan is not worse: the request was resumed or given up long before."""
POINTS = (-1.28, -0.67, -0.25, 0.25, 0.67, 1.28, 1.80)
"""Standard deviations by which ln(rate) is below its median; more of them on the slow side ..."""
WEIGHTS: Floats = np.array([[0.17], [0.16], [0.17], [0.17], [0.16], [0.10], [0.07]])
"""... and how likely each is."""
MISS_ACCEPTED = 0.1
"""A plan meets the latency budget if it is late at most this often."""

FREE_ABOVE = 0.50
SAVER_BELOW = 0.15
SAVER_CLEARS_ABOVE = 0.20
CRITICAL_BELOW = 0.05
"""Charge, 0..1. 15 % is Android's default for its battery saver; leaving at 20 % keeps it from flickering."""
PRICE_AT_SAVER = 0.2
PRICE_IN_SAVER = 1.0
"""s/J. At 2.7 W, 0.2 makes a computed millisecond count as 1.5, and 1.0 as 3.7."""


@dataclass(frozen=True, eq=False)
class Table:
    """What there is to choose from: plans as rows, their known costs as columns, and the energy model that prices them."""

    offers: tuple[Offer, ...]
    power: Power = field(default_factory=Power)

    def beyond(self, cut: int) -> Table:
        """The plans that are still open to a request that stands at this cut."""
        return _beyond(self, cut)

    @cached_property
    def rows(self) -> dict[Plan, int]:
        """Where each plan stands."""
        return {offer.plan: index for index, offer in enumerate(self.offers)}

    @cached_property
    def local(self) -> Flags:
        """Plans that need no link."""
        return np.array([offer.local for offer in self.offers], dtype=bool)

    @cached_property
    def lossless(self) -> Flags:
        """Plans that change no value on the way."""
        return np.array([offer.lossless for offer in self.offers], dtype=bool)

    @cached_property
    def compute_ms(self) -> Floats:
        """On the device: head and encoding."""
        return _column(offer.cost.head_ms + offer.cost.encode_ms for offer in self.offers)

    @cached_property
    def tail_ms(self) -> Floats:
        """In the cloud, at the profile's speed."""
        return _column(offer.cost.tail_ms for offer in self.offers)

    @cached_property
    def decode_ms(self) -> Floats:
        """In the cloud, and of the reply."""
        return _column(offer.cost.decode_ms for offer in self.offers)

    @cached_property
    def nbytes(self) -> Floats:
        """Up, median."""
        return _column(0 if offer.local else offer.score.bytes_p50 for offer in self.offers)


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan and why.

    Attributes:
        plan: to be taken.
        reason: for people.
        scores: of each row of the table, smaller is better; inf = not allowed now; empty = nothing was weighed.
    """

    plan: Plan
    reason: str
    scores: tuple[float, ...] = ()


class Policy(Protocol):
    """A rule that chooses."""

    @property
    def name(self) -> str:
        """As `policy` reads it."""
        ...

    def decide(self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None) -> Decision:
        """Chooses.

        Args:
            table: the plans of this device.
            conditions: the world. An unknown link is taken for `ASSUMED_UPLINK`.
            budget: what may be spent.
            current: the plan in force, which gets the benefit of the doubt.

        Raises:
            NoFeasiblePlan: the budget excludes every plan whatever the link does.
        """
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the plans of a table would cost now: one entry a row."""

    latency_ms: Floats
    miss: Floats
    energy_mj: Floats


def forecast(table: Table, conditions: Conditions, budget: Budget) -> Forecast:
    """Mean latency, probability to be late, and mean energy. With a spread of 0 it is `plan.predict`, row by row."""
    link = conditions.uplink or ASSUMED_UPLINK
    ms_per_byte = np.array([[8e3 / link.rate_bps * exp(point * link.spread)] for point in POINTS])
    remote_ms = link.rtt_ms + (conditions.queue_ms or 0.0) + conditions.tail_scale * table.tail_ms
    fixed_ms = table.compute_ms + table.decode_ms + np.where(table.local, 0.0, remote_ms)
    sending_ms = np.minimum(ms_per_byte * table.nbytes, LATENCY_MAX_MS)
    latency_ms = np.minimum(fixed_ms + sending_ms, LATENCY_MAX_MS)
    late = latency_ms > (inf if budget.latency_ms is None else budget.latency_ms)
    # the vectors stand in the last axis: sums over the first one are plain additions in a fixed order
    return Forecast(
        latency_ms=(latency_ms * WEIGHTS).sum(axis=0),
        miss=(late * WEIGHTS).sum(axis=0),
        energy_mj=table.power.compute_w * table.compute_ms
        + table.power.radio_w * (sending_ms * WEIGHTS).sum(axis=0)
        + (table.power.radio_nj_per_bit * 8e-6) * table.nbytes,
    )


def price(conditions: Conditions) -> float:
    """Seconds that a joule is worth: nothing on mains, on a charger or above half charge, then ever more."""
    if conditions.battery is None or conditions.charging or conditions.battery > FREE_ABOVE:
        return 0.0
    if in_saver(conditions):
        return PRICE_IN_SAVER
    return PRICE_AT_SAVER * (FREE_ABOVE - conditions.battery) / (FREE_ABOVE - SAVER_BELOW)


def in_saver(conditions: Conditions) -> bool:
    """Whether to save: at or below 15 % charge, and until 20 % once it has begun (`Conditions.saver`)."""
    if conditions.battery is None or conditions.charging:
        return False
    return conditions.battery <= (SAVER_CLEARS_ABOVE if conditions.saver else SAVER_BELOW)


def is_critical(conditions: Conditions) -> bool:
    """Whether only energy counts."""
    return conditions.battery is not None and not conditions.charging and conditions.battery <= CRITICAL_BELOW


@dataclass(frozen=True, slots=True)
class Robust:
    """The least expected cost over the distribution of the link; the default."""

    name: str = "robust"

    def decide(self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None) -> Decision:
        """See `Policy`. At 5 % charge or less, of the plans that meet the latency budget the one that needs least energy."""
        usable = _usable(table, conditions, budget)
        costs = forecast(table, conditions, budget)
        usable = _prefer(usable, costs.energy_mj <= (inf if budget.energy_mj is None else budget.energy_mj))
        if is_critical(conditions):
            usable = _prefer(usable, costs.miss <= MISS_ACCEPTED)
            score = costs.energy_mj
        else:
            score = costs.latency_ms + (budget.latency_ms or 0.0) * costs.miss + price(conditions) * costs.energy_mj
        score = np.where(usable, score, inf)
        best = int(score.argmin())
        held = None if current is None else table.rows.get(current)
        chosen = held if held is not None and score[held] <= (1 + HYSTERESIS) * score[best] else best
        return Decision(table.offers[chosen].plan, _reason(costs, chosen, conditions, budget), tuple(score.tolist()))


@dataclass(frozen=True, slots=True)
class Static:
    """Always the same plan; the local one while the link is known to be dead."""

    plan: Plan

    @property
    def name(self) -> str:
        """As `policy` reads it."""
        return f"static:{self.plan}"

    def decide(self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None) -> Decision:
        """See `Policy`. The budget's hard limits hold here too."""
        row = table.rows.get(self.plan)
        why_not = "this device has no such plan" if row is None else objection(table.offers[row], budget)
        if why_not is not None:
            raise NoFeasiblePlan(f"the fixed plan {self.plan} cannot be used: {why_not}; choose another or change the budget")
        local = _local(table, budget) if conditions.link_up is False else None
        if local is not None and local != self.plan:
            return Decision(local, "the link is down")
        return Decision(self.plan, "fixed")


def policy(text: str) -> Policy:
    """Reads the name of a policy: "robust" or "static:CUT/CODEC".

    Raises:
        ValueError: there is none of that name.
    """
    if text == "robust":
        return Robust()
    kind, _, rest = text.partition(":")
    if kind == "static" and rest:
        return Static(Plan.parse(rest))
    raise ValueError(f"unknown policy {text!r}: use robust or static:CUT/CODEC, for example static:2/int8+zstd1")


def _local(table: Table, budget: Budget) -> Plan | None:
    """The plan that needs no link, where it may be taken."""
    return next((offer.plan for offer in table.offers if offer.local and objection(offer, budget) is None), None)


def _column(values: Iterable[float]) -> Floats:
    return np.array([*values], dtype=np.float64)


@lru_cache(maxsize=64)
def _beyond(table: Table, cut: int) -> Table:
    return Table(tuple(offer for offer in table.offers if offer.plan.cut >= cut), table.power)


@lru_cache(maxsize=64)
def _allowed(table: Table, budget: Budget) -> Flags:
    """Rows without an objection.

    Raises:
        NoFeasiblePlan: there are none.
    """
    objections = {str(offer.plan): objection(offer, budget) for offer in table.offers}
    allowed = np.array([why is None for why in objections.values()], dtype=bool)
    if not allowed.any():
        rows = [*objections.items()]
        examples = "; ".join(f"{plan}: {why}" for plan, why in (*rows[:2], *rows[2:][-1:]))  # the last one is the local one
        raise NoFeasiblePlan(f"the budget excludes every plan of this device ({examples or 'it has none'}); relax the budget")
    return allowed


def _usable(table: Table, conditions: Conditions, budget: Budget) -> Flags:
    allowed = _allowed(table, budget)
    if conditions.drifted:
        allowed = _prefer(allowed, table.lossless)
    return _prefer(allowed, table.local) if conditions.link_up is False else allowed


def _prefer(among: Flags, wanted: Flags) -> Flags:
    """Those of `among` that are wanted; all of them where none is."""
    both = among & wanted
    return both if both.any() else among


def _reason(costs: Forecast, row: int, conditions: Conditions, budget: Budget) -> str:
    parts = [f"expects {costs.latency_ms[row]:.1f} ms"]
    if budget.latency_ms is not None:
        parts.append(f"{costs.miss[row]:.0%} over {budget.latency_ms:g} ms")
    parts.append(f"{costs.energy_mj[row]:.0f} mJ at {price(conditions):.2f} s/J")
    if conditions.link_up is False:
        parts.append("the link is down")
    if conditions.drifted:
        parts.append("without loss: inputs are unlike the samples")
    if is_critical(conditions):
        parts.append("battery critical: least energy")
    return ", ".join(parts)
