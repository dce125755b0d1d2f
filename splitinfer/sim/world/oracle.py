"""The one who knows the future: the same plans, and for each of them what it will take. Simulation only.

Greedy: the best plan for this request, whatever it leaves for the next one. With one exception: a connection opens and a radio
wakes only by being used, so that a greedy one might never begin. `patient` decides as if both were awake, and pays what it
costs; the better of the two over a whole run is the reference (`world.simulate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.plan import Offer, Plan
from splitinfer.sim.world.cloud import Cloud
from splitinfer.sim.world.link import Uplink


@dataclass(frozen=True, slots=True)
class Oracle:
    """Sees the trace, the queue and the cloud; `offers` are those that the budget allows, as for everybody else."""

    offers: tuple[Offer, ...]
    link: Uplink
    cloud: Cloud
    patient: bool

    def plan(self, now_ms: float, pace: float) -> Plan:
        """The plan that will be answered first, on a device that is `pace` times as slow as its profile."""
        return min(self.offers, key=lambda offer: self._takes_ms(offer, now_ms, pace)).plan

    def _takes_ms(self, offer: Offer, now_ms: float, pace: float) -> float:
        cost = offer.cost
        compute_ms = pace * (cost.head_ms + cost.encode_ms)
        if offer.local:
            return compute_ms
        leaves_ms = now_ms + compute_ms
        _, departs_ms = self.link.departs_ms(leaves_ms, offer.score.bytes_p50, awake=self.patient)
        if departs_ms > leaves_ms + 60_000.0:
            return departs_ms
        rtt_ms = self.link.rtt_ms(leaves_ms)
        served = self.cloud.expects(departs_ms + rtt_ms / 2 + cost.decode_ms, cost.tail_ms)
        return served.done_ms + rtt_ms / 2 - now_ms
