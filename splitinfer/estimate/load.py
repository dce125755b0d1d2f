"""How busy the cloud is, from what it says of itself. Knows no clock: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from splitinfer.estimate.link import TIME_RANGE_MS

TAIL_SCALE_RANGE = (0.01, 1e4)
UNEXPLAINED_FACTOR = 1.3
UNEXPLAINED_MIN_MS = 20.0
"""An answer that takes so many times what was predicted, and so much more, is one of a bad moment of the link."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the cloud is. What it said fades, because a device that turned away from a busy cloud hears no more from it.

    Attributes:
        queue_ms: waiting time at `at_ms`; it halves every 5 s.
        tail_scale: its tail time over the profile's; the difference from 1 halves every 30 s.
        at_ms: when it was said; None = never.
        unexplained_ms: what answers took longer, on the device's own clock, than all that was said can explain; it halves every
            30 s. So a server that tells lies about itself gains nothing by them.
    """

    queue_ms: float = 0.0
    tail_scale: float = 1.0
    at_ms: float | None = None
    unexplained_ms: float = 0.0

    def at(self, now_ms: float) -> Load:
        """What is left of it."""
        if self.at_ms is None:
            return self
        age_s = max(now_ms - self.at_ms, 0.0) / 1e3
        slow = 0.5 ** (age_s / 30.0)
        return Load(
            self.queue_ms * 0.5 ** (age_s / 5.0), 1.0 + (self.tail_scale - 1.0) * slow, now_ms, self.unexplained_ms * slow
        )

    def heard(self, queue_ms: float, tail_scale: float | None, now_ms: float) -> Load:
        """Takes a report in: half of it, so that one burst is not the new normal. Nonsense changes nothing."""
        old = self.at(now_ms)
        queue_ms = queue_ms if 0.0 <= queue_ms <= TIME_RANGE_MS[1] else old.queue_ms
        low, high = TAIL_SCALE_RANGE
        scale = tail_scale if tail_scale is not None and low <= tail_scale <= high else old.tail_scale
        return Load((old.queue_ms + queue_ms) / 2, (old.tail_scale + scale) / 2, now_ms, old.unexplained_ms)

    def reconnected(self) -> Load:
        """What is left when a link is back that was gone for long: that explains what was not."""
        return replace(self, unexplained_ms=0.0)

    def answered(self, measured_ms: float, predicted_ms: float, now_ms: float) -> Load:
        """Takes in how long an answer took and how long it should have taken. What noise may explain is explained."""
        excess_ms = measured_ms - UNEXPLAINED_FACTOR * (predicted_ms - self.unexplained_ms) - UNEXPLAINED_MIN_MS
        if not (excess_ms > 0.0 or self.unexplained_ms > 0.0) or not excess_ms < inf:
            return self
        old = self.at(now_ms)
        return replace(old, at_ms=now_ms, unexplained_ms=(old.unexplained_ms + min(max(excess_ms, 0.0), TIME_RANGE_MS[1])) / 2)
