"""The demo as a benchmark: every way through the commute, a sweep of slower devices, a battery that drains on a steady link."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.run import Ride, Road, ride
from splitinfer.bench.demo.scenario import COMMUTE, Phase, Scenario
from splitinfer.bench.demo.show import Watching, show
from splitinfer.bench.demo.ways import OURS, Way
from splitinfer.bench.main import rides
from splitinfer.bench.rows import Row
from splitinfer.bundle import Bundle
from splitinfer.cloud.serve import ServeSettings, start
from splitinfer.events import PowerRead
from splitinfer.plan import (
    Budget,
    Conditions,
    Offer,
    Profile,
    Scorecard,
    Uplink,
    objection,
    offers,
)
from splitinfer.policy import Robust, Table

SLOWDOWN = 8.0
SWEEP = (2.0, 4.0, 8.0, 16.0)
DRAIN_S = 24.0
FULL, EMPTY = 0.80, 0.10
LINKS = tuple((mbps, rtt_ms) for mbps in (2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 18.0, 24.0) for rtt_ms in (10.0, 20.0, 40.0))
"""Steady links to drain a battery on: Mbit/s, ms."""
Tell = Callable[[str], None]


def measure(tell: Tell = lambda _text: None) -> list[Row]:
    """All rows; takes minutes.

    Args:
        tell: hears what is going on.
    """
    watching = Watching(stage=tell)
    with tempfile.TemporaryDirectory(prefix="splitinfer-bench-") as name:
        assets, sweep = show(Path(name), SWEEP, watching)
        tell("draining the battery on a steady link")
        drained = _drain(assets)
    table = _offers(assets.image, SLOWDOWN)
    ways = sweep[SLOWDOWN]
    return [
        *rides.answers(sweep, SLOWDOWN),
        *rides.plan_changes(ways[OURS], table),
        *rides.rivals(ways),
        *(rides.sweep_row(slowdown, one) for slowdown, one in sweep.items()),
        *rides.battery(drained),
    ]


def _offers(bundle: Bundle, slowdown: float) -> tuple[Offer, ...]:
    """The plans that the default budget allows, of a device so many times slower than the machine that built the bundle."""
    profile = bundle.profile or Profile(bundle.model.digest, "", "", ())
    scorecard = bundle.scorecard or Scorecard(bundle.model.digest, {})
    table = offers(bundle.model, profile.slowed(slowdown), scorecard)
    return tuple(offer for offer in table if objection(offer, Budget()) is None)


class Draining(Scenario):
    """A battery that is full for a third of the time, drains in the next, and is nearly empty in the last."""

    def battery_at(self, at_s: float) -> PowerRead:
        """What a battery sensor reads at a time."""
        share = min(max(3 * at_s / self.duration_s - 1, 0.0), 1.0)
        return PowerRead(self.battery_from + share * (self.battery_to - self.battery_from), charging=False)


def _drain(assets: Assets) -> Ride:
    """A battery from 80 to 10 % on a steady link, where the model says that the charge should matter."""
    mbps, rtt_ms = _battery_link(_offers(assets.image, SLOWDOWN))
    scenario = Draining((Phase("steady", DRAIN_S, mbps, rtt_ms),), FULL, EMPTY)
    budget = Budget(latency_ms=scenario.latency_ms)
    with start(ServeSettings(bundles=(assets.image.path,), listen="127.0.0.1:0")) as cloud:
        return ride(Road(assets, cloud.addresses[0], scenario, budget, SLOWDOWN), (Way(OURS, "robust"),))[OURS]


def _battery_link(offered: tuple[Offer, ...]) -> tuple[float, float]:
    """The link of `LINKS` on which, by the model, the best plan at either charge is best by the widest margin.

    Where the two plans are nearly as good, chance decides between them, and whether the charge matters cannot be seen.
    """
    table = Table(offered)

    def margin(link: tuple[float, float]) -> float:
        full, empty = (_scores(table, link, battery) for battery in (FULL, EMPTY))
        fast, thrifty = full.index(min(full)), empty.index(min(empty))
        return min(full[thrifty] / full[fast], empty[fast] / empty[thrifty])

    return max(LINKS, key=margin)


def _scores(table: Table, link: tuple[float, float], battery: float) -> tuple[float, ...]:
    uplink = Uplink(link[0] * 1e6, 0.2, link[1])
    seen = Conditions(link_up=True, uplink=uplink, battery=battery, charging=False)
    return tuple(map(float, Robust().decide(table, seen, Budget(latency_ms=COMMUTE.latency_ms)).scores))
