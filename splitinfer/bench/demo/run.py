"""All ways through one timeline at once: for each a client behind a link of its own, photos at a steady pace, and a record.

They share the cloud, the moments at which links change, and whatever else this machine does meanwhile: a disturbance meets all
of them, where one after the other it would meet one. A slowed device sleeps most of the time, so there is room for several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Thread
from threading import Event as Flag

import numpy as np

from splitinfer.bench.demo.assets import Assets, Feeds
from splitinfer.bench.demo.scenario import Scenario
from splitinfer.bench.demo.ways import Way
from splitinfer.device import Client, Result, Settings
from splitinfer.errors import SplitInferError
from splitinfer.events import Event, PlanChanged, Recorded
from splitinfer.plan import Budget
from splitinfer.sim.proxy import Proxy

WARM_UP = 30
"""Requests before the clock starts: connections, sessions and beliefs are warm in all ways alike, a fresh Ray has settled."""

Watch = Callable[["Ride", Event], None]
"""Told of every event as it happens."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo and its answer.

    Attributes:
        at_s: when it was taken, on the timeline.
        phase: index of the phase.
        latency_ms: wall time of `infer`.
        result: the answer.
        right: same class as the uncut model.
        believed_mbps: median uplink rate that the client assumed when it was taken; None = unknown, or the link was dead.
    """

    at_s: float
    phase: int
    latency_ms: float
    result: Result
    right: bool
    believed_mbps: float | None = None


@dataclass
class Clock:
    """The timeline's, shared by all ways; stands at 0 until everybody is ready."""

    began_s: float | None = None

    def start(self) -> None:
        """Starts it."""
        self.began_s = time.monotonic()

    @property
    def at_s(self) -> float:
        """Where on the timeline we are."""
        return 0.0 if self.began_s is None else time.monotonic() - self.began_s


@dataclass
class Ride:
    """What happened on one way. Grows while it runs."""

    way: Way
    scenario: Scenario
    clock: Clock = field(default_factory=Clock)
    shots: list[Shot] = field(default_factory=list)
    unanswered: int = 0
    plan_changes: list[tuple[float, PlanChanged]] = field(default_factory=list)
    client: Client | None = None

    @property
    def at_s(self) -> float:
        """Where on the timeline we are."""
        return self.clock.at_s


@dataclass(frozen=True)
class Road:
    """What all ways share: the cloud, the device's slowness, the budget, who watches, and where events are recorded."""

    assets: Assets
    cloud: str
    scenario: Scenario
    budget: Budget
    slowdown: float
    watch: Watch | None = None
    record: Path | None = None

    def feeds(self, way: Way, index: int) -> Feeds:
        """A photo as the bundle of a way takes it."""
        return self.assets.image_feeds(index) if way.image else self.assets.plain_feeds(index)


def ride(road: Road, ways: Sequence[Way]) -> dict[str, Ride]:
    """Runs all ways from the first phase to the last, at once.

    Returns:
        By name of the way.
    """
    clock = Clock()
    gate = Barrier(len(ways), action=clock.start)
    records = {way.name: Ride(way, road.scenario, clock) for way in ways}
    with ThreadPoolExecutor(len(ways), thread_name_prefix="splitinfer-ride") as pool:
        stagger_s = road.scenario.period_ms / 1e3 / len(ways)
        rides = [pool.submit(_ride, road, record, gate, index * stagger_s) for index, record in enumerate(records.values())]
        for done in as_completed(rides):
            if done.exception() is not None:
                gate.abort()
            done.result()
    return records


def _ride(road: Road, record: Ride, gate: Barrier, delay_s: float) -> None:
    settings = Settings(
        seed=0,
        policy=record.way.policy,
        slowdown=road.slowdown,
        read_power=lambda: road.scenario.battery_at(record.at_s),
        power_every_ms=250.0,
        events_file=None if road.record is None else road.record / f"{record.way.name}.jsonl",
    )
    bundle = road.assets.image if record.way.image else road.assets.plain
    done = Flag()
    with Proxy(road.cloud) as proxy:
        _shape(proxy, road.scenario, 0)
        with Client(bundle, proxy.address, budget=road.budget, settings=settings) as client:
            record.client = client
            listener = Thread(target=_listen, args=(client, record, road.watch), daemon=True)
            listener.start()
            for index in range(WARM_UP):
                client.infer(road.feeds(record.way, index))
            gate.wait()
            conductor = Thread(target=_conduct, args=(proxy, record, done), daemon=True)
            conductor.start()
            try:
                _shoot(client, road, record, delay_s)
            finally:
                done.set()
                conductor.join()
        listener.join()


def _shoot(client: Client, road: Road, record: Ride, delay_s: float) -> None:
    index = 0
    time.sleep(delay_s)
    while (at_s := record.at_s) < road.scenario.duration_s:
        inputs = road.feeds(record.way, index)
        believed_mbps = _believed_mbps(client)
        began = time.perf_counter()
        try:
            result = client.infer(inputs)
        except SplitInferError:
            record.unanswered += 1
        else:
            latency_ms = (time.perf_counter() - began) * 1e3
            right = _answer(result) == int(road.assets.answers[index % len(road.assets.answers)])
            record.shots.append(Shot(at_s, road.scenario.phase_at(at_s), latency_ms, result, right, believed_mbps))
        index += 1
        time.sleep(max(at_s + road.scenario.period_ms / 1e3 - record.at_s, 0.0))


def _answer(result: Result) -> int:
    return int(np.argmax(next(iter(result.outputs.values()))[0]))


def _believed_mbps(client: Client) -> float | None:
    conditions = client.conditions
    if conditions.link_up is False or conditions.uplink is None:
        return None
    return conditions.uplink.rate_bps / 1e6


def _conduct(proxy: Proxy, record: Ride, done: Flag) -> None:
    at_s = 0.0
    for index, phase in enumerate(record.scenario.phases):
        if done.wait(max(at_s - record.at_s, 0.0)):
            return
        _shape(proxy, record.scenario, index)
        at_s += phase.duration_s


def _shape(proxy: Proxy, scenario: Scenario, index: int) -> None:
    phase = scenario.phases[index]
    if phase.dead:
        proxy.set(blackhole=True)
    else:
        proxy.set(rate_bps=phase.uplink_mbps * 1e6, rtt_ms=phase.rtt_ms, blackhole=False)


def _listen(client: Client, record: Ride, watch: Watch | None) -> None:
    recorded: Recorded
    for recorded in client.events():
        if isinstance(recorded.event, PlanChanged) and record.clock.began_s is not None:
            record.plan_changes.append((record.at_s, recorded.event))
        if watch is not None:
            watch(record, recorded.event)
