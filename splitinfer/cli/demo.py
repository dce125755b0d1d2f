"""`splitinfer demo`: a trained network, a cloud, a link that changes, live, and every rival on the same timeline."""

from __future__ import annotations

import tempfile
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from splitinfer.bench.demo.outcome import as_object, row
from splitinfer.bench.demo.run import Ride
from splitinfer.bench.demo.scenario import COMMUTE
from splitinfer.bench.demo.show import Rides, Watching, show
from splitinfer.bench.demo.ways import NAMES, OURS
from splitinfer.cli.output import json_option, kilobytes, print_json, print_table, progress_console
from splitinfer.events import Event, Inferred, LinkChanged, PlanChanged, ProbeDue

DEFAULT_SLOWDOWN = 8.0
BARS = "▁▂▃▄▅▆▇█"
SHOTS_SHOWN = 50
EVENTS_SHOWN = 8
SMALL_PROBE_BYTES = 1000
"""Probes come in pairs, a small one and a larger one; the screen shows one line."""


def _slowdowns(_ctx: click.Context, _option: click.Parameter, text: str | None) -> list[float]:
    try:
        slowdowns = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        slowdowns = [0.0]
    if not all(slowdown >= 1 for slowdown in slowdowns):
        raise click.BadParameter(f"factors of 1 or more, for example 2,4,8,16; got {text!r}")
    return slowdowns


@click.command("demo")
@click.option(
    "--device-slowdown",
    type=click.FloatRange(min=1),
    default=DEFAULT_SLOWDOWN,
    show_default=True,
    help="This machine, slowed down.",
)
@click.option("--sweep", callback=_slowdowns, help="Run everything for each of these slowdowns, for example 2,4,8,16.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("demo-report.html"), show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the bundles in this folder.")
@click.option(
    "--record", type=click.Path(path_type=Path), help="Write a log of each way into this folder, for `splitinfer replay`."
)
@json_option
def command(
    device_slowdown: float, sweep: list[float], report: Path, keep: Path | None, record: Path | None, as_json: bool
) -> int:
    """Stream photos through a link that goes WiFi, LTE, tunnel, LTE, WiFi, while the battery drains."""
    slowdowns = sweep or [device_slowdown]
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splitinfer-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        screen = stack.enter_context(Screen())
        if record is not None:
            record.mkdir(parents=True, exist_ok=True)
        assets, rides = show(folder, slowdowns, replace(screen.watching(), record=record))
        steps = [as_object(rides[slowdown], COMMUTE, slowdown) for slowdown in slowdowns]
        from splitinfer.bench.demo.report import page

        report.write_text(page(assets, rides, COMMUTE), encoding="utf-8")
    if as_json:
        print_json(steps[0] | ({"sweep": steps} if sweep else {}) | {"report": str(report)})
    else:
        for slowdown in slowdowns:
            _print(rides[slowdown], slowdown)
        click.echo(f"report: {report}")
    return 0


def _print(rides: Rides, slowdown: float) -> None:
    rows = {name: row(ride) for name, ride in rides.items()}
    print_table(
        ("way", "plan", "answered", "mean ms", "± s.e.", "p99 ms", "bytes up", "misses", "agreement", "mJ (modelled)"),
        [
            (
                name,
                rides[name].way.policy.removeprefix("static:"),
                f"{r.answered}/{r.requests}",
                r.mean_ms,
                r.se_ms,
                r.p99_ms,
                kilobytes(r.uplink_bytes_mean),
                r.budget_misses,
                f"{r.agreement:.3f}",
                r.energy_mj,
            )
            for name, r in rows.items()
        ],
        title=f"\ndevice slowed down {slowdown:g} times, budget {COMMUTE.latency_ms:g} ms",
    )
    best = min(rows, key=lambda name: rows[name].mean_ms)
    click.echo(f"lowest mean latency: {best}")


class Screen:
    """What is going on, live on stderr: all ways side by side, and the events of splitinfer as they happen."""

    def __init__(self) -> None:
        self._stage = ""
        self._rides: dict[str, Ride] = {}
        self._log: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self._bars = Progress(TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(console=progress_console, refresh_per_second=8, transient=True, get_renderable=self._render)

    def __enter__(self) -> Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._live.__exit__(*failure)

    def watching(self) -> Watching:
        """For `show`."""
        return Watching(building=self._building, stage=self._staged, event=self._heard)

    def _building(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def _staged(self, text: str) -> None:
        self._stage = text
        self._rides.clear()
        self._log.clear()
        if not progress_console.is_terminal:
            progress_console.print(text)

    def _heard(self, ride: Ride, event: Event) -> None:
        self._rides[ride.way.name] = ride
        if ride.way.name == OURS and (line := _line(event)) is not None:
            self._log.append(f"{ride.at_s:6.2f} s  {line}")

    def _render(self) -> Group:
        title = Text(self._stage, style="bold")
        rides = sorted(self._rides.values(), key=lambda ride: NAMES.index(ride.way.name))
        if not rides:
            return Group(title, self._bars)
        events = Panel("\n".join(self._log), title=f"events of {OURS}", title_align="left")
        return Group(title, _world(rides[0]), _side_by_side(rides), events)


def _line(event: Event) -> str | None:
    match event:
        case PlanChanged(old, new, cause, reason):
            return f"plan {old} → {new}  [{cause}] {reason}"
        case LinkChanged(up, cause, _):
            return f"link {'up' if up else 'DOWN'}  {cause}"
        case ProbeDue(nbytes) if nbytes > SMALL_PROBE_BYTES:
            return f"probe {nbytes} B"
        case Inferred(plan, cost, outcome, _, late) if late or outcome not in ("local", "remote"):
            return f"{outcome} {plan} {cost.latency_ms:.0f} ms{' LATE' if late else ''}"
    return None


def _world(ride: Ride) -> Text:
    at_s, scenario = ride.at_s, ride.scenario
    phase = scenario.phases[scenario.phase_at(at_s)]
    battery = scenario.battery_at(at_s).battery or 0.0
    link = "nothing gets through" if phase.dead else f"{phase.uplink_mbps:g} Mbit/s, {phase.rtt_ms:g} ms"
    return Text(f"{at_s:4.1f} of {scenario.duration_s:g} s   {phase.name}: {link}   battery {battery:.0%}")


def _side_by_side(rides: list[Ride]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("way", "plan", "believed", "mean ms", "late", "sent", f"latency, up to {COMMUTE.latency_ms:g} ms"):
        table.add_column(column, no_wrap=True)
    for ride in rides:
        client, times = ride.client, [shot.latency_ms for shot in ride.shots]
        believed = ride.shots[-1].believed_mbps if ride.shots else None
        table.add_row(
            ride.way.name,
            str(client.plan) if client else "-",
            "-" if believed is None else f"{believed:.1f} Mbit/s",
            f"{fmean(times):.0f}" if times else "-",
            str(sum(ms > ride.scenario.latency_ms for ms in times)),
            kilobytes(sum(shot.result.cost.uplink_bytes for shot in ride.shots)),
            _sparkline(times[-SHOTS_SHOWN:], ride.scenario.latency_ms),
        )
    return table


def _sparkline(times: list[float], budget_ms: float) -> Text:
    text = Text()
    for ms in times:
        level = min(int(ms / budget_ms * (len(BARS) - 1)), len(BARS) - 1)
        text.append(BARS[level], style="red" if ms > budget_ms else "green")
    return text
