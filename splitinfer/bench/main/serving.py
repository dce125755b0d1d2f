"""What the server adds to the runtime: CPU of its whole process less that of the very runs it made, a request of 37 KB.

The server is a process of its own, so that the client's work does not count. It meters its engine, so that both figures are
of the same requests, whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.main.bundles import LITE0, build_named
from splitinfer.bench.main.cloud import hosted
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.engine import Engine, Held, Stop
from splitinfer.model import Model, Tensors
from splitinfer.payload import Packer, Payload

CUT = "block14.add"
"""192 x 7 x 7 float32: 37 632 bytes."""
BLOCKS, BLOCK, WARM = 15, 40, 60


def measure() -> list[Row]:
    """CPU of the server a request, above the run of the tail."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_named(LITE0, Path(folder), cuts=(CUT,))
        payload = _payload(bundle)
        with _process(bundle.path) as (address, pipe):
            added_ms = _added_ms(address, pipe, payload)
    return [
        Row(
            f"server CPU a request of {payload.nbytes} bytes, above the run",
            float(np.median(added_ms)),
            "ms",
            at_most(1.0),
            rival="the runs of the tail inside it",
            n=BLOCKS * BLOCK,
            spread=spread_of(added_ms),
        )
    ]


def _payload(bundle: Bundle) -> Payload:
    engine = OrtEngine(bundle)
    held = engine.run(0, 1, engine.hold(0, random_feeds(bundle.model)))
    return Packer(bundle.model, bundle.tables).pack(1, "raw", held.plain())


def _added_ms(address: str, pipe: Connection, payload: Payload) -> list[float]:
    """Of each block of requests, one after the other."""
    remote = GrpcRemote((address,))

    def block(requests: int) -> float:
        before = _read(pipe)
        for _ in range(requests):
            remote.send(payload, None)
        after = _read(pipe)
        return ((after[0] - before[0]) - (after[1] - before[1])) * 1e3 / requests

    try:
        block(WARM)
        return [block(BLOCK) for _ in range(BLOCKS)]
    finally:
        remote.close()


def _read(pipe: Connection) -> tuple[float, float]:
    """CPU seconds of the server's process, and of the runs in it."""
    pipe.send(True)
    process_s, run_s = pipe.recv()
    return process_s, run_s


@contextmanager
def _process(path: Path) -> Iterator[tuple[str, Connection]]:
    """A server in a process of its own: its address, and a pipe that answers with its CPU times."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(path, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours
    finally:
        ours.close()
        process.join(10)
        process.terminate()


def _serve(path: Path, pipe: Connection) -> None:
    asyncio.run(_answer(path, pipe))


async def _answer(path: Path, pipe: Connection) -> None:
    bundle = Bundle.open(path)
    engine = Metered(OrtEngine(bundle))
    async with TailServer([hosted(bundle, engine)], ServeSettings((path,), listen="127.0.0.1:0", threads=1)) as server:
        pipe.send(server.address)
        while await asyncio.to_thread(_asked, pipe):
            pipe.send((time.process_time(), engine.run_s))


def _asked(pipe: Connection) -> bool:
    try:
        return bool(pipe.recv())
    except EOFError:
        return False


class Metered:
    """An engine that adds up the CPU time of its runs.

    Attributes:
        run_s: so far. The engine must compute in the thread that calls it, one at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.run_s = 0.0

    @property
    def model(self) -> Model:
        """The inner engine's."""
        return self._engine.model

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self._engine.name

    def hold(self, at: int, tensors: Tensors) -> Held:
        """As the inner engine."""
        return self._engine.hold(at, tensors)

    def prepare(self, start: int, stop: int) -> None:
        """As the inner engine."""
        self._engine.prepare(start, stop)

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        """As the inner engine, timed."""
        began_s = time.thread_time()
        try:
            return self._engine.run(start, stop, held, stopper)
        finally:
            self.run_s += time.thread_time() - began_s
