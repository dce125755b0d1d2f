"""What several groups of tests share: servers in a thread of this process, and one local Ray for all that need it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from splitinfer.cloud.hosted import Hosted
    from splitinfer.cloud.server import TailServer

# Set before anybody imports Ray, which reads them once. Without a mode of our own Ray would write a token to the home folder.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = "a token for the tests of this run"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


class Cloud:
    """Servers on an event loop in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[TailServer] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine there and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def start(self, *hosted: Hosted, limits: Any = None, observers: Any = (), **settings: Any) -> TailServer:
        """Starts a server; `settings` are fields of `ServeSettings`."""
        from splitinfer.cloud.server import TailServer
        from splitinfer.cloud.settings import ServeSettings

        chosen = ServeSettings(**{"bundles": ("in memory",), "listen": "127.0.0.1:0", **settings})
        server = TailServer(hosted, chosen, limits, observers)
        self.run(server.start())
        self._servers.append(server)
        return server

    def drain(self, server: TailServer, within_s: float = 0.0) -> None:
        """Stops one."""
        self._servers.remove(server)
        self.run(server.drain(within_s))

    def close(self) -> None:
        """Stops all, and the loop."""
        for server in tuple(self._servers):
            self.drain(server)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Starts servers without Ray."""
    one = Cloud()
    yield one
    one.close()


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle on disk."""
    from tests.bundles import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture(scope="session")
def tiny(bundle_path: Path) -> Hosted:
    """The tiny bundle, loaded once. It learns from each request, so tests about what it learnt load their own."""
    from splitinfer.cloud.hosted import Hosted

    return Hosted.open(bundle_path)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[ModuleType]:
    """A Ray on loopback, started at first use (about 10 s) and shared; gives `splitinfer.cloud.tails`."""
    folder = tempfile.mkdtemp(prefix="si-")  # the paths of Ray's sockets must be short
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own imports use what pydantic and others are about to drop
        from splitinfer.cloud import tails

        tails.join(None, folder)
    yield tails
    tails.leave()
    shutil.rmtree(folder, ignore_errors=True)
