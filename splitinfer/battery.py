"""How long the battery should last, and what that makes of a joule. Knows no clock: time is an argument.

A goal is a straight line of charge, from what there is now to nothing at its end. What the device is below that line is a
queue of debt, and a joule is priced in proportion to it (drift plus penalty: Neely, "Stochastic network optimization with
application to communication and queueing systems", 2010). The energy model may be wrong by any factor: what it predicts is
only used between two readings of the gauge, and is scaled by how much the gauge fell the last times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from splitinfer.plan import Budget

DEBT_FULL = 0.02
"""Charge below the line, 0..1, at which a joule costs `PRICE_FULL`."""
PRICE_FULL = 2.0
"""s/J; at 2.7 W a computed millisecond then counts as 6.4."""
DRAIN_WEIGHT = 0.3
"""Of one fall of the gauge in what a modelled joule takes from it."""
HOUR_MS = 3.6e6


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of charge: `level` at `from_ms`, then `share_per_ms` less each millisecond."""

    from_ms: float
    level: float
    share_per_ms: float

    def level_at(self, now_ms: float) -> float:
        """Where the charge should be."""
        return max(self.level - self.share_per_ms * (now_ms - self.from_ms), 0.0)


@dataclass(frozen=True, slots=True)
class Battery:
    """What is known of the battery.

    Attributes:
        level: charge at the last reading, 0..1; None = mains or unknown.
        charging: on a charger.
        read_at_ms: when the gauge last moved.
        modelled_mj: what the model says was spent since then.
        since_fall: whether that is since it fell: only then is the next fall a whole step of the gauge.
        share_per_mj: of the charge, as it was measured; None = the gauge has not fallen yet.
        goal: None = the battery need not last.
    """

    level: float | None = None
    charging: bool | None = None
    read_at_ms: float = 0.0
    modelled_mj: float = 0.0
    since_fall: bool = False
    share_per_mj: float | None = None
    goal: Goal | None = None

    def aim(self, budget: Budget, now_ms: float) -> Battery:
        """Takes the goal of a budget in, from now on. Where the charge is not known yet, the first reading begins it."""
        if self.level is None or (budget.battery_lasts_ms is None and budget.battery_share_per_h is None):
            return replace(self, goal=None)
        if budget.battery_share_per_h is not None:
            share_per_ms = budget.battery_share_per_h / HOUR_MS
        else:
            share_per_ms = self.level / max(budget.battery_lasts_ms or 0.0, 1.0)
        return replace(self, goal=Goal(now_ms, self.level, share_per_ms))

    def spent(self, energy_mj: float) -> Battery:
        """Takes in what the model says was spent. Nonsense changes nothing."""
        return replace(self, modelled_mj=self.modelled_mj + energy_mj) if 0.0 <= energy_mj < inf else self

    def read(self, level: float | None, charging: bool | None, now_ms: float) -> Battery:
        """Takes a reading of the gauge in.

        A charge that rose, or that a charger may have held up, begins anew: what was learnt of the drain stays. The first fall
        after that teaches nothing: it may have been due at once.
        """
        read = replace(self, level=level, charging=charging)
        if level is None or self.level is None or charging or self.charging or level > self.level:
            return replace(read, read_at_ms=now_ms, modelled_mj=0.0, since_fall=False)
        if level == self.level:
            return read
        fallen = replace(read, read_at_ms=now_ms, modelled_mj=0.0, since_fall=True)
        if not self.since_fall or self.modelled_mj < 1.0:
            return fallen
        measured = (self.level - level) / self.modelled_mj
        if self.share_per_mj is None:
            return replace(fallen, share_per_mj=measured)
        return replace(fallen, share_per_mj=self.share_per_mj + DRAIN_WEIGHT * (measured - self.share_per_mj))

    def joule_s(self, now_ms: float) -> float | None:
        """Seconds that a joule is worth, so that the goal is met; None where there is none."""
        if self.goal is None or self.level is None:
            return None
        if self.charging:
            return 0.0
        now = self.level - (self.share_per_mj or 0.0) * self.modelled_mj
        debt = self.goal.level_at(now_ms) - now
        return PRICE_FULL * min(max(debt / DEBT_FULL, 0.0), 1.0)
