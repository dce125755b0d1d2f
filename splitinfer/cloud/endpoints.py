"""Where the live replicas are: each says so once a second, and whoever is silent is forgotten.

`tails` keeps one of these in an actor; a server without Ray lists itself. Knows no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BEAT_S = 1.0
SILENT_S = 5.0


class Endpoints:
    """Addresses with the time of their last sign of life.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_at: dict[str, float] = {}
        self._digests: dict[str, tuple[str, ...]] = {}

    def beat(self, address: str, digests: tuple[str, ...]) -> tuple[str, ...]:
        """`address` is alive and serves these bundles. Returns all that are alive."""
        self._seen_at[address] = self._clock()
        self._digests[address] = digests
        return self.alive()

    def leave(self, address: str) -> None:
        """`address` takes no more requests."""
        self._seen_at.pop(address, None)

    def alive(self) -> tuple[str, ...]:
        """Every address that was heard of lately, in a stable order."""
        now = self._clock()
        self._seen_at = {address: at for address, at in self._seen_at.items() if now - at < SILENT_S}
        return tuple(sorted(self._seen_at))

    def digests(self) -> tuple[str, ...]:
        """Every bundle that a live address serves."""
        return tuple(sorted({digest for address in self.alive() for digest in self._digests[address]}))
