"""One way through the timeline: a client behind a shaped link, photos at a steady pace, and a record of what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread

import numpy as np

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.scenario import Scenario
from splitinfer.bench.demo.ways import Way
from splitinfer.device import Client, Result, Settings
from splitinfer.events import Event, PlanChanged, Recorded
from splitinfer.plan import Budget
from splitinfer.sim.proxy import Proxy

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
class Ride:
    """What happened on one way. Grows while it runs."""

    way: Way
    scenario: Scenario
    began_s: float = 0.0
    shots: list[Shot] = field(default_factory=list)
    unanswered: int = 0
    plan_changes: list[tuple[float, PlanChanged]] = field(default_factory=list)
    client: Client | None = None

    @property
    def at_s(self) -> float:
        """Where on the timeline we are."""
        return time.monotonic() - self.began_s


@dataclass(frozen=True)
class Road:
    """What all ways share: the cloud, the device's slowness, the budget, who watches."""

    assets: Assets
    cloud: str
    scenario: Scenario
    budget: Budget
    slowdown: float
    watch: Watch | None = None


def ride(road: Road, way: Way) -> Ride:
    """Runs one way from the first phase to the last."""
    scenario, done = road.scenario, Flag()
    record = Ride(way, scenario)
    with Proxy(road.cloud) as proxy:
        _shape(proxy, scenario, 0)
        settings = Settings(
            policy=way.policy,
            slowdown=road.slowdown,
            read_power=lambda: scenario.battery_at(record.at_s),
            power_every_ms=250.0,
        )
        record.began_s = time.monotonic()
        bundle = road.assets.image if way.image else road.assets.plain
        with Client(bundle, proxy.address, budget=road.budget, settings=settings) as client:
            record.client = client
            _settle(client, road, way)
            record.began_s = time.monotonic()
            listener = Thread(target=_listen, args=(client, record, road.watch), daemon=True)
            conductor = Thread(target=_conduct, args=(proxy, record, done), daemon=True)
            listener.start()
            conductor.start()
            try:
                _shoot(client, road, record)
            finally:
                done.set()
                conductor.join()
        listener.join()
        record.client = None
    return record


def _settle(client: Client, road: Road, way: Way) -> None:
    """A few requests before the clock starts: connections and sessions are warm in all ways alike."""
    feeds = road.assets.image_feeds if way.image else road.assets.plain_feeds
    for index in range(3):
        client.infer(feeds(index))


def _shoot(client: Client, road: Road, record: Ride) -> None:
    feeds = road.assets.image_feeds if record.way.image else road.assets.plain_feeds
    index = 0
    while (at_s := record.at_s) < road.scenario.duration_s:
        inputs = feeds(index)
        believed_mbps = _believed_mbps(client)
        began = time.perf_counter()
        try:
            result = client.infer(inputs)
        except Exception:
            record.unanswered += 1
            raise
        latency_ms = (time.perf_counter() - began) * 1e3
        answer = int(np.argmax(next(iter(result.outputs.values()))[0]))
        right = answer == int(road.assets.answers[index % len(road.assets.answers)])
        record.shots.append(Shot(at_s, road.scenario.phase_at(at_s), latency_ms, result, right, believed_mbps))
        index += 1
        time.sleep(max(at_s + road.scenario.period_ms / 1e3 - record.at_s, 0.0))


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
        if isinstance(recorded.event, PlanChanged):
            record.plan_changes.append((record.at_s, recorded.event))
        if watch is not None:
            watch(record, recorded.event)
