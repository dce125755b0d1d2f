"""How fast this device is now, from the times of its requests. Knows no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from splitinfer.estimate.link import is_time
from splitinfer.plan import Plan, Profile


class LiveProfile:
    """A profile that follows what requests measure: a device that is throttled or shared is not the one that was profiled.

    What ran here counts as the median of its last times; what did not run is assumed to have changed as much as what did.
    `profile` moves in steps of more than `STEP` only, so that the table of plans is not made anew for noise.
    """

    STEP = 0.1
    KEEP = 5

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._base = profile
        self._requests = 0
        self._segments: dict[int, deque[float]] = {}
        self._encodes: dict[Plan, deque[float]] = {}

    def observe(self, plan: Plan, segment_ms: Sequence[float | None], encode_ms: float | None) -> bool:
        """Takes the times of one request in; True if `profile` is another one now. It is looked at every `KEEP` requests.

        Args:
            plan: that was carried out.
            segment_ms: of each segment; None where it did not run here.
            encode_ms: None = not of the plan's codec alone.
        """
        for index, (ms, reference) in enumerate(zip(segment_ms, self._base.segment_ms, strict=False)):
            if ms is not None and reference and is_time(ms):
                self._segments.setdefault(index, deque(maxlen=self.KEEP)).append(ms)
        if plan in self._base.encode_ms and encode_ms is not None and is_time(encode_ms):
            self._encodes.setdefault(plan, deque(maxlen=self.KEEP)).append(encode_ms)
        self._requests += 1
        if self._requests % self.KEEP:
            return False
        candidate = self._corrected()
        moved = self._moved(candidate)
        if moved:
            self.profile = candidate
        return moved

    def _corrected(self) -> Profile:
        segments = {i: median(times) for i, times in self._segments.items() if len(times) == self.KEEP}
        encodes = {plan: median(times) for plan, times in self._encodes.items() if len(times) == self.KEEP}
        reference_ms = sum(self._base.segment_ms[i] or 0.0 for i in segments)
        slowdown = sum(segments.values()) / reference_ms if segments else 1.0
        rest = self._base.slowed(slowdown)
        return replace(
            rest,
            segment_ms=tuple(segments.get(i, ms) for i, ms in enumerate(rest.segment_ms)),
            encode_ms={**rest.encode_ms, **encodes},
        )

    def _moved(self, candidate: Profile) -> bool:
        """Whether a time changed by more than the step; what is below 1 % of the model's time does not matter."""
        before = [ms or 0.0 for ms in self.profile.segment_ms] + [*self.profile.encode_ms.values()]
        after = [ms or 0.0 for ms in candidate.segment_ms] + [*candidate.encode_ms.values()]
        least_ms = 0.01 * self.profile.head_ms(len(self.profile.segment_ms))
        return any(abs(b - a) > max(self.STEP * a, least_ms) for a, b in zip(before, after, strict=True))
