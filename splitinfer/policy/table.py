"""What policies choose from and by what they weigh it: plans as rows, their costs as columns, and what a joule is worth.

Columns are numpy arrays and only + - * / min and comparisons touch them, so that every machine decides alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import inf

import numpy as np
import numpy.typing as npt

from splitinfer.energy import Power
from splitinfer.errors import NoFeasiblePlan
from splitinfer.plan import Budget, Conditions, Offer, Plan, Uplink, objection

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LATENCY_MAX_MS = 5_000.0
"""Beyond this a slower plan is not worse: the request was resumed or given up long before."""
UNABLE_MS = 1e9
RACE_MARGIN = 1.1
"""Runs vary by some per cent: a race against a deadline starts so much earlier."""

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
    def remote(self) -> Floats:
        """1 where a plan needs the link, else 0."""
        return _column(0.0 if offer.local else 1.0 for offer in self.offers)

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

    @cached_property
    def here_ms(self) -> Floats:
        """What plans take without the link and the cloud's part of it: columns that never change."""
        return self.compute_ms + self.decode_ms

    @cached_property
    def rest_ms(self) -> Floats:
        """What the device needs after a plan's head to finish alone; ages where it cannot."""
        whole = [offer.cost.head_ms for offer in self.offers if offer.local and not offer.missing]
        return _column((whole[0] if whole else UNABLE_MS) - offer.cost.head_ms for offer in self.offers)

    @cached_property
    def compute_mj(self) -> Floats:
        """Energy of the device's own computing."""
        return self.power.compute_w * self.compute_ms

    def remote_ms(self, conditions: Conditions, link: Uplink) -> Floats:
        """Everything but the sending itself: on the device, in the cloud, and what the link adds to any upload."""
        away_ms = link.rtt_ms + (conditions.queue_ms or 0.0) + conditions.tail_scale * self.tail_ms
        if link.window_bytes is not None:
            opening_ms = _column(link.opening_ms(nbytes) for nbytes in self.nbytes.tolist())
            away_ms = away_ms + conditions.opening_share * opening_ms
        elif link.wake_ms:
            away_ms = away_ms + conditions.opening_share * link.wake_ms
        return self.here_ms + self.remote * away_ms

    def energy_mj(self, conditions: Conditions, sending_ms: Floats) -> Floats:
        """Modelled energy of each plan, where sending takes so long."""
        radio = self.power.radio(conditions.radio)
        wake_mj = radio.wake_mj(conditions.radio_idle_ms)
        per_byte = radio.nj_per_bit * 8e-6
        return self.compute_mj + radio.active_w * sending_ms + (per_byte * self.nbytes + wake_mj * self.remote)

    def race_start_ms(self, latency_ms: float) -> Floats:
        """When the device must start on the rest of a plan to be in time; infinity where it could not, or need not."""
        return _race_start_ms(self, latency_ms)


@lru_cache(maxsize=256)
def _race_start_ms(table: Table, latency_ms: float) -> Floats:
    start_ms = latency_ms - RACE_MARGIN * table.rest_ms
    return np.where((start_ms >= table.compute_ms) & ~table.local, start_ms, inf)


@lru_cache(maxsize=256)
def _beyond(table: Table, cut: int) -> Table:
    return Table(tuple(offer for offer in table.offers if offer.plan.cut >= cut), table.power)


def _column(values: Iterable[float]) -> Floats:
    return np.array([*values], dtype=np.float64)


def price(conditions: Conditions, budget: Budget | None = None) -> float:
    """Seconds that a joule is worth.

    Where the budget says how long the battery should last, what that takes now (`Conditions.joule_s`). Else nothing on mains,
    on a charger or above half charge, then ever more. Never less than the budget says.
    """
    return max(_by_charge(conditions) if conditions.joule_s is None else conditions.joule_s, budget.joule_s if budget else 0.0)


def _by_charge(conditions: Conditions) -> float:
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


def hedges(conditions: Conditions, budget: Budget) -> bool:
    """Whether a request may be computed twice to meet its deadline: not to save a battery that runs out."""
    wanted = budget.latency_ms is not None and budget.hedge_max_share > 0
    return wanted and conditions.hedged and not in_saver(conditions)


def usable(table: Table, conditions: Conditions, budget: Budget) -> Flags:
    """Rows that may be chosen now: hard limits first, then what the world excludes where something else is left.

    Raises:
        NoFeasiblePlan: the budget excludes every plan.
    """
    allowed = _allowed(table, budget)
    if conditions.drifted:
        allowed = prefer(allowed, table.lossless)
    return prefer(allowed, table.local) if conditions.link_up is False else allowed


def prefer(among: Flags, wanted: Flags) -> Flags:
    """Those of `among` that are wanted; all of them where none is."""
    both = among & wanted
    return both if both.any() else among


def local_plan(table: Table, budget: Budget) -> Plan | None:
    """The plan that needs no link, where it may be taken."""
    return next((offer.plan for offer in table.offers if offer.local and objection(offer, budget) is None), None)


@lru_cache(maxsize=256)
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
