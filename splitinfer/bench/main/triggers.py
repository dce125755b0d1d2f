"""What triggers send, and what they do not: counted at a proxy and at the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from splitinfer.bench.main.cloud import Counting, connected
from splitinfer.bench.rows import Row, at_most
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.device import Client, Settings
from splitinfer.events import PowerRead
from splitinfer.model import Array
from splitinfer.sim.proxy import Proxy

PHOTOS, PERIOD_S, EVERY, WINDOWS = 30, 0.02, 5, 5
Feeds = Mapping[str, Array]


def measure(bundle: Bundle) -> list[Row]:
    """Photos at a steady pace, each of which would go to the cloud.

    The connection itself says things now and then (HTTP/2 keeps it alive), so what the proxy carried while nothing fired is
    compared with as long a time of doing nothing, several times in turn, median against median.
    """
    counted = Counting()
    feeds = random_feeds(bundle.model)
    with connected(bundle, Settings(policy="static:0/raw", read_power=lambda: PowerRead(None)), (counted,)) as (client, proxy):
        client.infer(feeds)
        before = counted.served
        windows = [
            (
                _carried(proxy, lambda: time.sleep(PHOTOS * PERIOD_S)),
                _carried(proxy, lambda: _stream(client, feeds, lambda _index: False)),
            )
            for _ in range(WINDOWS)
        ]
        never = counted.served - before
        _stream(client, feeds, lambda index: index % EVERY == 0)
        some = counted.served - before - never
    idle_bytes, never_bytes = np.median(windows, axis=0)
    fired = len(range(0, PHOTOS, EVERY))
    return [
        Row(
            "bytes up while a trigger never fires, above an idle connection",
            float(never_bytes - idle_bytes),
            "bytes",
            at_most(0),
            rival=f"an idle connection, {idle_bytes:g} bytes",
            n=PHOTOS * WINDOWS,
        ),
        Row("requests while a trigger never fires", float(never), "requests", at_most(0), n=PHOTOS * WINDOWS),
        Row(
            f"requests more or less than the {fired} of {PHOTOS} that a trigger fired on",
            float(abs(some - fired)),
            "requests",
            at_most(0),
            n=PHOTOS,
        ),
    ]


def _carried(proxy: Proxy, work: Callable[[], None]) -> int:
    before = proxy.total.up_bytes
    work()
    return proxy.total.up_bytes - before


def _stream(client: Client, feeds: Feeds, fires: Callable[[int], bool]) -> None:
    """Takes photos at the pace; `fires` decides by their number."""
    numbers: list[int] = []

    def photos() -> Iterator[Feeds]:
        for index in range(PHOTOS):
            time.sleep(PERIOD_S)
            numbers.append(index)
            yield feeds

    for _ in client.stream(photos(), trigger=lambda _inputs: fires(numbers[-1])):
        pass
