"""What happened when: the latency of each way, our plan, the link as it was and as it was believed, the battery."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from splitinfer.events import Outcome
from splitinfer.picture.marks import Look, mark
from splitinfer.picture.markup import Markup, fitted, join, label
from splitinfer.picture.numbers import brief, millis, share
from splitinfer.picture.page import legend, point, stroke
from splitinfer.picture.panel import Panel, Point, drawing
from splitinfer.picture.report import Change, Leg, Moment, Report, Run, Stretch
from splitinfer.picture.scale import Scale, log_scale
from splitinfer.plan import Plan

WIDTH, LEFT, RIGHT = 1110.0, 196.0, 1100.0
TOP, LATENCY_HEIGHT, PLAN_HEIGHT, SMALL_HEIGHT, GAP = 46.0, 96.0, 150.0, 84.0, 26.0
ASIDE = 128.0
"""Room for words left of a panel."""
LOOKS = {
    Outcome.LOCAL: ("circle", "device", "local: on the device, as planned"),
    Outcome.REMOTE: ("square", "cloud", "remote: the cloud answered"),
    Outcome.RACED_LOCAL: ("up", "device", "raced: the device was first"),
    Outcome.RACED_REMOTE: ("up", "cloud", "raced: the cloud was first"),
    Outcome.RESUMED: ("diamond", "loss2", "resumed: the cloud did not answer, the device went on"),
    Outcome.EXPIRED: ("star", "accent", "expired"),
    Outcome.REFUSED: ("star", "accent", "refused"),
}
CAUSES = {"link": "up", "battery": "down", "load": "pentagon", "budget": "square", "profile": "hexagon", "explore": "star"}
OTHER_CAUSE = "diamond"
"""Of causes that are not in CAUSES: the start."""


SMALL = Look("circle", "soft", radius=1.8)


def timeline(report: Report, leg: Leg) -> Markup:
    """Panels below each other on one axis of time."""
    end_s = max((stretch.to_s for stretch in report.stretches), default=1.0)
    x = Scale(0.0, end_s, LEFT, RIGHT)
    latencies = [m.latency_ms for run in leg.runs for m in run.moments]
    at, parts = TOP, [_names(x, report.stretches)]
    for run in leg.runs:
        panel = Panel(x, log_scale((*latencies, report.budget_ms), at + LATENCY_HEIGHT, at))
        parts.append(_latency(panel, run, report, run.name == leg.ours))
        at += LATENCY_HEIGHT + GAP
    ours = leg.our_run
    for draw, height in ((_plan, PLAN_HEIGHT), (_link, SMALL_HEIGHT), (_battery, SMALL_HEIGHT)):
        parts.append(draw(x, at, height, ours, report))
        at += height + GAP
    foot = Panel(x, Scale(0, 1, at - GAP, at - GAP - 1))
    parts.append(foot.x_axis(lambda v: f"{brief(v)} s", "time on the timeline"))
    return join([drawing(WIDTH, at + 14, parts, "what happened when"), *_legends(leg)])


def _legends(leg: Leg) -> list[Markup]:
    seen = {m.outcome for run in leg.runs for m in run.moments}
    outcomes = [(point(Look(shape, paint)), words) for outcome, (shape, paint, words) in LOOKS.items() if outcome in seen]
    if not all(m.right for run in leg.runs for m in run.moments):
        outcomes.append((point(Look("circle", "soft", hollow=True)), "hollow: another answer than the uncut model's"))
    causes = dict.fromkeys(change.cause for change in leg.our_run.changes)
    changes = [(point(Look(CAUSES.get(cause, OTHER_CAUSE), "accent")), cause) for cause in causes]
    lines = [(stroke("soft"), "the link as it was"), (stroke("accent"), f"as {leg.ours} believed it")]
    return [legend("requests", outcomes), *([legend("plan changed by", changes)] if changes else []), legend("link", lines)]


def _names(x: Scale, stretches: Sequence[Stretch]) -> Markup:
    words = []
    for stretch in stretches:
        middle, room = x((stretch.from_s + stretch.to_s) / 2), x(stretch.to_s) - x(stretch.from_s) - 6
        link = "no link" if stretch.dead else f"{brief(stretch.uplink_mbps)} Mbit/s, {millis(stretch.rtt_ms)}"
        words += [label(middle, 18, fitted(stretch.name, room), "strong"), label(middle, 34, fitted(link, room), "tiny")]
    return join(words)


def _ground(panel: Panel, stretches: Sequence[Stretch]) -> Markup:
    """The stretches as a background."""
    return join(
        panel.band(s.from_s, s.to_s, "gone" if s.dead else "even" if i % 2 == 0 else "odd") for i, s in enumerate(stretches)
    )


def _aside(panel: Panel, name: str, *more: str, strong: bool = False) -> Markup:
    """What a panel shows, left of it."""
    rows = [label(4, panel.y.stop + 14, fitted(name, ASIDE), "strong" if strong else "", "start")]
    return join(
        [*rows, *(label(4, panel.y.stop + 30 + 14 * i, fitted(w, ASIDE, 10.5), "tiny", "start") for i, w in enumerate(more))]
    )


def _latency(panel: Panel, run: Run, report: Report, ours: bool) -> Markup:
    parts = [_ground(panel, report.stretches), panel.y_axis(millis, ticks=panel.y.ticks(4))]
    parts.append(panel.rule(report.budget_ms, "budget", "accent"))
    parts.append(_aside(panel, run.name, run.policy, f"mean {millis(run.figures.mean_ms)}", strong=ours))
    parts.append(panel.line(((m.at_s, m.latency_ms) for m in run.moments), "soft", "thin"))
    for moment in run.moments:
        shape, paint, _ = LOOKS[moment.outcome]
        look = Look(shape, paint, hollow=not moment.right, radius=3.4)
        parts.append(mark(panel.x(moment.at_s), panel.y(moment.latency_ms), look, _about(moment)))
    return join([*parts, panel.frame()])


def _about(moment: Moment) -> str:
    answer = "" if moment.right else ", another answer than the uncut model's"
    return f"{moment.at_s:.2f} s: {millis(moment.latency_ms)}, plan {moment.plan}, {moment.outcome}{answer}"


def _plan(x: Scale, top: float, height: float, run: Run, report: Report) -> Markup:
    """The chosen plan as steps; a small point for what each request really did."""
    panel = Panel(x, Scale(-0.6, report.cuts + 0.9, top + height, top))
    every = max(round(report.cuts / 8), 1)
    ticks = sorted({0, report.cuts, *range(0, report.cuts - every + 1, every)})
    parts = [_ground(panel, report.stretches), panel.y_axis(lambda v: f"cut {v:.0f}", ticks=ticks)]
    parts.append(_aside(panel, f"plan of {run.name}", "0: upload", f"{report.cuts}: device only"))
    chosen = _chosen(run)
    parts.append(panel.steps([(at_s, plan.cut) for at_s, plan in chosen], "way4"))
    parts += [mark(x(m.at_s), panel.y(m.plan.cut), SMALL, _about(m)) for m in run.moments]
    parts += [_turn(panel, change) for change in run.changes if change.at_s >= 0]
    for (at_s, plan), (until_s, _) in pairwise([*chosen, (x.high, Plan(0, ""))]):
        if (room := x(until_s) - x(at_s)) > 36:
            parts.append(label(x(at_s) + 7, panel.y(plan.cut) - 7, _codec(plan, room - 4), "tiny halo", "start"))
    return join([*parts, panel.frame()])


def _codec(plan: Plan, room: float) -> str:
    """The codec, without its byte compressor where there is no room."""
    whole = fitted(plan.codec, room, 10.5)
    return whole if whole == plan.codec else fitted(plan.codec.partition("+")[0], room, 10.5)


def _chosen(run: Run) -> list[tuple[float, Plan]]:
    """(from when, plan): what held at the start, then each change."""
    changes = run.changes
    before = [change for change in changes if change.at_s <= 0]
    first = before[-1].new if before else changes[0].old if changes else None
    if first is None and run.moments:
        first = run.moments[0].plan
    start = [(0.0, first)] if first is not None else []
    return start + [(change.at_s, change.new) for change in changes if change.at_s > 0]


def _turn(panel: Panel, change: Change) -> Markup:
    old = "" if change.old is None else f"{change.old} → "
    title = f"{change.at_s:.2f} s: {old}{change.new}, {change.cause}: {change.reason}"
    shape = CAUSES.get(change.cause, OTHER_CAUSE)
    return mark(panel.x(change.at_s), panel.y(change.new.cut), Look(shape, "accent", radius=5), title)


def _link(x: Scale, top: float, height: float, run: Run, report: Report) -> Markup:
    """Rate upwards: a step for the truth, a line for what was believed; gaps where nothing was."""
    true = [(s.from_s, s.uplink_mbps) for s in report.stretches]
    believed = [m.believed_mbps for m in run.moments if m.believed_mbps is not None]
    panel = Panel(x, log_scale((*(rate for _, rate in true), *believed), top + height, top))
    parts = [_ground(panel, report.stretches), panel.y_axis(lambda v: f"{brief(v)} Mbit/s", ticks=panel.y.ticks(3))]
    parts += [_aside(panel, "uplink"), panel.steps(true, "soft")]
    parts += [panel.line(points, "accent") for points in _pieces(run.moments)]
    return join([*parts, panel.frame()])


def _pieces(moments: Sequence[Moment]) -> list[list[Point]]:
    """What was believed, in pieces without gaps."""
    pieces: list[list[Point]] = [[]]
    for moment in moments:
        if moment.believed_mbps is None:
            pieces.append([])
        else:
            pieces[-1].append((moment.at_s, moment.believed_mbps))
    return [piece for piece in pieces if piece]


def _battery(x: Scale, top: float, height: float, run: Run, report: Report) -> Markup:
    panel = Panel(x, Scale(0.0, 1.0, top + height, top))
    charge = [(m.at_s, m.battery) for m in run.moments if m.battery is not None]
    parts = [_ground(panel, report.stretches), panel.y_axis(share, ticks=(0.0, 0.5, 1.0)), _aside(panel, "battery")]
    parts.append(panel.line(charge, "way3"))
    return join([*parts, panel.frame()])
