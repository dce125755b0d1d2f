"""The timeline of the demo: how the link and the battery change. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.events import PowerRead


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the timeline.

    Attributes:
        name: for people.
        duration_s: how long.
        uplink_mbps: rate upwards; 0 = nothing gets through.
        rtt_ms: round trip that the link adds.
    """

    name: str
    duration_s: float
    uplink_mbps: float
    rtt_ms: float

    @property
    def dead(self) -> bool:
        """Whether nothing gets through."""
        return self.uplink_mbps == 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Phases, and the charge at both ends.

    Attributes:
        phases: in order.
        battery_from: charge at the start, 0..1.
        battery_to: charge at the end; it falls evenly.
        period_ms: a photo is taken so often; the next one waits for the last answer.
        latency_ms: the budget.
    """

    phases: tuple[Phase, ...]
    battery_from: float = 0.8
    battery_to: float = 0.2
    period_ms: float = 200.0
    latency_ms: float = 250.0

    @property
    def duration_s(self) -> float:
        """Of all phases."""
        return sum(phase.duration_s for phase in self.phases)

    def phase_at(self, at_s: float) -> int:
        """Index of the phase at a time; the last one after the end."""
        for index, phase in enumerate(self.phases):
            at_s -= phase.duration_s
            if at_s < 0:
                return index
        return len(self.phases) - 1

    def battery_at(self, at_s: float) -> PowerRead:
        """What a battery sensor reads at a time."""
        share = min(max(at_s / self.duration_s, 0.0), 1.0)
        return PowerRead(self.battery_from + share * (self.battery_to - self.battery_from), charging=False)


# A good WiFi at home, and an LTE uplink between the means of public drives (mahimahi: 0.8, 1.9, 6.0 and 13.3 Mbit/s).
WIFI = Phase("wifi", 8.0, 50.0, 6.0)
LTE = Phase("lte", 8.0, 6.0, 45.0)
TUNNEL = Phase("tunnel", 5.0, 0.0, 45.0)

COMMUTE = Scenario((WIFI, LTE, TUNNEL, LTE, WIFI))
