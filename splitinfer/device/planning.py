"""Keeps a scheduler alive: events of all threads in, plans out, and a thread for what is due (timers, probes, the battery).

The scheduler is pure and knows no lock and no clock; both are here. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread

from splitinfer.device.driver import now_ms
from splitinfer.device.feed import Feed
from splitinfer.events import Event, PowerRead, ProbeDue
from splitinfer.plan import Budget, Plan
from splitinfer.scheduler import Scheduler


class Planning:
    """A scheduler behind a lock, with a thread that wakes it. Thread-safe."""

    def __init__(self, scheduler: Scheduler, feed: Feed, probe: Callable[[int], None]) -> None:
        self._scheduler = scheduler
        self._feed = feed
        self._probe = probe
        self._probes: list[int] = []
        self._power: Callable[[], PowerRead] | None = None
        self._power_every_ms = 0.0
        self._power_due_ms = float("inf")
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._attend, name="splitinfer-planning", daemon=True)

    def start(self, read_power: Callable[[], PowerRead], every_ms: float) -> None:
        """Starts the thread; the battery is read at once and then every `every_ms`."""
        self._power, self._power_every_ms = read_power, every_ms
        self.hear(read_power())
        self._power_due_ms = now_ms() + every_ms
        self._thread.start()

    def hear(self, event: Event, at_ms: float | None = None) -> None:
        """Tells the scheduler what happened, and everybody what followed."""
        at_ms = now_ms() if at_ms is None else at_ms
        with self._changed:
            self._say([event, *self._scheduler.handle(event, at_ms)], at_ms)
            self._changed.notify()

    @property
    def scheduler(self) -> Scheduler:
        """For reading: plan, conditions, table. Each is a frozen value that may be one event old."""
        return self._scheduler

    def plan_from(self, cut: int, budget: Budget | None = None) -> Plan:
        """The plan to follow from a cut on, under the client's budget or another."""
        with self._changed:
            return self._scheduler.plan_from(cut, budget)

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _say(self, events: list[Event], at_ms: float) -> None:
        for event in events:
            self._feed.say(event, at_ms)
            if isinstance(event, ProbeDue):
                self._probes.append(event.nbytes)

    def _attend(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._probes and (rest_ms := self._due_ms() - now_ms()) > 0:
                    self._changed.wait(None if rest_ms == float("inf") else rest_ms / 1e3)
                if self._closed:
                    return
                probes, self._probes = self._probes, []
                at_ms = now_ms()
                wakeup_at_ms = self._scheduler.wakeup_at_ms
                if wakeup_at_ms is not None and wakeup_at_ms <= at_ms:
                    self._say(self._scheduler.wake(at_ms), at_ms)
            for nbytes in probes:
                self._probe(nbytes)
            if self._power is not None and self._power_due_ms <= at_ms:
                self._power_due_ms = at_ms + self._power_every_ms
                self.hear(self._power())

    def _due_ms(self) -> float:
        wakeup_at_ms = self._scheduler.wakeup_at_ms
        return min(self._power_due_ms, float("inf") if wakeup_at_ms is None else wakeup_at_ms)
