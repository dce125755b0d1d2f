"""One direction of a shared link: a bounded FIFO that lets bits go at a set rate, and a delay behind it.

Runs on one event loop and keeps an absolute schedule, so that a timer that is late delays one chunk and not the next. Knows no
socket and no trace; the proxy gives it chunks and places to deliver them.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

_FD_SETSIZE = 1024
_CHUNK_S = 1e-3
_CHUNK_MIN_BYTES, _CHUNK_MAX_BYTES = 1448, 16384


class MicrosecondSelector(selectors.DefaultSelector):
    """The platform's selector with timers finer than the whole milliseconds that epoll counts in.

    `select` waits in microseconds, and epoll's own descriptor can be waited for. Linux may end a wait 0.1 % late (0.5 % for a
    niced process), so a long one is cut short and the loop, finding nothing due, waits for the rest.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits for events, at most `timeout` seconds."""
        if timeout is not None and timeout > 0 and self.fileno() < _FD_SETSIZE:
            select.select([self.fileno()], [], [], timeout if timeout < 2e-3 else timeout * 0.99)
            timeout = 0
        return super().select(timeout)


class Kind(Enum):
    """What a chunk means at the other end."""

    OPEN = auto()
    DATA = auto()
    END = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes on their way, or a mark among them that takes no room.

    Attributes:
        kind: what it means.
        data: empty unless DATA.
        at_s: when the link got it, on the loop's clock.
        deliver: called with the chunk and the time it is due at the other end, when the last bit has left the queue.
    """

    kind: Kind
    data: bytes
    at_s: float
    deliver: Callable[[Chunk, float], None]


class Bottleneck:
    """A FIFO that all connections share.

    Attributes:
        rate_bps: of payload bytes; 0 = nothing moves, infinity = as fast as the machine.
        delay_s: one way, behind the queue.
        room: set while the queue has room; whoever reads from a socket waits for it first.
        carried_bytes: that have left the queue.
    """

    def __init__(self, queue_bytes: int) -> None:
        self.rate_bps = inf
        self.delay_s = 0.0
        self.room = asyncio.Event()
        self.room.set()
        self.carried_bytes = 0
        self._limit_bytes = queue_bytes
        self._held_bytes = 0
        self._queue: asyncio.Queue[Chunk] = asyncio.Queue()
        self._free_at_s = 0.0
        self._last_due_s = 0.0
        self._waiting: asyncio.Future[float | None] | None = None

    @property
    def chunk_bytes(self) -> int:
        """How much to read at once: about a millisecond's worth."""
        return int(min(max(self.rate_bps * _CHUNK_S / 8, _CHUNK_MIN_BYTES), _CHUNK_MAX_BYTES))

    def put(self, chunk: Chunk) -> None:
        """Queues a chunk. Never waits: the queue exceeds its bound by at most one chunk a connection."""
        self._held_bytes += len(chunk.data)
        if self._held_bytes >= self._limit_bytes:
            self.room.clear()
        self._queue.put_nowait(chunk)

    def turn(self, rate_bps: float, delay_s: float, at_s: float) -> None:
        """Changes the link at a moment that has just passed; what is under way goes on at the new rate."""
        self.rate_bps, self.delay_s = rate_bps, delay_s
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(at_s)

    async def run(self) -> None:
        """Lets chunks go, one after the other, until cancelled."""
        while True:
            chunk = await self._queue.get()
            left_at_s = await self._carry(8 * len(chunk.data), max(self._free_at_s, chunk.at_s))
            self._free_at_s = left_at_s
            self._held_bytes -= len(chunk.data)
            self.carried_bytes += len(chunk.data)
            if self._held_bytes < self._limit_bytes:
                self.room.set()
            self._last_due_s = max(left_at_s + self.delay_s, self._last_due_s)  # a shorter delay does not overtake
            chunk.deliver(chunk, self._last_due_s)

    async def _carry(self, bits: float, start_s: float) -> float:
        """Waits until `bits` that start at `start_s` have left, whatever the rate does meanwhile; returns when that was."""
        while True:
            rate_bps = self.rate_bps
            end_s = start_s + bits / rate_bps if rate_bps else inf
            turned_at_s = await self._turned_before(end_s)
            if turned_at_s is None:
                return end_s
            moved_s = max(turned_at_s - start_s, 0.0)
            bits = max(bits - rate_bps * moved_s, 0.0) if rate_bps < inf else bits
            start_s += moved_s

    async def _turned_before(self, end_s: float) -> float | None:
        """Waits until `end_s`, or until the link changes; when it changed, or None."""
        loop = asyncio.get_running_loop()
        if end_s <= loop.time():
            return None
        turned: asyncio.Future[float | None] = loop.create_future()
        self._waiting = turned
        timer = loop.call_at(end_s, _settle, turned) if end_s < inf else None
        try:
            return await turned
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()


def _settle(future: asyncio.Future[float | None]) -> None:
    if not future.done():
        future.set_result(None)
