"""The rival's estimate: the harmonic mean of bytes over elapsed time, of the last few transfers.

It blames the rate for the delay, knows no spread and does not age. FESTIVE (Jiang et al., CoNEXT 2012) and MPC (Yin et al.,
SIGCOMM 2015) made it the usual one. Here to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.estimate.link import Prior, Transfer, is_time
from splitinfer.plan import Uplink

KEEP = 5
LEAST_BYTES = 8_192
"""Smaller ones measure nothing but the delay: its authors did not divide those."""


@dataclass(frozen=True, slots=True)
class Harmonic:
    """Attributes: `paces` holds ms per byte of the last transfers, the round trip included."""

    paces: tuple[float, ...] = ()

    @property
    def surprised(self) -> bool:
        """Never."""
        return False

    def uplink(self, now_ms: float) -> Uplink | None:
        """One rate, taken for certain; without a delay, which is in the rate."""
        if not self.paces:
            return None
        return Uplink(8e3 * len(self.paces) / sum(self.paces), 0.0, 0.0)

    def network_changed(self) -> Harmonic:
        """Starts anew."""
        return Harmonic()

    def prior(self) -> None:
        """It remembers nothing."""

    def elsewhere(self, prior: Prior | None, now_ms: float) -> Harmonic:
        """Starts anew."""
        return Harmonic()

    def observe(self, transfer: Transfer, now_ms: float) -> Harmonic:
        """Takes a transfer in; one that was broken off counts with what had arrived."""
        if not is_time(transfer.elapsed_ms) or transfer.nbytes < LEAST_BYTES:
            return self
        return Harmonic((*self.paces, transfer.elapsed_ms / transfer.nbytes)[-KEEP:])
