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

from grpc_reflection.v1alpha import reflection

from splitinfer.cloud.admission import Admission
from splitinfer.cloud.handlers import Calls, Handlers, House
from splitinfer.cloud.health import NAME, Health
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.listening import bind, new_server
from splitinfer.cloud.security import Gate, join_address, open_gate, split_address
from splitinfer.cloud.settings import Limits, ServeSettings
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
        self.health_address = ""
        """Where probes ask in plaintext; "" = nowhere."""
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
        self._server = new_server(self._limits)
        self._server.add_generic_rpc_handlers(Handlers(house).generic())
        await self._add_standard_services()
        self.address = self._bind()
        self.health_address = await self._open_health()
        await self._server.start()
        await self._health.say(serving=True)

    async def drain(self, within_s: float) -> None:
        """Stops without losing a request: tells where else to go, says NOT_SERVING, waits until nothing is open, stops.

        New requests are answered until the first quiet moment; where none comes in half the time, they are refused.
        """
        self._calls.leaving.set()
        await asyncio.sleep(min(ANNOUNCE_S, within_s / 8))
        await self._health.say(serving=False)
        await asyncio.sleep(min(NOTICE_S, within_s / 8))
        if not await self._quiet(within_s / 2):
            self._calls.refusing = True
            await self._quiet(within_s / 4)
        await self._server.stop(grace=NOTICE_S)
        await self._health.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(self._settings.drain_s)

    async def _add_standard_services(self) -> None:
        self._health = Health(SERVICES)
        self._health.join(self._server)
        await self._health.say(serving=False)
        if self._settings.reflection:
            reflection.enable_server_reflection((*SERVICES, NAME, reflection.SERVICE_NAME), self._server)

    async def _open_health(self) -> str:
        if self._settings.health_port is None:
            return ""
        host, _ = split_address(self._settings.listen)
        return join_address(host, await self._health.open(host, self._settings.health_port, self._limits))

    async def _quiet(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._calls.idle()
        except TimeoutError:
            return False
        return True

    def _bind(self) -> str:
        host, wanted = split_address(self._settings.listen)
        port = bind(self._server, host, wanted, self._gate.credentials)
        return join_address(self._settings.advertise or reachable(host), port)


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
