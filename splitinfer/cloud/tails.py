"""`Tails` on Ray Serve: Serve places, heals, scales and upgrades replicas; each runs a server of ours on a port of its own.

Serve's proxy sees no request (it costs 11-15 times the latency, hides the deadline and drops error details), so replicas tell
their health and load to Serve, and their addresses to each other. The only module that imports Ray.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application

from splitinfer.backends.prometheus import Metrics
from splitinfer.cloud.endpoints import BEAT_S, Endpoints
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.listening import PORTS
from splitinfer.cloud.security import check_exposure, split_address
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.errors import Unreachable

APP = "splitinfer"
NAMESPACE = "splitinfer"
REPLICA_CPUS = 0.1
"""What Ray reserves, not what is used: an upgrade starts a second replica beside the first, and both must fit."""
LOOPBACK = "127.0.0.2"
"""Ray would put the machine's public address in the place of 127.0.0.1."""
OBJECT_STORE_BYTES = 100 << 20
"""Tensors do not pass through Ray."""
_EndpointsActor = ray.remote(num_cpus=0, max_restarts=-1)(Endpoints)
_log = logging.getLogger(__name__)


@serve.deployment(
    # A new replica serves before the old one drains: with one replica, an upgrade is no outage.
    max_surge_percent=100,
    max_constructor_retry_count=3,
    graceful_shutdown_wait_loop_s=0.2,
    health_check_period_s=1,
    health_check_timeout_s=2,
    ray_actor_options={"num_cpus": REPLICA_CPUS},
)
class Tails:
    """A replica: a `TailServer`, and the signs of life that Ray and the other replicas see."""

    async def __init__(self, args: Mapping[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        self._settings = ServeSettings.of(args)
        hosted = await asyncio.to_thread(lambda: [Hosted.open(path) for path in self._settings.bundles])
        self._metrics = _metrics(self._settings)
        self._server = TailServer(hosted, self._settings, observers=[self._metrics] if self._metrics else [])
        await self._server.start()
        self._app = serve.get_replica_context().app_name
        self._list = endpoints(self._app)
        self._alive: tuple[str, ...] = (self._server.address,)
        self._server.addresses = lambda: self._alive
        await self._beat()
        self._beating = asyncio.create_task(self._keep_beating())

    async def check_health(self) -> None:
        """Asked by Serve once a second, on the event loop that serves: a loop that hangs does not answer."""
        if self._beating.done():
            raise RuntimeError("this replica no longer says where it is")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What an autoscaling policy may look at. Serve gives up for good on a method that once returns something else."""
        return {"queue_ms": self._server.queue_ms, "in_flight": float(self._server.in_flight)}

    async def __del__(self) -> None:
        # Serve's only hook for a drain; it is awaited. After a failed start there is nothing to end.
        if not hasattr(self, "_beating"):
            return
        self._beating.cancel()
        # Devices hear once more who else is there before this replica goes.
        await self._beat()
        await self._server.drain(self._settings.drain_s)
        await self._leave()
        if self._metrics:
            self._metrics.close()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._beat()

    async def _beat(self) -> None:
        try:
            self._alive = await self._list.beat.remote(self._server.address, self._server.digests)
        except RayError:
            _log.warning("the list of replicas cannot be reached; this one serves on", exc_info=True)
            self._list = endpoints(self._app)

    async def _leave(self) -> None:
        try:
            await self._list.leave.remote(self._server.address)
        except RayError:
            _log.warning("the list of replicas cannot be reached; it will forget this one")


def endpoints(app_name: str = APP) -> Any:
    """The actor that knows where the replicas of an application are; made where there is none."""
    options = {"name": f"endpoints-{app_name}", "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return _EndpointsActor.options(**options).remote()


def app(args: Mapping[str, Any]) -> Application:
    """Builds the application; `import_path: splitinfer.cloud.tails:app` of a Serve config file.

    Reads no file, so that it can run on a head that has neither bundles nor keys.

    Args:
        args: fields of `ServeSettings`.

    Raises:
        ValueError: an argument is unknown, missing or impossible.
        SecurityError: plaintext would be public.
    """
    settings = ServeSettings.of(args)
    check_exposure(settings)
    deployment = cast("serve.Deployment", Tails).options(
        num_replicas=settings.replicas, graceful_shutdown_timeout_s=settings.drain_s + 5
    )
    return deployment.bind(asdict(settings))


def join(address: str | None, folder: str) -> None:
    """Connects to a Ray cluster, or starts one of our own on loopback, that nobody else can use.

    Args:
        address: of the cluster; None = one of our own.
        folder: for the files of our own cluster; private, and with a short path, since sockets are among them.

    Raises:
        Unreachable: nobody answers at `address`, or not to us.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if address is not None:
        _join_there(address)
        return
    # Whoever may talk to Ray may run code in it. Its processes inherit the token; nothing is written to the home folder.
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        "local",
        namespace=NAMESPACE,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address=LOOPBACK,
        _temp_dir=str(Path(folder) / "ray"),  # Ray opens this one to everybody, but not the folder around it
    )


def _join_there(address: str) -> None:
    try:
        ray.init(address, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise Unreachable(
            f"cannot join a Ray cluster at {address}: check --ray-address, RAY_AUTH_TOKEN, and that both run the same Ray"
        ) from error


def deploy(settings: ServeSettings, app_name: str = APP) -> None:
    """Runs the application and waits until every replica serves.

    Raises:
        Unreachable: the replicas did not start; the application is gone then.
    """
    serve.start(proxy_location="Disabled")
    try:
        serve.run(app(asdict(settings)), name=app_name, route_prefix=None)
    except RuntimeError as error:
        why = _why(app_name) or str(error)
        undeploy(app_name)
        raise Unreachable(f"the replicas did not start: {why}") from error


def _why(app_name: str) -> str:
    """What Serve knows of a failure, its last line: the error that a replica raised, where it was one."""
    found = serve.status().applications.get(app_name)
    messages = [deployment.message.strip() for deployment in found.deployments.values()] if found else []
    return "; ".join(message.splitlines()[-1] for message in messages if message)


def where(app_name: str = APP) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses and digests of the live replicas."""
    actor = endpoints(app_name)
    addresses, digests = ray.get([actor.alive.remote(), actor.digests.remote()])
    return addresses, digests


def is_alive() -> bool:
    """Whether the cluster still answers. Asked by hand, because Ray waits a minute for one that does not."""
    host, port = split_address(ray.get_runtime_context().gcs_address)
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def undeploy(app_name: str = APP) -> None:
    """Drains and ends the replicas of an application."""
    serve.delete(app_name)
    ray.kill(endpoints(app_name))


def leave() -> None:
    """Disconnects, which ends a cluster of our own. Serve needs no shutdown then: nothing runs on it any more."""
    ray.shutdown()


def _metrics(settings: ServeSettings) -> Metrics | None:
    if settings.metrics_port is None:
        return None
    host, _ = split_address(settings.listen)
    for port in range(settings.metrics_port, settings.metrics_port + PORTS):
        try:
            return Metrics("cloud", port, host)
        except OSError:
            continue
    raise OSError(f"no free port for metrics from {settings.metrics_port} upwards: choose another --metrics-port")
