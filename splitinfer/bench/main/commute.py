"""The demo as a benchmark: every way through the commute, a sweep of slower devices, a battery that drains on a steady link."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from math import hypot
from pathlib import Path
from statistics import fmean

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.outcome import Row as Figures
from splitinfer.bench.demo.outcome import row as figures
from splitinfer.bench.demo.run import Ride, Road, ride
from splitinfer.bench.demo.scenario import COMMUTE, Phase, Scenario
from splitinfer.bench.demo.show import Rides, Watching, show
from splitinfer.bench.demo.ways import Way
from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.bundle import Bundle
from splitinfer.cloud.serve import ServeSettings, start
from splitinfer.plan import (
    Budget,
    Conditions,
    Offer,
    Plan,
    Power,
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
OURS = "splitinfer"
BETTER = 0.05
"""A boundary changes the best plan if keeping the old one would cost more than this share."""
DRAIN_S = 24.0
LINKS = tuple((mbps, rtt_ms) for mbps in (2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 18.0, 24.0) for rtt_ms in (10.0, 20.0, 40.0))
"""Steady links to drain a battery on: Mbit/s, ms."""
Tell = Callable[[str], None]


def measure(tell: Tell = lambda _text: None) -> list[Row]:
    """All rows; takes minutes.

    Args:
        tell: hears what is going on.
    """
    watching = Watching(stage=tell, way=lambda way: tell(f"  {way.name} ({way.policy})"))
    with tempfile.TemporaryDirectory(prefix="splitinfer-bench-") as name:
        assets, sweep = show(Path(name), SWEEP, watching)
        tell("draining the battery on a steady link")
        drained = _drain(assets)
    table = _offers(assets.image, SLOWDOWN)
    rides = sweep[SLOWDOWN]
    return [
        *_answers(sweep),
        *_plan_changes(rides[OURS], table),
        *_rivals(rides),
        *(_sweep_row(slowdown, ways) for slowdown, ways in sweep.items()),
        *_battery(drained),
    ]


def _offers(bundle: Bundle, slowdown: float) -> tuple[Offer, ...]:
    """The plans that the default budget allows, of a device so many times slower than the machine that built the bundle."""
    profile = bundle.profile or Profile(bundle.model.digest, "", "", ())
    scorecard = bundle.scorecard or Scorecard(bundle.model.digest, {})
    table = offers(bundle.model, profile.slowed(slowdown), scorecard)
    return tuple(offer for offer in table if objection(offer, Budget()) is None)


def _answers(sweep: dict[float, Rides]) -> list[Row]:
    all_rides = [ride for rides in sweep.values() for ride in rides.values()]
    share = min(one.answered / one.requests for one in map(figures, all_rides))
    ours = figures(sweep[SLOWDOWN][OURS])
    requests = sum(figures(one).requests for one in all_rides)
    return [
        Row("answered, the worst way of all", share, "share", at_least(1), n=requests),
        Row(f"agreement of {OURS} with the uncut model", ours.agreement, "share", at_least(0.99), n=ours.requests),
    ]


def _plan_changes(ours: Ride, table: tuple[Offer, ...]) -> list[Row]:
    """How often the plan changed in each phase; and after the boundaries where the best one did.

    The best plan of a phase is the model's: the least predicted latency on that phase's own link (on a dead one, the device
    alone). A boundary changes it if keeping the plan before would cost over 5 % more.
    """
    scenario = ours.scenario
    changed_in = [scenario.phase_at(at_s) for at_s, change in ours.plan_changes if at_s > 0 and change.old is not None]
    counts = [changed_in.count(index) for index in range(len(scenario.phases))]
    asked = [index for index in range(1, len(counts)) if _best_changes(table, *scenario.phases[index - 1 : index + 1])]
    names = ", ".join(f"{scenario.phases[index - 1].name} -> {scenario.phases[index].name}" for index in asked)
    return [
        Row("plan changes in a phase, most", float(max(counts)), "changes", at_most(2), n=len(counts)),
        Row(
            f"plan changes after a boundary that changes the best plan, fewest ({names or 'there is none'})",
            float(min((counts[index] for index in asked), default=1)),
            "changes",
            at_least(1),
            n=len(asked),
        ),
    ]


def _best_changes(table: tuple[Offer, ...], before: Phase, after: Phase) -> bool:
    kept = lookup(table, _best(table, before))
    best = lookup(table, _best(table, after))
    assert kept is not None
    assert best is not None
    return _latency_ms(kept, after) > (1 + BETTER) * _latency_ms(best, after)


def _best(table: tuple[Offer, ...], phase: Phase) -> Plan:
    return min(table, key=lambda offer: _latency_ms(offer, phase)).plan


def _latency_ms(offer: Offer, phase: Phase) -> float:
    if phase.dead and not offer.local:
        return float("inf")
    uplink = Uplink(max(phase.uplink_mbps, 1e-3) * 1e6, 0.0, phase.rtt_ms)
    return predict(offer, Conditions(link_up=True, uplink=uplink), Power()).latency_ms


def _rivals(rides: Rides) -> list[Row]:
    ours = figures(rides[OURS])
    return [_rival(ours, name, figures(one)) for name, one in rides.items() if name != OURS]


def _rival(ours: Figures, name: str, theirs: Figures) -> Row:
    """By how many standard errors of the difference of the means ours is lower."""
    error_ms = hypot(ours.se_ms, theirs.se_ms)
    return Row(
        f"mean latency of {OURS} below {name}, in standard errors",
        (theirs.mean_ms - ours.mean_ms) / error_ms if error_ms else 0.0,
        "s.e.",
        at_least(2),
        rival=f"{name}: {theirs.mean_ms:.1f} ms, ours {ours.mean_ms:.1f} ms",
        ratio=ours.mean_ms / theirs.mean_ms,
        n=ours.requests,
        spread=error_ms,
    )


def _sweep_row(slowdown: float, rides: Rides) -> Row:
    means = {name: figures(one).mean_ms for name, one in rides.items()}
    best = min((name for name in means if name != OURS), key=means.__getitem__)
    ratio = means[OURS] / means[best]
    rival = f"{best}: {means[best]:.1f} ms, ours {means[OURS]:.1f} ms"
    n = figures(rides[OURS]).requests
    return Row(f"device x{slowdown:g}: mean latency over the best other way", ratio, "ratio", at_most(1.10), rival, ratio, n)


def _drain(assets: Assets) -> Ride:
    """A battery from 80 to 10 % on a steady link, where the model says that the charge should matter."""
    mbps, rtt_ms = _battery_link(assets.image)
    scenario = replace(COMMUTE, phases=(Phase("steady", DRAIN_S, mbps, rtt_ms),))
    budget = Budget(latency_ms=scenario.latency_ms)
    with start(ServeSettings(bundles=(assets.image.path,), listen="127.0.0.1:0")) as cloud:
        return ride(Road(assets, cloud.addresses[0], scenario, budget, SLOWDOWN), Way(OURS, "robust"))


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


def _battery(drained: Ride) -> list[Row]:
    scenario: Scenario = drained.scenario
    phase = scenario.phases[0]
    third_s = scenario.duration_s / 3
    energy = [(shot.at_s, shot.result.cost.energy_mj or 0.0) for shot in drained.shots]
    first = fmean(mj for at_s, mj in energy if at_s < third_s)
    last = fmean(mj for at_s, mj in energy if at_s >= 2 * third_s)
    causes = sum(change.cause == "battery" for _, change in drained.plan_changes)
    where = f"battery 80 -> 10 % at {phase.uplink_mbps:g} Mbit/s, {phase.rtt_ms:g} ms"
    rival = f"the first third, {first:.0f} mJ"
    return [
        Row(
            f"{where}: energy (modelled) of the last third over the first",
            last / first,
            "ratio",
            at_most(0.95),
            rival,
            last / first,
            len(energy),
        ),
        Row(f"{where}: plan changes caused by the battery", float(causes), "changes", at_least(1), n=len(drained.plan_changes)),
    ]
