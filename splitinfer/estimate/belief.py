"""What the scheduler asks of an estimate of the link. One that learns differently goes with a rival's policy."""

from __future__ import annotations

from typing import Protocol, Self

from splitinfer.estimate.link import Prior, Transfer
from splitinfer.plan import Uplink


class Belief(Protocol):
    """A frozen value that transfers turn into the next one."""

    @property
    def surprised(self) -> bool:
        """Whether this is not the link that was known."""
        ...

    def uplink(self, now_ms: float) -> Uplink | None:
        """The link as a policy wants it; None while nothing was measured."""
        ...

    def network_changed(self) -> Self:
        """What is left of it when the connection is a new one."""
        ...

    def prior(self) -> Prior | None:
        """What is worth remembering of this network; None = nothing."""
        ...

    def elsewhere(self, prior: Prior | None, now_ms: float) -> Self:
        """Another network, of which this is remembered."""
        ...

    def observe(self, transfer: Transfer, now_ms: float) -> Self:
        """What it is after a transfer that ended at `now_ms`."""
        ...
