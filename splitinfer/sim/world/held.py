"""What is simulated of a request's tensors, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.events import Outcome
from splitinfer.model import Tensors
from splitinfer.plan import Plan


@dataclass(frozen=True, slots=True)
class SimHeld:
    """Nothing but the place."""

    at: int

    def plain(self) -> Tensors:
        """None."""
        return {}

    def outputs(self) -> Tensors:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that was answered, or not.

    Attributes:
        began_ms: when it was asked.
        latency_ms: until the answer.
        plan: that was carried out.
        outcome: how.
        energy_mj: of this device, by its true figures; what is sent between requests is in none of them.
        uplink_bytes: of the payload.
    """

    began_ms: float
    latency_ms: float
    plan: Plan
    outcome: Outcome
    energy_mj: float
    uplink_bytes: int
