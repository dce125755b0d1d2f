"""The event-loop side of the proxy: connections, their pipes, and the link they share.

Everything here runs on one loop. `proxy` owns the thread, the addresses and the calls from other threads.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from math import inf, isfinite

from splitinfer.errors import SimulationError
from splitinfer.sim.bottleneck import Bottleneck, Chunk, Kind
from splitinfer.sim.trace import LinkTrace

_IN_FLIGHT_MAX_BYTES = 8 << 20  # of one connection behind the bottleneck: a target that does not read must not fill our memory
_SOCKET_BUFFER_BYTES = 16 * 1024
_SEGMENT_BYTES = 1448


@dataclass(frozen=True, slots=True)
class Link:
    """What the proxy does to bytes now.

    Attributes:
        rate_bps: uplink (client to target), payload bytes only; 0 = nothing goes up; None = as fast as the machine.
        down_bps: downlink, likewise.
        rtt_ms: round trip, half of it each way.
        blackhole: nothing goes anywhere and no connection is made, but nobody is told. What is held flows on when it ends: at
            once, where TCP would wait for its next retransmission.
    """

    rate_bps: float | None = None
    down_bps: float | None = None
    rtt_ms: float = 0.0
    blackhole: bool = False

    def __post_init__(self) -> None:
        for name in ("rate_bps", "down_bps", "rtt_ms"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value >= 0):
                raise SimulationError(f"{name} must be a finite number of at least 0, got {value}")


def narrow(sock: socket.socket) -> None:
    """Keeps the kernel from hiding megabytes of a stream: small receive buffer and segments, before connect or listen.

    Loopback has segments of 64 KB, and a sender's buffer starts at a multiple of that.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)


class Pipe:
    """One direction of one connection: socket, bottleneck, delay, socket.

    Attributes:
        carried_bytes: that have passed the bottleneck.
    """

    def __init__(self, link: Bottleneck) -> None:
        self.carried_bytes = 0
        self._link = link
        self._arriving: asyncio.Queue[tuple[float, Chunk]] = asyncio.Queue()
        self._in_flight_bytes = 0
        self._bounded = asyncio.Event()
        self._bounded.set()

    def put(self, kind: Kind, data: bytes = b"") -> None:
        """Gives the link a chunk."""
        self._in_flight_bytes += len(data)
        if self._in_flight_bytes >= _IN_FLIGHT_MAX_BYTES:
            self._bounded.clear()
        self._link.put(Chunk(kind, data, asyncio.get_running_loop().time(), self._left))

    def _left(self, chunk: Chunk, due_s: float) -> None:
        self.carried_bytes += len(chunk.data)
        self._arriving.put_nowait((due_s, chunk))

    async def arrival(self) -> Chunk:
        """The next chunk, once it is due at this end."""
        due_s, chunk = await self._arriving.get()
        await until(due_s)
        self._in_flight_bytes -= len(chunk.data)
        if self._in_flight_bytes < _IN_FLIGHT_MAX_BYTES:
            self._bounded.set()
        return chunk

    async def read(self, source: socket.socket) -> None:
        """Takes from a socket what the link has room for, until its end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._bounded.wait()
                await self._link.room.wait()
                data = await loop.sock_recv(source, self._link.chunk_bytes)
                if not data:
                    return self.put(Kind.END)
                self.put(Kind.DATA, data)
        except OSError:
            self.put(Kind.RESET)

    async def write(self, sink: socket.socket, source: socket.socket) -> None:
        """Gives a socket what arrives, until the end. Where one side is gone, both are closed."""
        loop = asyncio.get_running_loop()
        gone = False
        while (chunk := await self.arrival()).kind is Kind.DATA:
            if not gone:
                try:
                    await loop.sock_sendall(sink, chunk.data)
                except OSError:
                    gone = True
                    _shut(sink, source)
        if chunk.kind is Kind.RESET:
            _shut(sink, source)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _shut(*socks: socket.socket) -> None:
    for sock in socks:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


async def until(at_s: float) -> None:
    """Sleeps until a moment on the loop's clock."""
    left_s = at_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


class Relay:
    """Accepts connections and forwards them over a link that can change.

    Attributes:
        up: towards the target, shared by all connections.
        down: from the target.
        link: as it is now.
        pipes: of every connection so far, (up, down), in order of arrival.
    """

    def __init__(self, listener: socket.socket, target: tuple[int, tuple[object, ...]], queue_bytes: int) -> None:
        self.up, self.down = Bottleneck(queue_bytes), Bottleneck(queue_bytes)
        self.link = Link()
        self.pipes: list[tuple[Pipe, Pipe]] = []
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._family, self._address = target
        self._passable = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def turn(self, link: Link, at_s: float | None = None) -> None:
        """Changes the link as of a moment that has just passed (default: now)."""
        self.link = link
        at_s = self._loop.time() if at_s is None else at_s
        for way, rate_bps in ((self.up, link.rate_bps), (self.down, link.down_bps)):
            way.turn(0.0 if link.blackhole else inf if rate_bps is None else rate_bps, link.rtt_ms / 2e3, at_s)
        if link.blackhole:
            self._passable.clear()
        else:
            self._passable.set()

    def follow(self, trace: LinkTrace, start_ms: float) -> None:
        """Starts following a trace, at once, in place of another."""
        self.unfollow()
        now_s = self._loop.time()
        self.turn(_as_of(trace, start_ms, self.link), now_s)
        self._following = self._loop.create_task(self._follow(trace, start_ms, now_s))

    def unfollow(self) -> None:
        """Stops following a trace; the link stays as it is."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, trace: LinkTrace, start_ms: float, began_s: float) -> None:
        at_ms = start_ms
        while (at_ms := trace.next_change_ms(at_ms)) < inf:
            due_s = began_s + (at_ms - start_ms) / 1e3
            await until(due_s)
            self.turn(_as_of(trace, at_ms, self.link), due_s)

    async def run(self) -> None:
        """Serves until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.up.run())
                tasks.create_task(self.down.run())
                while True:
                    client, _ = await self._loop.sock_accept(self._listener)
                    tasks.create_task(self._connection(client))
        finally:
            self.unfollow()

    async def _connection(self, client: socket.socket) -> None:
        """Forwards one connection, from the kernel's accept (which loopback gives at once) to the last end.

        One round trip passes before the client's first byte is read, as if its connect had taken that long; the target hears
        of the connection half a round trip later.
        """
        with client, socket.socket(self._family, socket.SOCK_STREAM) as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._passable.wait()
            await asyncio.sleep(self.link.rtt_ms / 1e3)
            up, down = Pipe(self.up), Pipe(self.down)
            self.pipes.append((up, down))
            up.put(Kind.OPEN)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(up.read(client))
                await up.arrival()
                if await self._connected(server):
                    tasks.create_task(down.read(server))
                else:
                    down.put(Kind.RESET)
                tasks.create_task(up.write(server, client))
                tasks.create_task(down.write(client, server))

    async def _connected(self, server: socket.socket) -> bool:
        narrow(server)
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.sock_connect(server, self._address)
        except OSError:
            return False
        return True


def _as_of(trace: LinkTrace, at_ms: float, link: Link) -> Link:
    """The link at a moment of a trace; what that does not record stays. Rate 0 is a blackhole: no acknowledgement passes."""
    piece = trace.at(at_ms)
    return Link(
        rate_bps=piece.up_bps,
        down_bps=link.down_bps if piece.down_bps is None else piece.down_bps,
        rtt_ms=link.rtt_ms if piece.rtt_ms is None else piece.rtt_ms,
        blackhole=piece.up_bps == 0,
    )
