"""One simulated link over time: its rate, the plan that each policy followed under it, and how long each request took."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from math import log, sqrt

from splitinfer.picture.marks import Look, mark
from splitinfer.picture.markup import Markup, fitted, join, label, tag
from splitinfer.picture.numbers import brief, millis
from splitinfer.picture.page import legend, patch, point
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, log_scale
from splitinfer.picture.simulated_spread import leading
from splitinfer.picture.timeline import LOOKS
from splitinfer.sim.study import Course, Link, Results, Study, Way
from splitinfer.sim.study.course import OUTCOMES
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import starts_at_ms

WIDTH, LEFT, RIGHT = 1110.0, 180.0, 1100.0
TOP, RATE_HEIGHT, WAY_HEIGHT, GAP = 12.0, 110.0, 92.0, 20.0
REQUESTS_SHOWN = 150
BINS = 460
"""Stretches whose mean rates are drawn."""
DEAD_BPS = 1e4
"""What is slower is an outage for a reader."""
ASIDE = 118.0
"""Room for words left of a panel."""
BANDS = {
    "device": ("device", "everything on the device"),
    "upload": ("cloud", "the input was sent"),
    "split": ("way3", "cut in between"),
}
"""Colour and words of what was followed."""
FAINT = 0.24


def most_varied(study: Study) -> Link:
    """The link whose rate varies most: standard deviation of ln(rate) over time."""
    return max(study.links, key=lambda link: _spread(link.trace))


def _spread(trace: LinkTrace) -> float:
    logs = [(piece.duration_ms / trace.duration_ms, log(max(piece.up_bps, DEAD_BPS))) for piece in trace.pieces]
    mean = sum(share * value for share, value in logs)
    return sqrt(sum(share * (value - mean) ** 2 for share, value in logs))


def course_plot(results: Results, link: Link) -> Markup:
    """Panels below each other on one axis of time: the rate, then the first run of each way, as far as there is room."""
    study = results.study
    courses = {way: results.of(way, link)[0] for way in study.ways}
    end_s = min(REQUESTS_SHOWN / study.rate_hz, max(course.ended_ms for course in courses.values()) / 1e3)
    x = Scale(0.0, end_s, LEFT, RIGHT)
    parts = [_rate(x, TOP, link, starts_at_ms(link.trace, study.seeds[0]))]
    at = TOP + RATE_HEIGHT + GAP
    y = _latencies(study, courses.values(), end_s)
    for way, course in courses.items():
        parts.append(_way(Panel(x, Scale(y.low, y.high, at + WAY_HEIGHT, at, log=True)), study, way, course))
        at += WAY_HEIGHT + GAP
    parts.append(Panel(x, Scale(0, 1, at - GAP, at - GAP - 1)).x_axis(lambda v: f"{brief(v)} s", "virtual time"))
    return join([drawing(WIDTH, at + 22, parts, "rate, plans and latencies over time"), *_legends(study, courses.values())])


def _latencies(study: Study, courses: Iterable[Course], end_s: float) -> Scale:
    """One scale for all ways."""
    seen = [float(ms) for course in courses for ms in course.latency_ms[course.began_ms <= 1e3 * end_s]]
    return log_scale((*seen, study.budget.latency_ms or seen[0]), 0.0, 1.0)


def _legends(study: Study, courses: Collection[Course]) -> list[Markup]:
    seen = {OUTCOMES[index] for course in courses for index in course.outcome}
    points = [(point(Look(shape, paint)), words) for outcome, (shape, paint, words) in LOOKS.items() if outcome in seen]
    n = study.workload.ready.model.n
    followed = {_kind(int(cut), n) for course in courses for cut in course.cuts}
    bands = [(tag("g", patch(paint), opacity=FAINT), words) for kind, (paint, words) in BANDS.items() if kind in followed]
    return [legend("plan", bands), legend("requests", points)]


def _rate(x: Scale, top: float, link: Link, from_ms: float) -> Markup:
    """Mean rates of short stretches; outages are shaded."""
    step_s = x.high / BINS
    starts = [i * step_s for i in range(BINS + 1)]
    carried = [link.trace.bits(from_ms + 1e3 * start) for start in starts]
    points = [(start, (after - before) / step_s) for start, (before, after) in zip(starts, pairwise(carried), strict=False)]
    panel = Panel(x, log_scale([rate / 1e6 for _, rate in points if rate > DEAD_BPS], top + RATE_HEIGHT, top))
    parts: list[Markup] = [panel.band(start, min(start + step_s, x.high), "even") for start, rate in points if rate <= DEAD_BPS]
    parts.append(panel.y_axis(lambda v: f"{brief(v)} Mbit/s", ticks=panel.y.ticks(4)))
    parts.append(panel.steps([(start, rate / 1e6) for start, rate in points], "soft"))
    parts += [label(4, top + 14, "rate of the link", "", "start"), label(4, top + 30, "shaded: outage", "tiny", "start")]
    return join([*parts, panel.frame()])


def _way(panel: Panel, study: Study, way: Way, course: Course) -> Markup:
    """Bands for the plans, a point for each request."""
    n, top = study.workload.ready.model.n, panel.y.stop
    shown = [i for i, began_ms in enumerate(course.began_ms) if began_ms <= 1e3 * panel.x.high]
    parts = [_band(panel, course, part, n) for part in _stretches(course, shown)]
    parts.append(panel.y_axis(millis, ticks=panel.y.ticks(3)))
    if study.budget.latency_ms is not None:
        parts.append(panel.rule(study.budget.latency_ms, "budget" if way == study.ways[0] else "", "accent"))
    parts += [_request(panel, course, i) for i in shown]
    mean = f"mean {millis(float(course.latency_ms.mean()))}"
    parts.append(label(4, top + 14, fitted(way.name, ASIDE), "strong" if way == leading(study) else "", "start"))
    parts.append(label(4, top + 30, mean, "tiny", "start"))
    if way.policy != way.name:
        parts.append(label(4, top + 44, fitted(way.policy.removeprefix("static:"), ASIDE, 10.5), "tiny", "start"))
    return join([*parts, panel.frame()])


def _stretches(course: Course, shown: Sequence[int]) -> Iterator[list[int]]:
    """Requests in a row that had the same cut."""
    for _, part in groupby(shown, key=lambda i: int(course.cuts[i])):
        yield list(part)


def _band(panel: Panel, course: Course, part: Sequence[int], n: int) -> Markup:
    """From the first of these requests to the one after the last."""
    first, after = part[0], part[-1] + 1
    from_s = float(course.began_ms[first]) / 1e3
    to_s = min(float(course.began_ms[after] if after < len(course) else course.ended_ms) / 1e3, panel.x.high)
    cut, left, width = int(course.cuts[first]), panel.x(from_s), panel.x(to_s) - panel.x(from_s)
    plans = ", ".join(dict.fromkeys(str(course.plans[course.plan[i]]) for i in part))
    colour, _ = BANDS[_kind(cut, n)]
    title = tag("title", f"{from_s:.1f} to {to_s:.1f} s: {len(part)} requests, plan {plans}")
    size = {"x": left, "y": panel.y.stop, "width": width, "height": panel.height}
    band = tag("rect", title, **size, fill=f"var(--{colour})", opacity=FAINT)
    named = label(left + 4, panel.y.stop + 12, f"cut {cut}", "tiny", "start") if 0 < cut < n and width > 34 else ""
    return join([band, named])


def _kind(cut: int, n: int) -> str:
    return "device" if cut == n else "upload" if cut == 0 else "split"


def _request(panel: Panel, course: Course, i: int) -> Markup:
    at_s, latency_ms = float(course.began_ms[i]) / 1e3, float(course.latency_ms[i])
    plan, outcome = course.plans[course.plan[i]], OUTCOMES[course.outcome[i]]
    shape, colour, _ = LOOKS[outcome]
    title = f"{at_s:.2f} s: {millis(latency_ms)}, plan {plan}, {outcome}"
    return mark(panel.x(at_s), panel.y(latency_ms), Look(shape, colour, radius=2.8), title)
