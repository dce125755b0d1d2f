"""The ways next to each other: means with their errors, means over slowdowns."""

from __future__ import annotations

from collections.abc import Sequence

from splitinfer.picture.marks import SHAPES, Look, mark
from splitinfer.picture.markup import Markup, join, label, tag
from splitinfer.picture.numbers import brief, millis
from splitinfer.picture.page import legend, point
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.report import SURE, Leg, Report, Run
from splitinfer.picture.scale import Scale, linear_scale, log_scale

WIDTH, LEFT, RIGHT = 1110.0, 150.0, 1030.0
ROW = 30.0
COLOURS = 5
"""Colours way0 to way4 of the page."""


def colour(leg: Leg, run: Run) -> str:
    """The colour of a way; ours always has the strongest one."""
    if run.name == leg.ours:
        return f"way{COLOURS - 1}"
    others = [other.name for other in leg.runs if other.name != leg.ours]
    return f"way{others.index(run.name) % (COLOURS - 1)}"


def means_plot(leg: Leg, budget_ms: float) -> Markup:
    """Mean latency of each way with its error, and its 99th percentile."""
    bottom = 30 + ROW * len(leg.runs)
    x = linear_scale((budget_ms, *(run.figures.p99_ms for run in leg.runs)), LEFT, RIGHT)
    panel = Panel(x, Scale(0, 1, bottom, 30))
    at = panel.x(budget_ms)
    parts = [tag("line", class_="rule", x1=at, x2=at, y1=24, y2=bottom, stroke="var(--accent)")]
    parts += [
        label(at, 18, f"budget {millis(budget_ms)}", "tiny"),
        label(WIDTH - 4, 18, "mean", "tiny", "end"),
        panel.x_axis(millis),
    ]
    for i, run in enumerate(leg.runs):
        parts.append(_mean(panel, run, 30 + ROW * (i + 0.5), colour(leg, run), "strong" if run.name == leg.ours else ""))
    signs = [(tag("rect", x=1, y=3, width=14, height=10, fill="var(--soft)"), f"mean, with ± {SURE:g} standard errors")]
    signs.append((point(Look("diamond", "soft", hollow=True)), "99th percentile"))
    return join([drawing(WIDTH, bottom + 28, parts, "mean latency of each way"), legend("", signs)])


def _mean(panel: Panel, run: Run, y: float, paint: str, weight: str) -> Markup:
    figures = run.figures
    low, mean, high = (panel.x(figures.mean_ms + side * SURE * figures.se_ms) for side in (-1, 0, 1))
    words = f"{run.name}: mean {millis(figures.mean_ms)} ± {millis(figures.se_ms)} (s.e.), p99 {millis(figures.p99_ms)}"
    bar = tag("rect", x=panel.x.start, y=y - 8, width=mean - panel.x.start, height=16, fill=f"var(--{paint})")
    whisker = tag("path", d=f"M {low:.1f} {y} H {high:.1f} M {low:.1f} {y - 5} V {y + 5} M {high:.1f} {y - 5} V {y + 5}")
    return tag(
        "g",
        tag("title", words),
        bar,
        tag("g", whisker, stroke="var(--ink)", stroke_width=1.4),
        mark(panel.x(figures.p99_ms), y, Look("diamond", paint, hollow=True)),
        label(panel.x.start - 10, y + 4, run.name, weight, "end"),
        label(WIDTH - 4, y + 4, millis(figures.mean_ms), weight, "end"),
    )


def sweep_plot(report: Report) -> Markup:
    """Mean latency of each way over the slowness of the device."""
    legs = sorted(report.legs, key=lambda leg: leg.slowdown)
    slowdowns = [leg.slowdown for leg in legs]
    means = [run.figures.mean_ms for leg in legs for run in leg.runs]
    panel = Panel(log_scale(slowdowns, 64, 1100), log_scale((*means, report.budget_ms), 320, 30))
    parts = [panel.y_axis(millis, "mean latency"), panel.frame()]
    parts.append(panel.x_axis(lambda v: f"× {brief(v)}", "device slower than this machine", slowdowns))
    parts.append(panel.rule(report.budget_ms, f"budget {millis(report.budget_ms)}", "accent"))
    signs = []
    for i, run in enumerate(legs[0].runs):
        look = Look(SHAPES[i % len(SHAPES)], colour(legs[0], run))
        parts.append(_course(panel, legs, run.name, look))
        signs.append((point(look), run.name))
    return join([drawing(WIDTH, 362, parts, "mean latency by slowdown"), legend("way", signs)])


def _course(panel: Panel, legs: Sequence[Leg], name: str, look: Look) -> Markup:
    runs = [(leg.slowdown, run.figures) for leg in legs for run in leg.runs if run.name == name]
    line = panel.line(((slowdown, figures.mean_ms) for slowdown, figures in runs), look.colour)
    titles = [f"{name}, × {slowdown:g}: {millis(f.mean_ms)} ± {millis(f.se_ms)} (s.e.)" for slowdown, f in runs]
    points = [
        mark(panel.x(slowdown), panel.y(figures.mean_ms), look, title)
        for (slowdown, figures), title in zip(runs, titles, strict=True)
    ]
    return join([line, *points])
