"""The link after a cancelled upload: what a megabyte that nobody needs any more costs the 20 KB behind it.

What was written to a socket cannot be taken back, so all depends on how far ahead of the acknowledgements the upload was. The
link is a proxy: 4 Mbit/s up, 20 ms round trip.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import numpy as np

from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.main.bundles import toy
from splitinfer.bench.main.cloud import serving
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.device.driver import now_ms
from splitinfer.engine import Stop
from splitinfer.errors import Stopped
from splitinfer.estimate import Estimate
from splitinfer.events import Event, Transferred
from splitinfer.payload import Packer, Payload
from splitinfer.plan import Uplink
from splitinfer.sim.proxy import Link, Proxy

LINK = Link(rate_bps=4e6, rtt_ms=20)
SIZES = (250_000, 5_000, 500)
"""float32 values at the cuts: 1 MB, then 20 KB."""
CANCEL_AFTER_S = 0.3
ROUNDS = 7
PAUSE_S = 0.2


def measure() -> list[Row]:
    """What the 20 KB take after a cancelled upload, above what they take alone."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = toy(Path(folder), SIZES)
        large, small = _payloads(bundle)
        with _remote(bundle) as remote:
            remote.send(small, None)
            remote.send(small, None)
            pairs = [(_alone_ms(remote, small), _after_cancel_ms(remote, large, small)) for _ in range(ROUNDS)]
    alone, after = np.array(pairs).T
    return [
        Row(
            f"{small.nbytes} bytes after {large.nbytes} that were cancelled, above alone, at 4 Mbit/s, median",
            float(np.median(after) - np.median(alone)),
            "ms",
            at_most(200),
            rival=f"alone, {np.median(alone):.0f} ms",
            ratio=float(np.median(after) / np.median(alone)),
            n=ROUNDS,
            spread=spread_of(after),
        )
    ]


def _payloads(bundle: Bundle) -> tuple[Payload, Payload]:
    """Of the cut with 1 MB, and of the one with 20 KB."""
    engine, packer = OrtEngine(bundle), Packer(bundle.model, bundle.tables)
    first = engine.hold(0, random_feeds(bundle.model))
    return packer.pack(0, "raw", first.plain()), packer.pack(1, "raw", engine.run(0, 1, first).plain())


@contextmanager
def _remote(bundle: Bundle) -> Iterator[GrpcRemote]:
    """A connection behind the slow link, which believes of it what it measured, as a client's does."""
    believed = Believed()
    with (
        serving(bundle) as server,
        Proxy(server.address, link=LINK) as proxy,
        closing(GrpcRemote((proxy.address,), observe=believed.hear, rate=believed.uplink)) as remote,
    ):
        yield remote


class Believed:
    """The estimate of a link, from what its remote says."""

    def __init__(self) -> None:
        self._estimate = Estimate()

    def hear(self, event: Event) -> None:
        """Takes a transfer in."""
        if isinstance(event, Transferred):
            self._estimate = self._estimate.observe(event, now_ms())

    def uplink(self) -> Uplink | None:
        """What is believed now."""
        return self._estimate.uplink(now_ms())


def _alone_ms(remote: GrpcRemote, small: Payload) -> float:
    time.sleep(PAUSE_S)
    began_ms = now_ms()
    remote.send(small, None)
    return now_ms() - began_ms


def _after_cancel_ms(remote: GrpcRemote, large: Payload, small: Payload) -> float:
    """From the moment of cancelling to the answer to the 20 KB."""
    stopper = Stop()
    uploading = Thread(target=_upload, args=(remote, large, stopper))
    uploading.start()
    time.sleep(CANCEL_AFTER_S)
    began_ms = now_ms()
    stopper.ask()
    remote.send(small, None)
    took_ms = now_ms() - began_ms
    uploading.join()
    return took_ms


def _upload(remote: GrpcRemote, large: Payload, stopper: Stop) -> None:
    try:
        remote.send(large, None, stopper)
    except Stopped:
        return
    raise AssertionError("a megabyte cannot be up in 0.3 s at 4 Mbit/s")
