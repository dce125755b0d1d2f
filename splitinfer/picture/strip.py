"""The model drawn as a chain of segments with cuts between them: all of it for a few cuts, a strip with bars for many."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.model import Cut, Model, Segment, TensorSpec
from splitinfer.picture.markup import Markup, fitted, join, label, tag
from splitinfer.picture.numbers import dims, millis, shape, share, size
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, indices, log_scale
from splitinfer.plan import Profile

WIDTH = 1110.0
ROOMY_SEGMENTS = 9
"""Up to so many segments have their figures written into them."""
MARGIN = 62.0
GAP = 30.0
"""Between two boxes: where the tensors cross."""
BOX_TOP, BOX_HEIGHT = 78.0, 116.0
BOX_MIN = 78.0
WIRES_MAX = 5
WIRE_STEP = 13.0
TENSORS_MAX = 3
"""Tensors of a cut that are named below it; the others are counted."""
HATCH = tag(
    "pattern",
    tag("path", d="M 0 8 L 8 0", stroke="var(--hatch)", stroke_width=1.2),
    id="hatch",
    width=8,
    height=8,
    patternUnits="userSpaceOnUse",
)


def reading(model: Model) -> str:
    """How to read what `strip` draws."""
    if len(model.segments) > ROOMY_SEGMENTS:
        return "Bytes are those of the plain tensors at batch 1. Rest the pointer on a bar or a box for the rest."
    return (
        "A box: time on the device of the profile, share of the model's compute, bytes of graph and weights, nodes. "
        "A line through a cut: one tensor, thicker for more bytes; bytes are those of the plain tensors at batch 1."
    )


def strip(model: Model, profile: Profile | None) -> Markup:
    """The model with its cuts, tensors, bytes and device times."""
    return _roomy(model, profile) if len(model.segments) <= ROOMY_SEGMENTS else _dense(model, profile)


def compute_share(model: Model, index: int) -> float:
    """What part of the whole model's compute a segment does, 0..1."""
    return model.cuts[index + 1].depth - model.cuts[index].depth


def _segment_ms(profile: Profile | None, index: int) -> float | None:
    return profile.segment_ms[index] if profile and index < len(profile.segment_ms) else None


def _about(model: Model, segment: Segment, profile: Profile | None) -> str:
    held = "" if segment.index in model.holds else ", not held here"
    return (
        f"segment {segment.index}{held}: {share(compute_share(model, segment.index))} of the compute, {segment.nodes} nodes, "
        f"{size(segment.nbytes)}, {millis(_segment_ms(profile, segment.index))} on the device"
    )


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    width: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def _boxes(model: Model) -> list[_Box]:
    """Widths by share of compute, none below BOX_MIN."""
    count = len(model.segments)
    room = WIDTH - 2 * MARGIN - GAP * (count + 1)
    spare = room - BOX_MIN * count
    widths = [BOX_MIN + spare * compute_share(model, i) for i in range(count)]
    lefts = [MARGIN + GAP * (i + 1) + sum(widths[:i]) for i in range(count)]
    return [_Box(left, width) for left, width in zip(lefts, widths, strict=True)]


def _roomy(model: Model, profile: Profile | None) -> Markup:
    boxes = _boxes(model)
    places = [box.left - GAP / 2 for box in boxes] + [boxes[-1].left + boxes[-1].width + GAP / 2]
    lines = max(min(len(cut.tensors), TENSORS_MAX + 1) for cut in model.cuts)
    parts = [tag("defs", HATCH)]
    parts += [_wires(cut.tensors, place) for cut, place in zip(model.cuts, places, strict=True)]
    parts += [_wires(model.outputs, places[-1], crosses=False)]
    parts += [_box(model, s, box, profile) for s, box in zip(model.segments, boxes, strict=True)]
    for at, (cut, place) in enumerate(zip(model.cuts, places, strict=True)):
        near = min(abs(place - other) for other in places if other != place)
        parts.append(_cut(model, cut, place, near if 0 < at < model.n else max(near, 110.0)))
    parts += [_end("input", model.inputs, 4, "start"), _end("output", model.outputs, WIDTH - 4, "end")]
    return drawing(WIDTH, BOX_TOP + BOX_HEIGHT + 30 + 29 * lines, parts, f"{model.name}, cut into {model.n} segments")


def _box(model: Model, segment: Segment, box: _Box, profile: Profile | None) -> Markup:
    held = segment.index in model.holds
    frame = {"x": box.left, "y": BOX_TOP, "width": box.width, "height": BOX_HEIGHT, "rx": 7}
    fill = None if held else "fill:url(#hatch)"
    rows = [
        ("strong", f"segment {segment.index}"),
        ("", millis(_segment_ms(profile, segment.index)) if held else "not held"),
        ("", share(compute_share(model, segment.index))),
        ("soft", size(segment.nbytes)),
        ("soft", f"{segment.nodes} node{'s' if segment.nodes != 1 else ''}"),
    ]
    words = [
        label(box.middle, BOX_TOP + 24 + 20 * i, row, f"{class_}{'' if held else ' halo'}")
        for i, (class_, row) in enumerate(rows)
    ]
    rect = tag(
        "rect", tag("title", _about(model, segment, profile)), class_=f"box{'' if held else ' absent'}", style=fill, **frame
    )
    return join([rect, *words])


