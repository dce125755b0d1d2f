"""What one request is held to: when to lose patience with the cloud, and when to start on the rest here.

The device can finish a request in `rest_ms`. It must start on that by due - rest_ms to be in time, so at that moment it
starts, and the cloud's answer and its own race (Dean & Barroso, "The Tail at Scale", 2013). How many requests may be
computed twice is limited. The clock is the driver's, and is asked for as a callable: a device's or a simulator's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splitinfer.flow import Terms
from splitinfer.payload import Payload
from splitinfer.plan import Budget
from splitinfer.policy import RACE_MARGIN
from splitinfer.scheduler import Scheduler

PATIENCE_FACTOR = 3.0
"""A reply that takes so many times what was predicted is not coming, or comes later than the rest would take here."""
PATIENCE_MIN_MS = 300.0
PATIENCE_MAX_MS = 5_000.0
"""Where the device can finish alone, nobody waits longer than this, or than three times the rest would take here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request's clock and limits.

    Attributes:
        began_ms: when the application asked.
        budget: what it may spend.
        whole: whether the device can finish without the cloud.
        scheduler: what is believed now.
        now_ms: the clock.
    """

    began_ms: float
    budget: Budget
    whole: bool
    scheduler: Scheduler
    now_ms: Callable[[], float]

    def terms(self) -> Terms:
        """For the flow."""
        return Terms(self._patience_until_ms, self._race_from_ms)

    def late(self) -> bool:
        """Whether the budget's latency has passed."""
        return self.budget.latency_ms is not None and self.now_ms() > self.began_ms + self.budget.latency_ms

    def _patience_until_ms(self, payload: Payload) -> float | None:
        due_ms = None if self.budget.latency_ms is None else self.began_ms + self.budget.latency_ms
        if not self.whole and due_ms is not None:
            return due_ms
        patience_ms = PATIENCE_FACTOR * self.scheduler.reply_ms(payload.cut, payload.nbytes) + PATIENCE_MIN_MS
        if self.whole:
            patience_ms = min(patience_ms, max(PATIENCE_MAX_MS, PATIENCE_FACTOR * self.scheduler.rest_ms(payload.cut)))
        return self.now_ms() + patience_ms

    def _race_from_ms(self, cut: int) -> float | None:
        if self.budget.latency_ms is None or not self.scheduler.may_race(self.budget):
            return None
        return max(self.began_ms + self.budget.latency_ms - RACE_MARGIN * self.scheduler.rest_ms(cut), self.now_ms())
