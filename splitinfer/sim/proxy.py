"""A TCP proxy that makes a loopback connection behave like a slow, far or dead one. Needs no privilege.

Real sockets, real time, no packets: it shapes the byte stream. What it models: one bottleneck of a set rate for all connections
in each direction, a bounded queue in front of it (beyond which the sender is held back, as TCP would hold it), half the round
trip each way, one round trip to connect, and a tunnel. What it does not: loss, slow start, congestion control, the bytes of TCP
and IP headers. Knows no model and no plan.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypedDict, Unpack

from splitinfer.errors import SimulationError
from splitinfer.sim.bottleneck import MicrosecondSelector
from splitinfer.sim.relay import Link, Relay, narrow
from splitinfer.sim.trace import LinkTrace

__all__ = ["QUEUE_BYTES", "Changes", "Link", "Proxy", "Traffic"]

QUEUE_BYTES = 32 * 1024
"""Default bound of the queue in front of each bottleneck: what a cancelled upload still sends ahead of the next one."""


class Changes(TypedDict, total=False):
    """Fields of `Link`; one that is not given stays as it is."""

    rate_bps: float | None
    down_bps: float | None
    rtt_ms: float
    blackhole: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that have passed the bottleneck."""

    up_bytes: int
    down_bytes: int


class Proxy:
    """Forwards TCP connections to a target over a link that can be changed while it runs.

    It runs in a thread of its own between `start` and `close`, or inside `with`. Its methods may be called from any thread.
    """

    def __init__(
        self,
        target: str,
        listen: str = "127.0.0.1:0",
        link: Link | None = None,
        *,
        queue_bytes: int = QUEUE_BYTES,
        public: bool = False,
    ) -> None:
        """Says what to forward; `start` opens the socket.

        Args:
            target: HOST:PORT of the server.
            listen: HOST:PORT for clients; port 0 picks a free one (see `address`).
            link: at the start; default: no limit and no delay.
            queue_bytes: bound of the queue in front of each bottleneck.
            public: allow a listening address that others can reach.

        Raises:
            SimulationError: an address is not HOST:PORT, or is public without `public`.
        """
        if queue_bytes < 1:
            raise SimulationError(f"queue_bytes must be at least 1, got {queue_bytes}")
        self._target, self._listen = _host_port(target), _host_port(listen)
        if not public and not _is_loopback(self._listen[0]):
            raise SimulationError(f"{listen} can be reached by others: listen on 127.0.0.1, or allow it with public=True")
        self._link = link or Link()
        self._queue_bytes = queue_bytes
        self._listener: socket.socket | None = None
        self._running: _Running | None = None

    def start(self) -> Self:
        """Opens the listening socket and serves until `close`.

        Raises:
            SimulationError: the address cannot be used, the target's name is unknown, or it was started before.
        """
        if self._listener is not None:
            raise SimulationError("a proxy starts once: make another one")
        target = _resolve(*self._target)
        self._listener = listener = _listen(*self._listen)
        self._running = _Running(lambda: Relay(listener, target, self._queue_bytes))
        self._running.call(lambda relay: relay.turn(self._link))
        return self

    def close(self) -> None:
        """Drops all connections and ends the thread. May be called twice."""
        if self._running is not None:
            self._running.stop()
            self._running = None
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def address(self) -> str:
        """HOST:PORT where it listens."""
        self._alive()
        assert self._listener is not None
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def link(self) -> Link:
        """The link as it is now."""
        return self._alive().relay.link

    def set(self, **changes: Unpack[Changes]) -> None:
        """Changes the link and ends a `follow`. Holds when it returns; what is under way goes on under the new conditions.

        Args:
            **changes: fields of `Link`; the others stay.

        Raises:
            SimulationError: a value makes no sense.
        """

        def change(relay: Relay) -> None:
            link = replace(relay.link, **changes)
            relay.unfollow()
            relay.turn(link)

        self._alive().call(change)

    def follow(self, trace: LinkTrace, start_ms: float = 0.0) -> None:
        """Changes the link as a trace says, from now on, until `set`, another `follow` or `close`.

        A rate of 0 is a blackhole: where nothing goes up, no acknowledgement does. Where the trace records no downlink or round
        trip, those stay as they are.

        Args:
            trace: what to follow.
            start_ms: the moment in the trace that is now.
        """
        self._alive().call(lambda relay: relay.follow(trace, start_ms))

    @property
    def total(self) -> Traffic:
        """Bytes of all connections since the start."""
        relay = self._alive().relay
        return Traffic(relay.up.carried_bytes, relay.down.carried_bytes)

    @property
    def connections(self) -> tuple[Traffic, ...]:
        """Bytes of each connection, closed ones too, in order of arrival."""
        return tuple(Traffic(up.carried_bytes, down.carried_bytes) for up, down in list(self._alive().relay.pipes))

    def _alive(self) -> _Running:
        if self._running is None:
            raise SimulationError("the proxy does not run: use it inside `with Proxy(...)`")
        return self._running


class _Running:
    """A relay on an event loop in a thread of its own."""

    def __init__(self, make: Callable[[], Relay]) -> None:
        self._make = make
        self._started: concurrent.futures.Future[tuple[Relay, asyncio.Task[None]]] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="splitinfer-proxy", daemon=True)
        self._thread.start()
        self.relay, self._main_task = self._started.result()
        self._loop = self._main_task.get_loop()

    def call(self, change: Callable[[Relay], None]) -> None:
        """Runs `change` on the loop, waits for it, and raises what it raised."""

        async def run() -> None:
            change(self.relay)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def stop(self) -> None:
        """Cancels everything and waits for the thread."""
        with suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(self._main_task.cancel)
        self._thread.join()

    def _run(self) -> None:
        with (
            asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(MicrosecondSelector())) as runner,
            suppress(asyncio.CancelledError),
        ):
            runner.run(self._main())

    async def _main(self) -> None:
        relay = self._make()
        task = asyncio.current_task()
        assert task is not None
        self._started.set_result((relay, task))
        await relay.run()


def _host_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise SimulationError(f"an address is written HOST:PORT, for example 127.0.0.1:8443; got {address!r}")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    """Family and socket address of a TCP server."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SimulationError(f"no host is called {host}: check the address") from error
    return family, address


def _listen(host: str, port: int) -> socket.socket:
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        narrow(listener)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SimulationError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another port, or 0 for a free one"
        ) from error
    listener.setblocking(False)
    return listener
