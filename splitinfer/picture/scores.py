"""What the plans of a bundle cost: bytes against cuts, coloured by accuracy loss; times on both sides of each cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from splitinfer.model import Model
from splitinfer.picture.marks import SHAPES, Look, mark
from splitinfer.picture.markup import Markup, join, label
from splitinfer.picture.numbers import millis, share, size
from splitinfer.picture.page import legend, patch, point
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, indices, linear_scale, log_scale
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard

WIDTH, LEFT, RIGHT, TOP = 1110.0, 64.0, 1100.0, 30.0
TIGHT = 60.0
"""Pixels of a cut from which on there is room for words and large points."""
SMALL_LOSS, SOME_LOSS = 0.01, 0.05
FAMILIES = ("raw", "half", "int8", "int6", "int4", "jpeg", "webp", "png", "klt", "avif")
LOSSES = ("no answer changed", "at most 1 %", "at most 5 %", "more than 5 %", "not measured")

Scores = Mapping[Plan, PlanScore]


def family(codec_id: str) -> str:
    """A codec without its step and byte compressor: "int8+zstd1" -> "int8"."""
    return codec_id.partition("+")[0].partition(":")[0]


def plans_plot(model: Model, scorecard: Scorecard) -> Markup:
    """Bytes of every plan, by cut, with what they mean."""
    scores = dict(sorted(scorecard.scores.items()))
    families = _families(scores)
    x = Scale(-0.5, max(model.n - 0.5, 0.5), LEFT, RIGHT)
    whole_input = model.cuts[0].nbytes
    panel = Panel(x, log_scale((*(s.bytes_p50 for s in scores.values()), whole_input), 372, TOP))
    step = panel.width / model.n
    parts = [_stripes(panel, model.n if step > TIGHT else 0), panel.y_axis(size, "bytes that cross, median"), panel.frame()]
    parts.append(panel.x_axis(lambda v: f"{v:.0f}", "cut", indices(model.n - 1)))
    parts.append(panel.rule(whole_input, f"the input, plain: {size(whole_input)}"))
    if (best := _upload(scores)) is not None:
        plan, score = best
        parts.append(
            panel.rule(
                score.bytes_p50, f"smallest upload within 1 %: {plan.codec}, {size(score.bytes_p50)}", "accent", below=True
            )
        )
    radius = 4.8 if step > TIGHT else 3.0
    for plan, score in scores.items():
        place = families.index(family(plan.codec)) - (len(families) - 1) / 2
        at = panel.x(plan.cut) + place * min(step * 0.8 / len(families), 16.0)
        look = Look(_shape(families, plan.codec), _colour(score), "+" not in plan.codec, radius)
        parts.append(mark(at, panel.y(score.bytes_p50), look, _about(plan, score)))
    return join([drawing(WIDTH, 410, parts, "bytes of each plan by cut"), *_legends(families, scores.values())])


def times_plot(model: Model, profile: Profile) -> Markup:
    """Device and cloud time by cut, stacked."""
    sides = [_sides(profile, cut.index) for cut in model.cuts]
    x = Scale(-0.5, model.n + 0.5, LEFT, RIGHT)
    panel = Panel(x, linear_scale((sum(both) for both in sides if both), 214, TOP))
    step = panel.width / (model.n + 1)
    parts = [panel.y_axis(millis, "compute without the link"), panel.frame()]
    parts.append(panel.x_axis(lambda v: f"{v:.0f}", "cut", indices(model.n)))
    for index, both in enumerate(sides):
        if both is None:
            parts.append(label(panel.x(index), panel.y.start - 8, "not held" if step > TIGHT else "–", "tiny"))
            continue
        head, tail = both
        title = f"cut {index}: device {millis(head)}, cloud {millis(tail)}"
        parts.append(panel.bar(index, step * 0.62, (0.0, head), "device", title))
        parts.append(panel.bar(index, step * 0.62, (head, head + tail), "cloud", title))
        if step > TIGHT:
            parts.append(label(panel.x(index), panel.y(head + tail) - 6, f"{millis(head)} + {millis(tail)}", "tiny"))
    signs = legend("runs on", [(patch("device"), "the device: head"), (patch("cloud"), "the cloud: tail")])
    return join([drawing(WIDTH, 252, parts, "device and cloud time by cut"), signs])


def _sides(profile: Profile, cut: int) -> tuple[float, float] | None:
    """(head, tail); None where a segment of the head was not measured here."""
    if None in profile.segment_ms[:cut] or len(profile.segment_ms) < cut:
        return None
    return profile.head_ms(cut), profile.tail_ms[cut] if cut < len(profile.tail_ms) else 0.0


def _families(scores: Scores) -> list[str]:
    present = {family(plan.codec) for plan in scores}
    return [name for name in FAMILIES if name in present] + sorted(present.difference(FAMILIES))


def _shape(families: list[str], codec_id: str) -> str:
    """A family keeps its shape from page to page; unknown ones take what is left."""
    name = family(codec_id)
    index = FAMILIES.index(name) if name in FAMILIES else len(FAMILIES) + families.index(name)
    return SHAPES[index % len(SHAPES)]


def _colour(score: PlanScore) -> str:
    return f"loss{_class(score)}"


def _class(score: PlanScore) -> int:
    """Index into LOSSES."""
    loss = score.accuracy_loss
    if loss is None:
        return 4
    return 0 if loss <= 0 else 1 if loss <= SMALL_LOSS else 2 if loss <= SOME_LOSS else 3


def _upload(scores: Scores) -> tuple[Plan, PlanScore] | None:
    """The plan at cut 0 with the fewest bytes whose loss is small: what any other plan has to beat."""
    uploads = [
        (plan, score)
        for plan, score in scores.items()
        if plan.cut == 0 and score.accuracy_loss is not None and score.accuracy_loss <= SMALL_LOSS
    ]
    return min(uploads, key=lambda row: row[1].bytes_p50, default=None)


def _about(plan: Plan, score: PlanScore) -> str:
    loss = f"accuracy loss {share(score.accuracy_loss)}"
    if score.accuracy_loss_bound is not None:
        loss += f" (at most {share(score.accuracy_loss_bound)} with 95 % confidence, n = {score.n})"
    return f"{plan}: {size(score.bytes_p50)} (p95 {size(score.bytes_p95)}), {loss}"


def _stripes(panel: Panel, cuts: int) -> Markup:
    """Every other cut on a tinted ground, so that the points of one cut stand together."""
    return join(panel.band(i - 0.5, i + 0.5, "odd") for i in range(1, cuts, 2))


def _legends(families: list[str], scores: Iterable[PlanScore]) -> list[Markup]:
    present = {_class(score) for score in scores}
    shapes = [(point(Look(_shape(families, name), "soft")), name) for name in families]
    fills = [(point(Look("circle", "soft")), "with zstd1"), (point(Look("circle", "soft", hollow=True)), "without")]
    losses = [(point(Look("circle", f"loss{i}")), words) for i, words in enumerate(LOSSES) if i in present]
    return [legend("codec", shapes + fills), legend("accuracy loss", losses)]
