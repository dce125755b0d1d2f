"""How fast the plan may change: what flickers is worse than what is a little slow. Knows no clock: time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

CLEAR_GAIN = 0.15
"""A plan that is better by this share is clearly better: what is known of a link is rarely more exact."""
DWELL_MS = 1_000.0
"""Least time from one change of the plan to one that is clearly better ..."""
DWELL_MARGINAL_MS = 4_000.0
"""... and to one that is better by a little. From the fourth change in a minute on, each doubles both ..."""
DWELL_MAX_MS = 30_000.0
"""... up to this."""
FREE_CHANGES = 2
"""A commute has that many within a minute."""
CHANGES_MAX = 12
"""So many in a minute are enough, whatever they are for; only the world itself may force more."""
CALM_MS = 60_000.0


@dataclass(slots=True)
class Pace:
    """How fast the plan may change."""

    _changed_at_ms: float = -DWELL_MAX_MS
    _restless: int = 0
    _own_at_ms: list[float] = field(default_factory=list)
    _all_at_ms: deque[float] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))

    def ready_at_ms(self, clear: bool, urgent: bool = False) -> float:
        """When the plan may change to one that is better, clearly or by a little, or that cannot wait for that."""
        dwell_ms = 0.0 if urgent else DWELL_MS if clear else DWELL_MARGINAL_MS
        rested_ms = self._changed_at_ms + min(dwell_ms * 2.0**self._restless, DWELL_MAX_MS)
        return max(rested_ms, self._all_at_ms[0] + CALM_MS) if len(self._all_at_ms) == CHANGES_MAX else rested_ms

    def changed(self, now_ms: float, forced: bool) -> None:
        """Notes a change. One that the world forced is not restlessness: it does not slow the next one down."""
        self._changed_at_ms, self._restless = now_ms, 0
        self._all_at_ms.append(now_ms)
        if not forced:
            recent_at_ms = [at_ms for at_ms in self._own_at_ms if now_ms - at_ms < CALM_MS]
            self._restless = max(len(recent_at_ms) - FREE_CHANGES, 0)
            self._own_at_ms = [*recent_at_ms, now_ms]


@dataclass(frozen=True, slots=True)
class Deferred:
    """A change that has to wait: why, and until when."""

    cause: str
    until_ms: float
