"""What came of rides through the demo's timeline, as rows. Computes; runs nothing."""

from __future__ import annotations

from math import hypot
from statistics import fmean

from splitinfer.bench.demo.outcome import Row as Figures
from splitinfer.bench.demo.outcome import row as figures
from splitinfer.bench.demo.run import Ride
from splitinfer.bench.demo.scenario import Phase
from splitinfer.bench.demo.ways import OURS
from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.energy import Power
from splitinfer.plan import Conditions, Offer, Plan, Uplink, lookup, predict

BETTER = 0.05
"""A boundary changes the best plan if keeping the old one would cost more than this share."""
Rides = dict[str, Ride]
"""By name of the way."""


def answers(sweep: dict[float, Rides], slowdown: float) -> list[Row]:
    """Whether every request was answered, in every way at every slowdown; and whether ours were the right ones.

    Args:
        sweep: rides by slowdown.
        slowdown: the one whose agreement counts.
    """
    all_rides = [ride for rides in sweep.values() for ride in rides.values()]
    share = min(one.answered / one.requests for one in map(figures, all_rides))
    ours = figures(sweep[slowdown][OURS])
    requests = sum(figures(one).requests for one in all_rides)
    return [
        Row("answered, the worst way of all", share, "share", at_least(1), n=requests),
        Row(f"agreement of {OURS} with the uncut model", ours.agreement, "share", at_least(0.99), n=ours.requests),
    ]


def plan_changes(ours: Ride, table: tuple[Offer, ...]) -> list[Row]:
    """How often the plan changed in each phase, and after the boundaries where the best one did.

    The best plan of a phase is the model's: the least predicted latency on that phase's own link (on a dead one, the device
    alone). A boundary changes it if keeping the plan before would cost over 5 % more.
    """
    scenario = ours.scenario
    changed_in = [scenario.phase_at(at_s) for at_s, change in ours.plan_changes if at_s > 0 and change.old is not None]
    counts = [changed_in.count(index) for index in range(len(scenario.phases))]
    asked = [index for index in range(1, len(counts)) if best_changes(table, *scenario.phases[index - 1 : index + 1])]
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


def best_changes(table: tuple[Offer, ...], before: Phase, after: Phase) -> bool:
    """Whether keeping the best plan of one phase would cost over 5 % more than the best plan in the next."""
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


def rivals(rides: Rides) -> list[Row]:
    """A row for each other way."""
    ours = figures(rides[OURS])
    return [rival_row(ours, name, figures(one)) for name, one in rides.items() if name != OURS]


def rival_row(ours: Figures, name: str, theirs: Figures) -> Row:
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


def sweep_row(slowdown: float, rides: Rides) -> Row:
    """Our mean latency over that of the best other way."""
    means = {name: figures(one).mean_ms for name, one in rides.items()}
    best = min((name for name in means if name != OURS), key=means.__getitem__)
    ratio = means[OURS] / means[best]
    rival = f"{best}: {means[best]:.1f} ms, ours {means[OURS]:.1f} ms"
    n = figures(rides[OURS]).requests
    return Row(f"device x{slowdown:g}: mean latency over the best other way", ratio, "ratio", at_most(1.10), rival, ratio, n)


def battery(drained: Ride) -> list[Row]:
    """What a draining battery on a steady link did to the energy of a request, and whether the plan changed because of it."""
    scenario = drained.scenario
    phase = scenario.phases[0]
    third_s = scenario.duration_s / 3
    energy = [(shot.at_s, shot.result.cost.energy_mj or 0.0) for shot in drained.shots]
    first = fmean(mj for at_s, mj in energy if at_s < third_s)
    last = fmean(mj for at_s, mj in energy if at_s >= 2 * third_s)
    causes = sum(change.cause == "battery" for _, change in drained.plan_changes)
    charge = f"{scenario.battery_from:.0%} -> {scenario.battery_to:.0%}"
    where = f"battery {charge} at {phase.uplink_mbps:g} Mbit/s, {phase.rtt_ms:g} ms"
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
