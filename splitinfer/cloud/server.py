"""One server: a port, its health, and an orderly end. Knows nothing of Ray.

    async with TailServer(hosted, settings) as server:
        print(server.address)

The event loop only moves bytes; tails run in threads, so that a long run delays neither health checks nor cancellations.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from splitinfer.cloud.admission import Admission
from splitinfer.cloud.handlers import Calls, Handlers, House
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.security import Gate, join_address, open_gate, split_address
from splitinfer.cloud.settings import Limits, ServeSettings
from splitinfer.errors import Unreachable
from splitinfer.events import Observer
from splitinfer.model import Digest

SERVICES = ("splitinfer.v1.InferenceService", "splitinfer.v1.ControlService")
ANNOUNCE_S = 1.0
"""From the last list of servers until clients have connected to those that are new to them."""
NOTICE_S = 0.5
"""From NOT_SERVING until clients with health checks have turned to another server."""
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound
OUTSIDE = "192.0.2.1"
"""An address that is nobody's (RFC 5737)."""
PORTS = 64
"""How far upwards a free port is looked for."""


class TailServer:
    """A gRPC server that runs tails.

    Args:
        hosted: the bundles.
        settings: where to listen, who may ask, how many threads.
        limits: how much may be asked.
        observers: hear `Served` and `RequestRefused`, on the event loop.

    Raises:
        SecurityError: see `open_gate`; nothing is bound then.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        settings: ServeSettings,
        limits: Limits | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._hosted = {one.model.digest: one for one in hosted}
        self._observers = tuple(observers)
        self._gate: Gate = open_gate(settings)
        self.address = ""
        self.addresses: Callable[[], tuple[str, ...]] = lambda: (self.address,)
        """All live servers; whoever runs several replaces it."""

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Of the bundles, sorted."""
        return tuple(sorted(self._hosted))

    @property
    def queue_ms(self) -> float:
        """What a request that comes now would wait."""
        return self._admission.queue_ms

    @property
    def in_flight(self) -> int:
        """Requests that run or wait."""
        return self._admission.in_flight

    async def start(self) -> None:
        """Binds a port and serves.

        Raises:
            Unreachable: no port is free.
        """
        threads = self._settings.threads or max(1, len(os.sched_getaffinity(0)) // self._settings.replicas)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tail")
        self._admission = Admission(threads, self._limits.queue_max)
        self._calls = Calls()
        house = House(
            hosted=self._hosted,
            gate=self._gate,
            limits=self._limits,
            pool=self._pool,
            admission=self._admission,
            calls=self._calls,
            addresses=lambda: self.addresses(),
            observers=self._observers,
        )
        self._server = aio.server(options=_options(self._limits), maximum_concurrent_rpcs=self._limits.calls_max)
        self._server.add_generic_rpc_handlers(Handlers(house).generic())
        await self._add_standard_services()
        self.address = self._bind()
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self, within_s: float) -> None:
        """Stops without losing a request: tells where else to go, says NOT_SERVING, waits until nothing is open, stops.

        New requests are answered until the first quiet moment; where none comes in half the time, they are refused.
        """
        self._calls.leaving.set()
        await asyncio.sleep(min(ANNOUNCE_S, within_s / 8))
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(min(NOTICE_S, within_s / 8))
        if not await self._quiet(within_s / 2):
            self._calls.refusing = True
            await self._quiet(within_s / 4)
        await self._server.stop(grace=NOTICE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(self._settings.drain_s)

    async def _add_standard_services(self) -> None:
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs know no aio
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._settings.reflection:
            reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *SERVICES):
            await self._health.set(name, status)

    async def _quiet(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._calls.idle()
        except TimeoutError:
            return False
        return True

    def _bind(self) -> str:
        host, wanted = split_address(self._settings.listen)
        for port in range(wanted, min(wanted + PORTS, 65536)) if wanted else (0,):
            if is_free(host, port) and (bound := self._try(host, port)):
                return join_address(self._settings.advertise or reachable(host), bound)
        raise Unreachable(
            f"cannot listen on {self._settings.listen} or on the {PORTS - 1} ports above it: choose another --listen"
        )

    def _try(self, host: str, port: int) -> int:
        address = join_address(host, port)
        try:
            if self._gate.credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, self._gate.credentials)
        except RuntimeError:
            # Somebody was faster.
            return 0


def reachable(host: str) -> str:
    """`host`, or this machine's outward address where that is a wildcard."""
    if host not in WILDCARDS:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            # Sends nothing: connecting a datagram socket only asks for a route.
            asked.connect((OUTSIDE, 9))
        except OSError:
            return "127.0.0.1"
        return str(asked.getsockname()[0])


def is_free(host: str, port: int) -> bool:
    """Whether a port can be bound. Asked first because gRPC writes a failed attempt to stderr."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


def _options(limits: Limits) -> tuple[tuple[str, int], ...]:
    return (
        # Two servers on one port would share its connections at random.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.unary_bytes),
        ("grpc.max_send_message_length", -1),
        # Floods of streams and of headers: with these, a good client's median stayed at 7 ms instead of 354 ms.
        ("grpc.max_concurrent_streams", limits.streams_max),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        ("grpc.max_connection_idle_ms", round(limits.connection_idle_s * 1e3)),
        # Devices ping to notice a dead link; more often than this is a flood.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 4000),
        ("grpc.http2.max_ping_strikes", 2),
        # Devices that vanished without a word.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
    )
