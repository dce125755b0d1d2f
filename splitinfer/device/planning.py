"""Keeps a scheduler alive: events of all threads in, plans out, and a thread for what is due (timers, probes, the battery).

The scheduler is pure and knows no lock and no clock; both are here. Nothing here decides anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Condition, Thread

from splitinfer.device.driver import now_ms
from splitinfer.device.feed import Feed
from splitinfer.estimate import Prior
from splitinfer.events import Event, PowerRead, ProbeDue, Woken
from splitinfer.plan import Budget, Plan
from splitinfer.scheduler import Scheduler

log = logging.getLogger("splitinfer")


class Planning:
    """A scheduler behind a lock, with a thread that wakes it. Thread-safe."""

    def __init__(self, scheduler: Scheduler, feed: Feed) -> None:
        self._scheduler = scheduler
        self._feed = feed
        self._probe: Callable[[Sequence[int]], None] | None = None
        self._probes: list[int] = []
        self._power: Callable[[], PowerRead] | None = None
        self._power_every_ms = 0.0
        self._power_due_ms = float("inf")
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._attend, name="splitinfer-planning", daemon=True)

    def start(self, probe: Callable[[Sequence[int]], None], read_power: Callable[[], PowerRead], every_ms: float) -> None:
        """Starts the thread.

        Args:
            probe: sends messages of these sizes, in order, and does not wait for them.
            read_power: reads the battery, now and then every `every_ms`. What it raises is logged: it is read again next time.
            every_ms: see there.
        """
        self._probe, self._power, self._power_every_ms = probe, read_power, every_ms
        self._read_power(now_ms())
        self._thread.start()

    def hear(self, event: Event, at_ms: float | None = None) -> None:
        """Tells the scheduler what happened, and everybody what followed."""
        at_ms = now_ms() if at_ms is None else at_ms
        with self._changed:
            self._tell(event, at_ms)
            self._changed.notify()

    @property
    def scheduler(self) -> Scheduler:
        """For reading: plan, conditions, table. Each is a frozen value that may be one event old."""
        return self._scheduler

    def priors(self) -> dict[str, Prior]:
        """What is known of networks now."""
        with self._changed:
            return dict(self._scheduler.priors)

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

    def _tell(self, event: Event, at_ms: float) -> None:
        for said in (event, *self._scheduler.handle(event, at_ms)):
            self._feed.say(said, at_ms)
            if isinstance(said, ProbeDue):
                self._probes.append(said.nbytes)

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
                    self._tell(Woken(), at_ms)
            if probes and self._probe is not None:
                self._probe(probes)
            if self._power_due_ms <= at_ms:
                self._read_power(at_ms)

    def _read_power(self, at_ms: float) -> None:
        self._power_due_ms = at_ms + self._power_every_ms
        if self._power is None:
            return
        try:
            event = self._power()
        except Exception:  # the application's own reader; timers and probes must outlive it
            log.exception("the battery could not be read")
        else:
            self.hear(event)

    def _due_ms(self) -> float:
        wakeup_at_ms = self._scheduler.wakeup_at_ms
        return min(self._power_due_ms, float("inf") if wakeup_at_ms is None else wakeup_at_ms)
