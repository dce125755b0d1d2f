"""The demo as one page: from rides to the values that are drawn. Every figure is computed from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import accumulate, pairwise

from splitinfer.bench.demo.assets import CALIBRATION, Assets
from splitinfer.bench.demo.outcome import by_phase, row
from splitinfer.bench.demo.run import Ride, Shot
from splitinfer.bench.demo.scenario import Scenario
from splitinfer.bench.demo.ways import OURS
from splitinfer.bench.rows import machine, versions
from splitinfer.picture import Change, Figures, Leg, Moment, Report, Run, Stretch, report_page


def page(assets: Assets, rides: Mapping[float, Mapping[str, Ride]], scenario: Scenario) -> str:
    """One self-contained HTML page.

    Args:
        assets: what was run.
        rides: slowdown -> name of the way -> what happened.
        scenario: the timeline.
    """
    return report_page(
        Report(
            title="splitinfer: one network, one changing link, several ways",
            about=_about(scenario, len(next(iter(rides.values())))),
            facts=_facts(assets, rides, scenario),
            stretches=_stretches(scenario),
            budget_ms=scenario.latency_ms,
            cuts=assets.image.model.n,
            legs=tuple(Leg(slowdown, OURS, tuple(map(_run, ridden.values()))) for slowdown, ridden in rides.items()),
        )
    )


def _about(scenario: Scenario, ways: int) -> str:
    phases = ", ".join(phase.name for phase in scenario.phases)
    return (
        f"A device streams photos through a trained network for {scenario.duration_s:g} s, while its link goes {phases}. "
        f"All {ways} ways were run at once on the same timeline, each over real sockets of its own: the same client, "
        "each time with another policy; all fall back to the device when the link is dead."
    )


def _facts(assets: Assets, rides: Mapping[float, Mapping[str, Ride]], scenario: Scenario) -> dict[str, str]:
    model, here = assets.image.model, machine()
    slowdowns = ", ".join(f"{slowdown:g}" for slowdown in rides)
    return {
        "network": f"{model.name}@{model.version}, digest {model.digest[:12]}, trained weights, {model.n} segments",
        "photos": f"{len(assets.photos)} in turn, one each {scenario.period_ms:g} ms or after the last answer",
        "calibration": f"{CALIBRATION} other photos, without labels",
        "budget": f"{scenario.latency_ms:g} ms a request",
        "device": f"this machine, made slower by a stated factor: {slowdowns}",
        "cloud": "a local Ray on this machine, behind a proxy that shapes rate and delay",
        "battery": f"given, not measured: {scenario.battery_from:.0%} to {scenario.battery_to:.0%}, evenly",
        "energy": "modelled from times and bytes, not measured",
        "machine": f"{here['cpu']}, {here['cores']} cores, {here['system']}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


def _stretches(scenario: Scenario) -> tuple[Stretch, ...]:
    bounds = pairwise(accumulate((phase.duration_s for phase in scenario.phases), initial=0.0))
    return tuple(
        Stretch(phase.name, start, stop, phase.uplink_mbps, phase.rtt_ms)
        for phase, (start, stop) in zip(scenario.phases, bounds, strict=True)
    )


def _run(ride: Ride) -> Run:
    return Run(
        name=ride.way.name,
        policy=ride.way.policy if ride.way.image else f"{ride.way.policy}, float input",
        figures=Figures(**asdict(row(ride))),
        stretch_ms=tuple(by_phase(ride)),
        moments=tuple(_moment(shot, ride.scenario) for shot in ride.shots),
        changes=tuple(Change(at_s, c.old, c.new, c.cause, c.reason) for at_s, c in ride.plan_changes),
    )


def _moment(shot: Shot, scenario: Scenario) -> Moment:
    return Moment(
        at_s=shot.at_s,
        latency_ms=shot.latency_ms,
        plan=shot.result.plan,
        outcome=shot.result.outcome,
        right=shot.right,
        believed_mbps=shot.believed_mbps,
        battery=scenario.battery_at(shot.at_s).battery,
    )
