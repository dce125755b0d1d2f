"""`splitinfer simulate`: a workload over recorded links, in virtual time, under several policies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from splitinfer.bundle import Bundle
from splitinfer.cli.output import json_option, kilobytes, print_json, print_table, progress_console
from splitinfer.energy import RADIOS
from splitinfer.errors import SimulationError
from splitinfer.plan import Budget
from splitinfer.sim import workload_file
from splitinfer.sim.study import Results, Study, conduct, figures, links_in, named_ways, verdict
from splitinfer.sim.world import WORKLOADS, Workload


class Finite(click.FloatRange):
    """A range that infinity and NaN are not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A number, or a usage error."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


POSITIVE = Finite(min=0, min_open=True)
COLUMNS = (
    "policy",
    "mean ms",
    "p50",
    "p95",
    "p99",
    "regret %",
    "late %",
    "mJ",
    "up",
    "switches/min",
    "device %",
    "upload %",
    "split %",
)


@click.command("simulate")
@click.argument("workload")
@click.option(
    "--trace", "traces", multiple=True, type=click.Path(path_type=Path), help="CSV file, or folder of them; repeatable."
)
@click.option("--policy", "policies", multiple=True, help="A policy, static:CUT/CODEC, device, upload or oracle; repeatable.")
@click.option("--latency-ms", type=POSITIVE, help="Latency budget; default: the workload's.")
@click.option("--accuracy-loss-max", type=Finite(min=0), default=0.01, show_default=True)
@click.option("--requests", type=click.IntRange(min=1), default=200, show_default=True, help="In each run.")
@click.option("--rate", "rate_hz", type=Finite(min=1e-5), default=1.0, show_default=True, help="Requests a second.")
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(1,), show_default=True, help="Repeatable.")
@click.option("--radio", type=click.Choice(tuple(RADIOS)), help="Of every trace; default: what the trace says of itself.")
@click.option("--joule-s", type=Finite(min=0), default=0.0, show_default=True, help="Seconds that a joule is worth.")
@click.option("--hedge-share", type=Finite(0, 1), default=0.1, show_default=True, help="Requests computed twice, at most.")
@click.option(
    "--device-slowdown", type=Finite(min=1e-3, max=1e3), default=1.0, show_default=True, help="Slower than the workload says."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: one for each core.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page.")
@click.option("--show", metavar="TRACE", help="Trace whose course the page shows; default: the one whose rate varies most.")
@click.option("--save-workload", type=click.Path(path_type=Path), help="Write the workload to a file.")
@json_option
def command(workload: str, as_json: bool, **given: Any) -> int:
    """Simulate WORKLOAD over traces: a bundle, one of A, B, C, D, or a file that --save-workload wrote."""
    subject = _workload(workload, given["latency_ms"], given["device_slowdown"])
    if given["save_workload"]:
        given["save_workload"].write_text(workload_file.to_text(subject), encoding="utf-8")
        if not given["traces"]:
            click.echo(f"workload: {given['save_workload']}", err=as_json)
            return 0
    if not given["traces"]:
        raise click.UsageError("give at least one --trace, a CSV file or a folder of them")
    study = _study(subject, given)
    results = _conducted(study, given["workers"])
    if given["html"]:
        from splitinfer.picture.simulated import simulated_page

        given["html"].write_text(simulated_page(results, given["show"]), encoding="utf-8")
    if as_json:
        print_json(_object(results) | {"report": str(given["html"]) if given["html"] else None})
    else:
        _print(results)
        if given["html"]:
            click.echo(f"report: {given['html']}")
    return 0


def _workload(text: str, latency_ms: float | None, slowdown: float) -> Workload:
    """A built-in one by name, else a file, else the folder of a bundle."""
    path = Path(text)
    if text in WORKLOADS:
        found = WORKLOADS[text]
    elif path.is_dir():
        found = workload_file.of_bundle(Bundle.open(path))
    elif path.exists():
        found = workload_file.read(path)
    else:
        raise SimulationError(f"no workload {text}: give a bundle, a file, or one of {', '.join(WORKLOADS)}")
    ready = replace(found.ready, profile=found.ready.profile.slowed(slowdown)) if slowdown != 1 else found.ready
    return replace(found, ready=ready, latency_ms=found.latency_ms if latency_ms is None else latency_ms)


def _study(workload: Workload, given: dict[str, Any]) -> Study:
    budget = Budget(
        latency_ms=workload.latency_ms if workload.latency_ms < inf else None,
        accuracy_loss_max=given["accuracy_loss_max"],
        hedge_max_share=given["hedge_share"],
        joule_s=given["joule_s"],
    )
    links = links_in(given["traces"], given["radio"])
    if given["show"] and given["show"] not in (link.trace.name for link in links):
        raise SimulationError(f"--show {given['show']}: there is no trace of that name among those given")
    ways = named_ways(given["policies"], workload, budget)
    return Study(workload, links, ways, budget, given["requests"], given["rate_hz"], tuple(dict.fromkeys(given["seeds"])))


def _conducted(study: Study, workers: int | None) -> Results:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress_console, transient=True, disable=not progress_console.is_terminal) as bars:
        task = bars.add_task("simulated runs", total=len(study.runs()))
        return conduct(study, workers, lambda done, _of: bars.update(task, completed=done))


