"""Rate against accuracy, cut by cut: what each plan costs in bytes, how many answers it keeps, how much of the input it shows.

One small panel a cut, all with the same axes, so that they can be compared; in each of them the coded input, which any other
plan has to beat.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from splitinfer.codec import codec
from splitinfer.errors import UnknownCodec
from splitinfer.model import Cut, Model
from splitinfer.picture.leaks import leak_words, meter
from splitinfer.picture.marks import Look, mark
from splitinfer.picture.markup import Markup, fitted, join, label, tag
from splitinfer.picture.numbers import brief, dims, share, size
from splitinfer.picture.page import legend, point, stroke
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, log_scale
from splitinfer.plan import Plan, PlanScore

WIDTH, COLUMNS, GUTTER = 1110.0, 2, 26.0
LEFT, HEAD, PLOT, FOOT = 50.0, 62.0, 190.0, 46.0
"""Pixels of a panel: for the words of its axis, above it, of it, below it."""
_TICKS = 8
"""As many words of bytes fit side by side below a panel."""
PANELS = 12
"""More cuts than these have no panel: those are shown that send least for the answers they keep."""
KEPT = 0.01
"""The loss up to which answers count as kept."""
LOSSES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

SERIES = {
    "klt": (Look("circle", "way4"), "klt, step by step"),
    "intN": (Look("square", "way2", radius=4.2), "intN"),
    "half": (Look("down", "way1"), "half"),
    "media": (Look("diamond", "cloud", radius=4.8), "the input, coded with loss"),
    "lossless": (Look("up", "way3"), "without loss"),
    "other": (Look("pentagon", "way0"), "another codec"),
}
RIVAL, BEST = "the smallest coded input at each accuracy (cut 0)", f"fewest bytes within {share(KEPT)}"

Scores = Mapping[Plan, PlanScore]
Rated = tuple[Plan, PlanScore]


@dataclass(frozen=True, slots=True)
class _Axes:
    """What all panels have in common.

    Attributes:
        low: fewest bytes.
        high: most bytes.
        floor: the loss at which "all" stands: half an answer.
        worst: greatest loss.
    """

    low: float
    high: float
    floor: float
    worst: float

    def panel(self, left: float, top: float, width: float) -> Panel:
        """Heights are logarithms of what is lost, upside down."""
        y = Scale(1 / self.worst, 1 / self.floor, top + PLOT, top)
        x = log_scale((self.low, self.high), left, left + width)
        return Panel(x, Scale(y.low, y.high, y.start, y.stop, log=True))

    def height(self, loss: float) -> float:
        """Where a loss stands on the scale of such a panel."""
        return 1 / max(loss, self.floor)

    def ticks(self) -> list[float]:
        """Heights that are named."""
        return [1 / loss for loss in LOSSES if self.floor * 1.4 < loss <= self.worst] + [1 / self.floor]


def rates_plot(model: Model, scores: Scores, kept: str) -> Markup | None:
    """The panels with their legend; None where no plan was held against the uncut model.

    Args:
        model: that was cut.
        scores: of its plans.
        kept: what the height means.
    """
    rated = [(plan, score) for plan, score in sorted(scores.items()) if score.accuracy_loss is not None and score.n]
    if not rated:
        return None
    losses = [max(score.accuracy_loss or 0.0, score.accuracy_loss_bound or 0.0) for _, score in rated]
    floor = 0.5 / max(score.n for _, score in rated)
    nbytes = [max(score.bytes_p50, 1) for _, score in rated]
    axes = _Axes(min(nbytes), max(nbytes), floor, min(max(*losses, floor * 20), 1.0))
    cuts = shown(model, rated)
    rival = _front(row for row in rated if row[0].cut == 0)
    width = (WIDTH - (COLUMNS - 1) * GUTTER - 4) / COLUMNS - LEFT
    parts = []
    for at, cut in enumerate(cuts):
        left = at % COLUMNS * (LEFT + width + GUTTER) + LEFT
        panel = axes.panel(left, at // COLUMNS * (HEAD + PLOT + FOOT) + HEAD, width)
        own = [row for row in rated if row[0].cut == cut.index]
        parts += [_heading(panel, cut, own, rival), _axis(panel, axes, kept), _rival(panel, axes, rival)]
        parts += [*_series(panel, axes, own), *_leak(panel, own)]
    height = -(-len(cuts) // COLUMNS) * (HEAD + PLOT + FOOT)
    return join([drawing(WIDTH, height, parts, "bytes against answers kept, by cut"), _legend(rated, cuts)])


def shown(model: Model, rated: Sequence[Rated]) -> list[Cut]:
    """The cuts that have a panel."""
    cuts = [cut for cut in model.cuts if any(plan.cut == cut.index for plan, _ in rated)]
    if len(cuts) <= PANELS:
        return cuts
    least = {cut.index: _best(row for row in rated if row[0].cut == cut.index) for cut in cuts[1:]}
    ranked = sorted(least, key=lambda cut: found[1].bytes_p50 if (found := least[cut]) else float("inf"))
    return [cut for cut in cuts if cut.index in {0, *ranked[: PANELS - 1]}]


def series(codec_id: str) -> str:
    """Key into SERIES."""
    name = codec_id.partition("+")[0].partition(":")[0]
    if name in ("klt", "half"):
        return name
    if re.fullmatch(r"int\d+[a-z]*", name):
        return "intN"
    if name in ("jpeg", "webp", "avif"):
        return "media"
    try:
        return "lossless" if codec(codec_id).lossless else "other"
    except UnknownCodec:
        return "other"


def _front(rows: Iterable[Rated]) -> list[Rated]:
    """Of some plans those that no other one beats in bytes and loss, fewest bytes first."""
    front: list[Rated] = []
    for plan, score in sorted(rows, key=lambda row: (row[1].bytes_p50, row[1].accuracy_loss, row[0])):
        if not front or (score.accuracy_loss or 0.0) < (front[-1][1].accuracy_loss or 0.0):
            front.append((plan, score))
    return front


def _best(rows: Iterable[Rated]) -> Rated | None:
    good = [row for row in rows if (row[1].accuracy_loss or 0.0) <= KEPT]
    return min(good, key=lambda row: row[1].bytes_p50, default=None)


def _axis(panel: Panel, axes: _Axes, kept: str) -> Markup:
    def words(height: float) -> str:
        return "all" if height > 0.99 / axes.floor else share(round(1 - 1 / height, 4))

    across = panel.x_axis(size, "median bytes", ticks=panel.x.ticks(_TICKS))
    up = label(panel.x.start, panel.y.start + 33, f"↑ {kept}", "soft", "start")
    return join([panel.y_axis(words, ticks=axes.ticks()), across, up, panel.frame()])


def _heading(panel: Panel, cut: Cut, own: Sequence[Rated], rival: Sequence[Rated]) -> Markup:
    """What crosses there, and the plan with the fewest bytes that keeps the answers."""
    what = dims(cut.tensors[0]).removeprefix("?×") if len(cut.tensors) == 1 else f"{len(cut.tensors)} tensors"
    where = f"depth {share(round(cut.depth, 3))}" if cut.index else "the input"
    title = f"cut {cut.index}  ·  {where}  ·  {what}"
    best, other = _best(own), _best(rival)
    if best is None:
        found = f"no plan within {share(KEPT)}"
    else:
        found = f"{share(1 - KEPT)} kept: {fitted(best[0].codec, 110)}, {size(best[1].bytes_p50)}"
        if cut.index and other is not None and other[1].bytes_p50:
            found += f", {brief(best[1].bytes_p50 / other[1].bytes_p50)} × the coded input"
    y = panel.y.stop
    return join([label(panel.x.start, y - 36, title, "strong", "start"), label(panel.x.start, y - 18, found, "soft", "start")])


def _rival(panel: Panel, axes: _Axes, rival: Sequence[Rated]) -> Markup:
    """The coded input as a line: from each of its plans on, so much is kept."""
    if not rival:
        return Markup()
    points = [(float(score.bytes_p50), axes.height(score.accuracy_loss or 0.0)) for _, score in rival]
    foot = panel.x(points[0][0])
    beside = (foot - 5, "end") if foot > panel.x.start + 70 else (foot + 5, "start")
    name = label(beside[0], panel.y.start - 6, "coded input", "tiny halo", beside[1])
    return join([panel.steps([(points[0][0], panel.y.low), *points], "soft", "rival"), name])


def _series(panel: Panel, axes: _Axes, own: Sequence[Rated]) -> Iterator[Markup]:
    best = _best(own)
    for name, (look, _) in SERIES.items():
        rows = [row for row in own if series(row[0].codec) == name]
        front = _front(rows)
        if len(front) > 1:
            yield panel.line(((s.bytes_p50, axes.height(s.accuracy_loss or 0.0)) for _, s in front), look.colour)
        for plan, score in rows:
            loss, x = score.accuracy_loss or 0.0, panel.x(score.bytes_p50)
            if score.accuracy_loss_bound:
                ends = {"y1": panel.y(axes.height(loss)), "y2": panel.y(axes.height(score.accuracy_loss_bound))}
                yield tag("line", class_="whisker", x1=x, x2=x, stroke=f"var(--{look.colour})", **ends)
            drawn = look if (plan, score) in front else Look(look.shape, look.colour, True, look.radius * 0.8)
            yield mark(x, panel.y(axes.height(loss)), drawn, _about(plan, score))
    if best is not None:
        at = axes.height(best[1].accuracy_loss or 0.0)
        yield tag("circle", class_="ring", cx=panel.x(best[1].bytes_p50), cy=panel.y(at), r=9)


def _leak(panel: Panel, own: Sequence[Rated]) -> Iterator[Markup]:
    leaks = [score.leak_at_least for _, score in own if score.leak_at_least is not None]
    if leaks:
        yield meter(panel.x.stop, panel.y.stop - 40, leaks)


def _about(plan: Plan, score: PlanScore) -> str:
    kept = f"{share(1 - (score.accuracy_loss or 0.0))} kept"
    if score.accuracy_loss_bound is not None:
        kept += f" (at least {share(1 - score.accuracy_loss_bound)} with 95 % confidence, n = {score.n})"
    leak = "" if score.leak_at_least is None else f"; {leak_words(score.leak_at_least)}"
    return f"{plan.codec} at cut {plan.cut}: {size(score.bytes_p50)}, {kept}{leak}"


def _legend(rated: Sequence[Rated], cuts: Sequence[Cut]) -> Markup:
    indices = {cut.index for cut in cuts}
    there = {series(plan.codec) for plan, _ in rated if plan.cut in indices}
    signs = [(point(look), words) for name, (look, words) in SERIES.items() if name in there]
    signs.append((stroke("soft", "rival"), RIVAL))
    signs.append((tag("circle", class_="ring", cx=8, cy=8, r=6.5), BEST))
    signs.append((tag("line", class_="whisker", x1=8, x2=8, y1=1, y2=15, stroke="var(--soft)"), "down to the 95 % bound"))
    return legend("plans", signs)
