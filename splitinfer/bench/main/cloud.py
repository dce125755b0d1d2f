"""A cloud to measure against: a real server on loopback, without Ray, on an event loop in a thread; and a client of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Flag
from typing import Any

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.device import Client, Settings
from splitinfer.engine import Engine
from splitinfer.events import Event, LinkChanged, Observer, Served
from splitinfer.payload import Packer
from splitinfer.plan import ASSUMED_UPLINK
from splitinfer.sim.proxy import Link, Proxy

ASSUMED = Link(rate_bps=ASSUMED_UPLINK.rate_bps, down_bps=ASSUMED_UPLINK.rate_bps, rtt_ms=ASSUMED_UPLINK.rtt_ms)
"""What a client assumes of a link that it has not measured, made true."""
CONNECT_S = 5.0


def hosted(bundle: Bundle, engine: Engine | None = None) -> Hosted:
    """A bundle, warm and ready to serve, on an engine of its own or on the one given."""
    one = Hosted(engine or OrtEngine(bundle), Packer(bundle.model, bundle.tables), bundle.profile)
    one.warm()
    return one


@contextmanager
def serving(bundle: Bundle, observers: Sequence[Observer] = (), **settings: Any) -> Iterator[TailServer]:
    """Serves a bundle on a free port of loopback.

    Args:
        bundle: what to serve.
        observers: hear what the server says.
        **settings: fields of `ServeSettings`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bench-cloud", daemon=True)
    thread.start()
    server = TailServer([hosted(bundle)], ServeSettings((bundle.path,), listen="127.0.0.1:0", **settings), observers=observers)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.drain(0.0), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def connected(bundle: Bundle, settings: Settings, observers: Sequence[Observer] = ()) -> Iterator[tuple[Client, Proxy]]:
    """A client behind a proxy, its link up, before its first request.

    Args:
        bundle: on both sides.
        settings: of the client.
        observers: of the server.
    """
    up = Flag()

    def hear(event: Event) -> None:
        if isinstance(event, LinkChanged) and event.up:
            up.set()

    with (
        serving(bundle, observers) as server,
        Proxy(server.address, link=ASSUMED) as proxy,
        Client(bundle, proxy.address, settings=settings) as client,
    ):
        client.subscribe(hear)
        up.wait(0.0 if client.conditions.link_up else CONNECT_S)
        yield client, proxy


class Counting:
    """An observer that counts the requests that a server answered."""

    def __init__(self) -> None:
        self.served = 0

    def __call__(self, event: Event) -> None:
        """Hears an event."""
        self.served += isinstance(event, Served)
