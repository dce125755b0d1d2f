"""How latencies of a simulation spread, and what they cost: distributions, and bars of regret, misses, energy and bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from splitinfer.picture.markup import Markup, join, label, tag
from splitinfer.picture.numbers import UNKNOWN, brief, millis, share, size
from splitinfer.picture.page import legend, stroke
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, linear_scale, log_scale
from splitinfer.sim.study import Figures, Results, Study, Way, figures, links_of, quantiles
from splitinfer.sim.study.asked import DEVICE, UPLOAD
from splitinfer.sim.world import ORACLE

WIDTH = 1110.0
SHARES = tuple(i / 400 for i in range(1, 400))
TICKS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
TAIL = 0.9975
"""Share of requests that the axis of latencies shows."""
ROW = 24.0
KNOWN = {ORACLE: ("ink", "rival"), DEVICE: ("way0", "line"), UPLOAD: ("cloud", "line")}
OTHERS = (("way3", "line"), ("way1", "line"), ("way2", "line"), ("way4", "rival"), ("way3", "rival"), ("way1", "rival"))


def leading(study: Study) -> Way:
    """The one that is set off: the first that adapts."""
    return next((way for way in study.ways if not way.fixed and way.policy != ORACLE), study.ways[0])


def paint(study: Study, way: Way) -> tuple[str, str]:
    """Colour and kind of line of a way."""
    if way.name in KNOWN:
        return KNOWN[way.name]
    if way == leading(study):
        return "way4", "line"
    others = [other for other in study.ways if other.name not in KNOWN and other != leading(study)]
    return OTHERS[others.index(way) % len(OTHERS)]


def cdf_plot(results: Results) -> Markup:
    """For each way, the share of requests that were answered within a time."""
    study = results.study
    links = links_of(study, None)
    spread = {way: quantiles(results, way, links, SHARES) for way in study.ways}
    limit_ms = study.budget.latency_ms
    seen = [ms for times in spread.values() for ms, of in zip(times, SHARES, strict=True) if of <= TAIL]
    x = log_scale((*seen, limit_ms or seen[0]), 56, 1100)
    panel = Panel(x, Scale(0, 1, 330, 34))
    parts = [panel.y_axis(share, "share of requests answered within", TICKS), panel.x_axis(millis, "latency"), panel.frame()]
    if limit_ms is not None:
        at = x(limit_ms)
        parts.append(tag("line", class_="rule", x1=at, x2=at, y1=34, y2=330, stroke="var(--accent)"))
        parts.append(label(at, 26, f"budget {millis(limit_ms)}", "tiny"))
    for way in sorted(study.ways, key=lambda way: way == leading(study)):
        colour, kind = paint(study, way)
        points = [(ms, of) for ms, of in zip(spread[way], SHARES, strict=True) if ms <= x.high]
        parts.append(tag("g", tag("title", way.name), panel.line(points, colour, kind)))
    signs = [(stroke(*paint(study, way)), way.name) for way in study.ways]
    return join([drawing(WIDTH, 372, parts, "distribution of latencies"), legend("policy", signs)])


Bars = tuple[str, Callable[[Figures], float | None], Callable[[float | None], str]]
PRICES: tuple[Bars, ...] = (
    ("regret", lambda f: f.regret, share),
    ("late", lambda f: f.late, lambda v: UNKNOWN if v is None else f"{100 * v:.2f} %"),
    ("energy a request, modelled", lambda f: f.energy_mj, lambda v: f"{brief(v)} mJ"),
    ("bytes up a request", lambda f: f.uplink_bytes, size),
)


def price_plot(results: Results) -> Markup:
    """Regret, misses, energy and bytes of each way, next to each other."""
    ways = results.study.ways
    rows = [figures(results, way) for way in ways]
    height = 34 + ROW * len(ways)
    names = [
        label(100, 34 + ROW * (i + 0.5) + 4, way.name, "strong" if way == leading(results.study) else "", "end")
        for i, way in enumerate(ways)
    ]
    column = (WIDTH - 110) / len(PRICES)
    bars = [_bars(results, rows, price, 110 + column * i) for i, price in enumerate(PRICES)]
    return drawing(WIDTH, height + 8, [*names, *bars], "regret, misses, energy and bytes")


def _bars(results: Results, rows: Sequence[Figures], price: Bars, left: float) -> Markup:
    title, value, words = price
    values = [value(row) for row in rows]
    x = linear_scale([v for v in values if v is not None], left, left + 180)
    parts = [
        label(left, 20, title, "soft", "start"),
        tag("line", class_="axis", x1=left, x2=left, y1=30, y2=34 + ROW * len(rows)),
    ]
    for i, (way, v) in enumerate(zip(results.study.ways, values, strict=True)):
        top, end = 34 + ROW * i + 4, x(v or 0.0)
        colour = f"var(--{paint(results.study, way)[0]})"
        parts.append(
            tag("rect", tag("title", f"{way.name}: {words(v)}"), x=left, y=top, width=end - left, height=ROW - 8, fill=colour)
        )
        parts.append(label(end + 5, top + 12, words(v), "tiny", "start"))
    return join(parts)
