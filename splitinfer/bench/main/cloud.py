"""A cloud to measure against: a real server on loopback, without Ray, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.engine import Engine
from splitinfer.events import Event, Observer, Served
from splitinfer.payload import Packer


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


class Counting:
    """An observer that counts the requests that a server answered."""

    def __init__(self) -> None:
        self.served = 0

    def __call__(self, event: Event) -> None:
        """Hears an event."""
        self.served += isinstance(event, Served)
