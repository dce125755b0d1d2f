"""How often a request may be computed twice: a bucket that requests fill and races empty. Knows no clock and no plan."""

from __future__ import annotations

from dataclasses import dataclass

KEPT_MOST = 3.0


@dataclass(frozen=True, slots=True)
class Hedges:
    """Permissions to compute twice.

    A race takes the share of the rest that it computed: one that the cloud ended early costs little.

    Attributes:
        kept: permissions; below 0 where a race took more than there was.
    """

    kept: float = KEPT_MOST

    @property
    def left(self) -> bool:
        """Whether a race may be run."""
        return self.kept > 0.0

    @property
    def whole(self) -> bool:
        """Whether there is one to count on: a plan that may need a race to be in time is not chosen on the rest of one."""
        return self.kept >= 1.0

    def earned(self, share: float) -> Hedges:
        """What there is after another request, of which such a share may be computed twice."""
        return Hedges(min(self.kept + share, KEPT_MOST))

    def spent(self, raced_ms: float, rest_ms: float) -> Hedges:
        """What there is after a race that computed so long, of the time that the rest takes."""
        return Hedges(self.kept - (raced_ms / rest_ms if 0.0 <= raced_ms < rest_ms else 1.0))
