"""`splitinfer serve`: from settings to replicas that answer, and back.

    with start(ServeSettings(bundles=("model.bundle",))) as running:
        print(running.addresses)
        running.wait()

Knows no RPC. What can be checked without Ray is checked before it starts.
"""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Self

from splitinfer.bundle import Bundle
from splitinfer.cloud import tails
from splitinfer.cloud.hosted import check_tails
from splitinfer.cloud.listening import is_free
from splitinfer.cloud.security import check_exposure, join_address, open_gate, split_address
from splitinfer.cloud.settings import ServeSettings
from splitinfer.errors import Unreachable

__all__ = ["Running", "ServeSettings", "start"]

CONNECT_S = 3.0
"""How long a cluster may take to accept a connection."""
SETTLE_S = 0.5
"""How long Ray's own processes take to end at SIGTERM."""


@dataclass(frozen=True)
class Running:
    """Replicas that answer.

    Attributes:
        settings: what was asked for.
        addresses: HOST:PORT of each replica.
        digests: of the bundles.
    """

    settings: ServeSettings
    addresses: tuple[str, ...]
    digests: tuple[str, ...]
    _folder: str = field(repr=False)

    def wait(self) -> None:
        """Returns when the process is asked to end (SIGTERM, SIGINT). Main thread only."""
        asked = threading.Event()

        def ask(number: int, frame: FrameType | None) -> None:
            asked.set()

        # Ray has taken over SIGTERM; from here on it is ours.
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            asked.wait()
            # A signal to the whole process group reached Ray, too. Give it time to go, since `stop` must know.
            time.sleep(SETTLE_S)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Drains the replicas, then ends what `start` started. Where Ray was ended already, nothing is left to drain."""
        if tails.is_alive():
            tails.undeploy()
        _leave(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def start(settings: ServeSettings) -> Running:
    """Starts a local Ray, or joins a cluster, and serves. Returns when every replica answers.

    Raises:
        SecurityError: credentials are missing, or plaintext would be public.
        CorruptBundle: a bundle cannot be opened.
        InvalidCut: a bundle was trimmed for devices.
        Unreachable: a port is taken, the cluster does not answer, or it did not bring the replicas up.
    """
    check_exposure(settings)
    settings = settings.absolute()
    if settings.ray_address is None:
        _check_here(settings)
    else:
        _check_there(settings.ray_address)
    folder = tempfile.mkdtemp(prefix="splitinfer-")
    try:
        tails.join(settings.ray_address, folder)
        tails.deploy(settings)
        addresses, digests = tails.where()
    except BaseException:
        _leave(folder)
        raise
    return Running(settings, addresses, digests, folder)


def _check_here(settings: ServeSettings) -> None:
    """What would fail in the replicas a quarter of a minute later fails here at once."""
    open_gate(settings)
    for path in settings.bundles:
        check_tails(Bundle.open(path, verify=False))
    host, port = split_address(settings.listen)
    for option, wanted in (
        ("--listen", port),
        ("--metrics-port", settings.metrics_port),
        ("--health-port", settings.health_port),
    ):
        if wanted and not is_free(host, wanted):
            address = join_address(host, wanted)
            raise Unreachable(f"{address} is taken, or not of this machine: choose another {option} (port 0 = any)")


def _check_there(address: str) -> None:
    """Ray itself would write about a cluster that is not there for two minutes."""
    if address == "auto":
        return
    try:
        socket.create_connection(split_address(address), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise Unreachable(f"no Ray cluster at {address}: check --ray-address (HOST:PORT of its head, or auto)") from error


def _leave(folder: str) -> None:
    tails.leave()
    shutil.rmtree(folder, ignore_errors=True)
