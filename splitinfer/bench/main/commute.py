"""The demo as a benchmark: every way through the commute, a sweep of slower devices, a battery that drains on a steady link."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.run import Ride, Road, ride
from splitinfer.bench.demo.scenario import COMMUTE, Phase
from splitinfer.bench.demo.show import Watching, show
from splitinfer.bench.demo.ways import Way
from splitinfer.bench.main import rides
from splitinfer.bench.main.rides import OURS
from splitinfer.bench.rows import Row
from splitinfer.bundle import Bundle
from splitinfer.cloud.serve import ServeSettings, start
from splitinfer.plan import (
    Budget,
    Conditions,
    Offer,
    Profile,
    Scorecard,
    Uplink,
    lookup,
    objection,
    offers,
    predict,
)
from splitinfer.policy import Robust, Table

SLOWDOWN = 8.0
SWEEP = (2.0, 4.0, 8.0, 16.0)
DRAIN_S = 24.0
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


def _drain(assets: Assets) -> Ride:
    """A battery from 80 to 10 % on a steady link, where the model says that the charge should matter."""
    mbps, rtt_ms = _battery_link(assets.image)
    scenario = replace(COMMUTE, phases=(Phase("steady", DRAIN_S, mbps, rtt_ms),))
    budget = Budget(latency_ms=scenario.latency_ms)
    with start(ServeSettings(bundles=(assets.image.path,), listen="127.0.0.1:0")) as cloud:
        return ride(Road(assets, cloud.addresses[0], scenario, budget, SLOWDOWN), (Way(OURS, "robust"),))[OURS]


def _battery_link(bundle: Bundle) -> tuple[float, float]:
    """The link of `LINKS` on which the policy, by the model, saves the largest share of energy when the battery is low."""
    table = Table(_offers(bundle, SLOWDOWN))

    def saved(link: tuple[float, float]) -> float:
        uplink = Uplink(link[0] * 1e6, 0.2, link[1])
        spent = []
        for battery in (COMMUTE.battery_from, COMMUTE.battery_to):
            seen = Conditions(link_up=True, uplink=uplink, battery=battery, charging=False)
            chosen = Robust().decide(table, seen, Budget(latency_ms=COMMUTE.latency_ms)).plan
            offer = lookup(table.offers, chosen)
            assert offer is not None
            spent.append(predict(offer, seen, table.power).energy_mj or 0.0)
        return 1 - spent[1] / spent[0]

    return max(LINKS, key=saved)
