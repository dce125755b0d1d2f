"""What a client does without a request: events that change the plan; and what it does not wait for: observers that sleep."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as Flag

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.main import triggers
from splitinfer.bench.main.bundles import toy
from splitinfer.bench.main.cloud import Counting, connected
from splitinfer.bench.rows import Row, at_least, at_most, spread_of
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.device import Client, Settings
from splitinfer.energy import Power
from splitinfer.events import Event, LinkChanged, PlanChanged, PowerRead
from splitinfer.model import Array

FAR_MS, NEAR_MS = 400.0, 15.0
"""Work of the device alone: much more than the cloud needs over the link of `connected`, and much less ..."""
HUNGRY = Power(compute_w=27.0)
"""... on a device that computes at such a price that a low battery turns the second into the first."""
TURNS = 10
PATIENCE_S = 2.0
REQUESTS = 300
Feeds = Mapping[str, Array]


def measure() -> list[Row]:
    """All of them, on a toy model and real sockets."""
    with tempfile.TemporaryDirectory() as name:
        bundle = toy(Path(name), (500, 250), work=6)
        return [*triggers.measure(bundle), *_changes(bundle), *_sleeper(bundle)]


def _mains() -> PowerRead:
    return PowerRead(None)


def _changes(bundle: Bundle) -> list[Row]:
    """No request at all: an event alone changes the plan; from `tell` to an observer's `PlanChanged`, the longest of all."""
    link = (LinkChanged(up=False, cause="bench"), LinkChanged(up=True, cause="bench"))
    power = (PowerRead(0.10, charging=False), PowerRead(0.80, charging=False))
    return [
        _turned(bundle, "LinkChanged", FAR_MS, link, "link"),
        _turned(bundle, "PowerRead", NEAR_MS, power, "battery"),
    ]


def _turned(bundle: Bundle, name: str, local_ms: float, events: tuple[Event, Event], cause: str) -> Row:
    changes: SimpleQueue[tuple[float, PlanChanged]] = SimpleQueue()

    def hear(event: Event) -> None:
        if isinstance(event, PlanChanged):
            changes.put((time.perf_counter(), event))

    slowdown = max(local_ms / _whole_ms(bundle), 1.0)
    settings = Settings(slowdown=slowdown, power=HUNGRY, read_power=lambda: PowerRead(0.80, charging=False))
    served = Counting()
    with connected(bundle, settings, (served,)) as (client, _):
        client.subscribe(hear)
        times = [_until_changed(client, event, changes, cause) for _ in range(TURNS) for event in events]
    return Row(
        f"{name} alone, to PlanChanged ({cause}), longest",
        max(times) if not served.served else float("inf"),
        "ms",
        at_most(50),
        n=len(times),
        spread=spread_of(times),
    )


def _whole_ms(bundle: Bundle) -> float:
    """CPU time of the whole model, segment by segment, at its fastest."""
    engine = OrtEngine(bundle)
    times = []
    for _ in range(10):
        held = engine.hold(0, random_feeds(bundle.model))
        began_s = time.thread_time()
        for index in range(bundle.model.n):
            held = engine.run(index, index + 1, held)
        times.append((time.thread_time() - began_s) * 1e3)
    return min(times)


def _until_changed(client: Client, event: Event, changes: SimpleQueue[tuple[float, PlanChanged]], cause: str) -> float:
    """Milliseconds; infinite where the plan did not change, or changed for another cause."""
    while not changes.empty():
        changes.get()
    began = time.perf_counter()
    client.tell(event)
    try:
        at, change = changes.get(timeout=PATIENCE_S)
    except Empty:
        return float("inf")
    return (at - began) * 1e3 if change.cause == cause else float("inf")


def _sleeper(bundle: Bundle) -> list[Row]:
    """Two clients in turn, one with an observer that sleeps a second at each event."""
    feeds = random_feeds(bundle.model)
    woken = Flag()
    heard: list[Event] = []

    def sleep(event: Event) -> None:
        heard.append(event)
        woken.wait(1.0)

    alone, slept = Settings(read_power=_mains), Settings(read_power=_mains, observers=(sleep,))
    with Client(bundle, settings=alone) as quiet, Client(bundle, settings=slept) as watched:
        pairs = [(_infer_ms(quiet, feeds), _infer_ms(watched, feeds)) for _ in range(REQUESTS)]
        events = len(heard)
        woken.set()
    without, with_sleeper = np.array(pairs).T
    ratio = float(np.median(with_sleeper) / np.median(without))
    rival = f"without it, {np.median(without):.2f} ms"
    spread = spread_of(with_sleeper)
    return [
        Row(
            "p50 with an observer that sleeps 1 s, over without it",
            ratio,
            "ratio",
            at_most(1.10),
            rival,
            ratio,
            REQUESTS,
            spread,
        ),
        Row("longest request with such an observer", float(with_sleeper.max()), "ms", at_most(500), rival, n=REQUESTS),
        Row("events that it had begun to hear by then", float(events), "events", at_least(1)),
    ]


def _infer_ms(client: Client, feeds: Feeds) -> float:
    began = time.perf_counter()
    client.infer(feeds)
    return (time.perf_counter() - began) * 1e3