def _wires(tensors: tuple[TensorSpec, ...], place: float, crosses: bool = True) -> Markup:
    """One line a tensor, thicker for more bytes."""
    shown = tensors[:WIRES_MAX]
    middle = BOX_TOP + BOX_HEIGHT / 2
    lines = []
    for i, spec in enumerate(shown):
        y = middle + (i - (len(shown) - 1) / 2) * WIRE_STEP
        what = f"{spec.name}: {shape(spec)}, {size(spec.nbytes())}"
        ends = {"x1": place - (GAP / 2 if crosses else 0), "x2": place + GAP / 2, "y1": y, "y2": y}
        lines.append(tag("line", tag("title", what), class_="wire", stroke_width=_thickness(spec.nbytes()), **ends))
    return join(lines)


def _thickness(nbytes: int) -> float:
    """2 pixels for 1 KB, 3 more for each factor of 100."""
    return min(max(2.0 + 1.5 * (len(str(nbytes)) - 4), 1.5), 9.0)


def _cut(model: Model, cut: Cut, place: float, near: float) -> Markup:
    """The dashed line, what it is above, what crosses below."""
    bottom = BOX_TOP + BOX_HEIGHT + 12
    what = "; ".join(f"{t.name}: {shape(t)}, {size(t.nbytes())}" for t in cut.tensors) or "nothing crosses"
    title = tag("title", f"cut {cut.index} ({cut.name}, id {cut.id}): {what}")
    room = near - 12
    above = [
        label(place, 18, f"cut {cut.index}", "strong"),
        label(place, 35, _summary(model, cut, near), ""),
        label(place, 52, f"depth {share(cut.depth)}", "tiny"),
    ]
    rows = [(t.name, dims(t)) for t in cut.tensors[:TENSORS_MAX]] or [("nothing crosses", "device only")]
    below = []
    for i, (name, form) in enumerate(rows):
        below.append(label(place, bottom + 17 + 29 * i, fitted(name, room), ""))
        below.append(label(place, bottom + 31 + 29 * i, fitted(form, room, 10.5), "tiny"))
    if len(cut.tensors) > TENSORS_MAX:
        below.append(label(place, bottom + 17 + 29 * TENSORS_MAX, f"and {len(cut.tensors) - TENSORS_MAX} more", "tiny"))
    line = tag("line", title, class_="cut", x1=place, x2=place, y1=60, y2=bottom)
    return join([line, *above, *below])


def _summary(model: Model, cut: Cut, room: float) -> str:
    if cut.index == model.n:
        return "device only"
    whole = f"{size(cut.nbytes)} in {len(cut.tensors)} tensors"
    return whole if len(cut.tensors) > 1 and fitted(whole, room) == whole else size(cut.nbytes)


def _end(what: str, tensors: tuple[TensorSpec, ...], x: float, anchor: str) -> Markup:
    middle = BOX_TOP + BOX_HEIGHT / 2
    name = tensors[0].name if len(tensors) == 1 else f"{len(tensors)} tensors"
    title = tag("title", "; ".join(f"{t.name}: {shape(t)}" for t in tensors))
    words = [label(x, middle - 3, what, "soft", anchor), label(x, middle + 13, fitted(name, MARGIN - 6), "", anchor)]
    return tag("g", title, *words)


BARS_TOP, BARS_HEIGHT, ROW_HEIGHT = 34.0, 150.0, 40.0


def _dense(model: Model, profile: Profile | None) -> Markup:
    """Bars of the bytes at each cut over a strip of segments that all have the same width."""
    x = Scale(-0.5, model.n + 0.5, 64, WIDTH - 10)
    bars = Panel(x, log_scale((c.nbytes for c in model.cuts), BARS_TOP + BARS_HEIGHT, BARS_TOP))
    step = bars.width / (model.n + 1)
    strip_top = BARS_TOP + BARS_HEIGHT + 52
    parts = [tag("defs", HATCH), bars.y_axis(size, "plain bytes that cross at each cut"), bars.frame()]
    for cut in model.cuts[:-1]:
        names = ", ".join(f"{t.name} {shape(t)}" for t in cut.tensors)
        title = f"cut {cut.index} ({cut.name}): {size(cut.nbytes)}, depth {share(cut.depth)}; {names}"
        parts.append(bars.bar(cut.index, max(step * 0.55, 1.0), (bars.y.low, cut.nbytes), "device", title))
    parts.append(bars.x_axis(lambda v: f"{v:.0f}", "cut", indices(model.n)))
    heaviest = max(compute_share(model, i) for i in range(model.n)) or 1.0
    parts.append(label(64, strip_top - 8, "segments between the cuts, stronger = more of the compute", "soft", "start"))
    for segment in model.segments:
        strength = 0.06 + 0.94 * compute_share(model, segment.index) / heaviest
        parts.append(_cell(model, segment, (x(segment.index), x(segment.index + 1)), strip_top, strength, profile))
    return drawing(WIDTH, strip_top + ROW_HEIGHT + 8, parts, f"{model.name}, cut into {model.n} segments")


def _cell(
    model: Model, segment: Segment, span: tuple[float, float], top: float, strength: float, profile: Profile | None
) -> Markup:
    held = segment.index in model.holds
    style = f"fill:var(--device);fill-opacity:{strength:.2f};stroke-width:0.4" if held else "fill:url(#hatch)"
    title = tag("title", _about(model, segment, profile))
    return tag(
        "rect",
        title,
        x=span[0],
        y=top,
        width=span[1] - span[0],
        height=ROW_HEIGHT,
        class_=f"box{'' if held else ' absent'}",
        style=style,
    )
