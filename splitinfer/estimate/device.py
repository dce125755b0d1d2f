"""How fast this device is now, from the times of its requests. Knows no clock."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
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
        self._slowdown = 1.0
        self._requests = 0
        self._segments: defaultdict[int, deque[float]] = defaultdict(self._window)
        self._encodes: defaultdict[Plan, deque[float]] = defaultdict(self._window)

    def _window(self) -> deque[float]:
        return deque(maxlen=self.KEEP)

    def observe(self, plan: Plan, segment_ms: Sequence[float | None], encode_ms: float | None) -> bool:
        """Takes the times of one request in; True if `profile` is another one now. It is looked at every `KEEP` requests.

        Args:
            plan: that was carried out.
            segment_ms: of each segment; None where it did not run here.
            encode_ms: None = not of the plan's codec alone.
        """
        for index, (ms, reference) in enumerate(zip(segment_ms, self._base.segment_ms, strict=False)):
            if ms is not None and reference and is_time(ms):
                self._segments[index].append(ms)
        if plan in self._base.encode_ms and encode_ms is not None and is_time(encode_ms):
            self._encodes[plan].append(encode_ms)
        self._requests += 1
        if self._requests % self.KEEP:
            return False
        segments = {i: median(times) for i, times in self._segments.items() if len(times) == self.KEEP}
        encodes = {plan: median(times) for plan, times in self._encodes.items() if len(times) == self.KEEP}
        reference_ms = sum(self._base.segment_ms[i] or 0.0 for i in segments)
        slowdown = sum(segments.values()) / reference_ms if segments else 1.0
        moved = self._moved(segments, encodes, slowdown)
        if moved:
            self._follow(segments, encodes, slowdown)
        return moved

    def _moved(self, segments: Mapping[int, float], encodes: Mapping[Plan, float], slowdown: float) -> bool:
        """Whether a time changed by more than the step; what is below 1 % of the model's time does not matter."""
        seen = self.profile
        whole_ms = seen.head_ms(len(seen.segment_ms))
        pairs = [(seen.segment_ms[i] or 0.0, ms) for i, ms in segments.items()]
        pairs += [(seen.encode_ms[plan], ms) for plan, ms in encodes.items()]
        pairs.append((self._slowdown * whole_ms, slowdown * whole_ms))
        return any(abs(after - before) > max(self.STEP * before, 0.01 * whole_ms) for before, after in pairs)

    def _follow(self, segments: Mapping[int, float], encodes: Mapping[Plan, float], slowdown: float) -> None:
        rest = self._base.slowed(slowdown)
        self._slowdown = slowdown
        self.profile = replace(
            rest,
            segment_ms=tuple(segments.get(i, ms) for i, ms in enumerate(rest.segment_ms)),
            encode_ms={**rest.encode_ms, **encodes},
        )
