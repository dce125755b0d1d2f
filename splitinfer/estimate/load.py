"""How busy the cloud is, from what it says of itself. Knows no clock: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.estimate.link import TIME_RANGE_MS

TAIL_SCALE_RANGE = (0.01, 1e4)


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the cloud is. What it said fades, because a device that turned away from a busy cloud hears no more from it.

    Attributes:
        queue_ms: waiting time at `at_ms`; it halves every 5 s.
        tail_scale: its tail time over the profile's; the difference from 1 halves every 30 s.
        at_ms: when it was said; None = never.
    """

    queue_ms: float = 0.0
    tail_scale: float = 1.0
    at_ms: float | None = None

    def at(self, now_ms: float) -> Load:
        """What is left of it."""
        if self.at_ms is None:
            return self
        age_s = max(now_ms - self.at_ms, 0.0) / 1e3
        return Load(self.queue_ms * 0.5 ** (age_s / 5.0), 1.0 + (self.tail_scale - 1.0) * 0.5 ** (age_s / 30.0), now_ms)

    def heard(self, queue_ms: float, tail_scale: float | None, now_ms: float) -> Load:
        """Takes a report in: half of it, so that one burst is not the new normal. Nonsense changes nothing."""
        old = self.at(now_ms)
        queue_ms = queue_ms if 0.0 <= queue_ms <= TIME_RANGE_MS[1] else old.queue_ms
        low, high = TAIL_SCALE_RANGE
        scale = tail_scale if tail_scale is not None and low <= tail_scale <= high else old.tail_scale
        return Load((old.queue_ms + queue_ms) / 2, (old.tail_scale + scale) / 2, now_ms)