def _object(results: Results) -> dict[str, Any]:
    study, workload = results.study, results.study.workload
    families: Sequence[str | None] = (*study.families, None)
    verdicts = [(family, verdict(results, family)) for family in families]
    return {
        "simulated": True,
        "workload": {
            "name": workload.name,
            "about": workload.about,
            "latency_ms": workload.latency_ms,
            "local_ms": workload.local_ms if workload.ready.model.whole else None,
            "feasible": workload.feasible,
        },
        "budget": {
            key: getattr(study.budget, key) for key in ("latency_ms", "accuracy_loss_max", "hedge_max_share", "joule_s")
        },
        "requests": study.requests,
        "rate_hz": study.rate_hz,
        "seeds": study.seeds,
        "traces": [
            {"name": link.trace.name, "family": link.family, "radio": link.radio, "duration_s": link.trace.duration_ms / 1e3}
            for link in study.links
        ],
        "rows": [
            {"policy": way.name, "rule": way.policy, "family": family, **asdict(figures(results, way, family))}
            for family in families
            for way in study.ways
        ],
        "verdicts": [{"family": family, "best": said.best, "text": said.text} for family, said in verdicts],
    }


def _print(results: Results) -> None:
    study, workload = results.study, results.study.workload
    families: Sequence[str | None] = (*study.families, None) if len(study.families) > 1 else (None,)
    click.echo(f"Simulated, not measured: {workload.name}, {workload.about}; {_asked(study)}")
    for family in families:
        traces = sum(family in (None, link.family) for link in study.links)
        of = (
            f"{family}, {traces} traces"
            if family
            else f"all {traces} traces" + (", families weigh equally" * (len(families) > 1))
        )
        print_table(COLUMNS, _rows(results, family), title=f"\nsimulated: {of}")
        click.echo(verdict(results, family).text)
    click.echo(
        "\nmJ and bytes up (modelled) are for each request; regret: mean latency above that of an oracle, trace by trace."
    )
    if study.budget.latency_ms is not None and not workload.feasible:
        click.echo("late is not shown: the device alone would not be in time.")


def _asked(study: Study) -> str:
    limit = study.budget.latency_ms
    within = "no latency budget" if limit is None else f"budget {limit:g} ms"
    return f"{within}, {study.requests} requests at {study.rate_hz:g} Hz, seeds {', '.join(map(str, study.seeds))}"


def _rows(results: Results, family: str | None) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for way in results.study.ways:
        f = figures(results, way, family)
        late = None if f.late is None else f"{100 * f.late:.2f}"
        latency = (f.mean_ms, f.p50_ms, f.p95_ms, f.p99_ms, f"{100 * f.regret:.1f}", late)
        spent = (f"{f.energy_mj:.0f}", kilobytes(f.uplink_bytes), f"{f.switches_per_min:.1f}")
        rows.append((way.name, *latency, *spent, *(f"{100 * share:.0f}" for share in (f.device, f.upload, f.split))))
    return rows
