"""What happens when, in virtual time. Knows nothing of what happens."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from splitinfer.errors import SimulationError

Step = Callable[[], None]


class Agenda:
    """A clock that jumps from one entry to the next. Entries of one moment happen in the order in which they were made."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._entries: list[tuple[float, int, Step]] = []
        self._count = 0

    def at(self, at_ms: float, step: Step) -> None:
        """Makes an entry; one for the past happens next. One for never is none."""
        if at_ms == inf:
            return
        self._count += 1
        heappush(self._entries, (max(at_ms, self.now_ms), self._count, step))

    def jump(self, to_ms: float) -> bool:
        """Moves the clock if nothing happens before: saves an entry."""
        if self._entries and self._entries[0][0] <= to_ms:
            return False
        self.now_ms = to_ms
        return True

    def run(self, finished: Callable[[], bool]) -> None:
        """Lets everything happen until somebody has finished.

        Raises:
            SimulationError: nothing is left to happen, and nobody has finished: a deadlock.
        """
        while not finished():
            if not self._entries:
                raise SimulationError(f"deadlock: nothing is left to happen after {self.now_ms:.1f} ms of virtual time")
            self.now_ms, _, step = heappop(self._entries)
            step()
