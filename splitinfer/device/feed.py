"""Hands events to whoever listens, without ever waiting for them.

Each listener has a bounded queue and, where it is a callable, a thread of its own: one that sleeps delays nobody, one that
is too slow loses events (they are counted), one that raises is logged and goes on. Knows nothing of what the events mean.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Lock, Thread, current_thread

from splitinfer.events import Event, Observer, Recorded

log = logging.getLogger("splitinfer")


class Listener:
    """A bounded queue of recorded events; iterating waits for the next one and ends when the feed closes."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._queue: queue.Queue[Recorded | None] = queue.Queue(capacity)

    def offer(self, recorded: Recorded) -> None:
        """Takes the event if there is room."""
        try:
            self._queue.put_nowait(recorded)
        except queue.Full:
            self.dropped += 1

    def end(self) -> None:
        """Ends the iteration after what is queued; where the queue is full, the oldest event makes room."""
        while True:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                with suppress(queue.Empty):  # its reader was faster
                    self._queue.get_nowait()
                    self.dropped += 1
            else:
                return

    def __iter__(self) -> Iterator[Recorded]:
        while (recorded := self._queue.get()) is not None:
            yield recorded


class Feed:
    """Numbers events, stamps them, and hands them on. Thread-safe."""

    def __init__(self, began_at_ms: float, capacity: int = 4096) -> None:
        self._began_at_ms = began_at_ms
        self._capacity = capacity
        self._seq = 0
        self._listeners: list[Listener] = []
        self._threads: list[Thread] = []
        self._closed = False
        self._lock = Lock()

    @property
    def dropped(self) -> int:
        """Events that a slow listener did not get."""
        with self._lock:
            return sum(listener.dropped for listener in self._listeners)

    def say(self, event: Event, at_ms: float) -> None:
        """Hands an event to every listener; never blocks."""
        with self._lock:
            recorded = Recorded(self._seq, at_ms - self._began_at_ms, event)
            self._seq += 1
            for listener in self._listeners:
                listener.offer(recorded)

    def listen(self) -> Listener:
        """A queue of all events from now on."""
        listener = Listener(self._capacity)
        with self._lock:
            self._listeners.append(listener)
            if self._closed:
                listener.end()
        return listener

    def unlisten(self, listener: Listener) -> None:
        """Forgets a listener."""
        with self._lock:
            self._listeners.remove(listener)

    def subscribe(self, observer: Observer) -> None:
        """Calls `observer` for each event from now on, in a thread of its own."""
        self.record(lambda recorded: observer(recorded.event))

    def record(self, write: Callable[[Recorded], None]) -> None:
        """As `subscribe`, with number and time."""
        thread = Thread(target=_deliver, args=(self.listen(), write), name="splitinfer-observer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Lets observers finish what is queued, for a moment; logs how many events were lost."""
        with self._lock:
            self._closed = True
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener.end()
        for thread in self._threads:
            if thread is not current_thread():  # an observer may be who closes
                thread.join(timeout_s)
        if dropped := self.dropped:
            log.warning("%d events were dropped: an observer or a reader of events was too slow", dropped)


def _deliver(listener: Listener, write: Callable[[Recorded], None]) -> None:
    for recorded in listener:
        try:
            write(recorded)
        except Exception:  # whatever an application's observer raises is its own; requests go on
            log.exception("an observer raised on %s", type(recorded.event).__name__)
