"""What a server says of its own health (`grpc.health.v1`): to its clients, and to probes that speak no TLS.

Kubernetes' gRPC probe is one of those: it knows neither TLS nor tokens. For it there is a second server, in plaintext, on a
port of its own, that answers this question and no other. Knows no request.
"""

from __future__ import annotations

from collections.abc import Sequence

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from splitinfer.cloud.listening import bind, new_server
from splitinfer.cloud.settings import Limits

NAME = health.SERVICE_NAME
_STATUS = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}


class Health:
    """One state of health, and everybody who may ask for it. NOT_SERVING until somebody says otherwise.

    Args:
        services: those that have this health, beside the server as a whole.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs know no aio
        self._probed: aio.Server | None = None

    def join(self, server: aio.Server) -> None:
        """Lets `server` answer, beside what else it answers."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def open(self, host: str, wanted: int, limits: Limits) -> int:
        """Starts the plaintext server on `wanted` or the next free port above it; 0 = any. Returns the port.

        Raises:
            Unreachable: no port is free.
        """
        server = new_server(limits)
        self.join(server)
        port = bind(server, host, wanted)
        await server.start()
        self._probed = server
        return port

    async def say(self, serving: bool) -> None:
        """Whoever asks from now on, or watches, hears this."""
        for name in self._services:
            await self._servicer.set(name, _STATUS[serving])

    async def close(self) -> None:
        """Ends the plaintext server, if there is one."""
        if self._probed is not None:
            await self._probed.stop(grace=None)
