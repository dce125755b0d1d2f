"""Every place where a model could be cut: bytes against depth, the kept ones named, the reason for each on the pointer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from splitinfer.bundle import BoundaryEntry
from splitinfer.picture.marks import Look, mark
from splitinfer.picture.markup import Markup, fitted, join, label, tag
from splitinfer.picture.numbers import share, size
from splitinfer.picture.page import legend, point, table
from splitinfer.picture.panel import Panel, drawing
from splitinfer.picture.scale import Scale, log_scale

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1110.0, 64.0, 1092.0, 30.0, 360.0
NAMED = 12
"""More cuts than these are not named in the drawing: there is no room."""
NAME_WIDTH, LINE = 96.0, 13.0
"""Pixels for the name of a cut, and between its lines."""

CUT = Look("circle", "device", radius=6.0)
LEFT_OUT = Look("circle", "soft", hollow=True, radius=3.2)
REFUSED = Look("diamond", "accent", hollow=True, radius=3.6)
MEANING = {CUT: "a cut of this bundle", LEFT_OUT: "left out", REFUSED: "cannot be cut"}


def boundaries_plot(boundaries: Sequence[BoundaryEntry]) -> Markup:
    """The curve, with what its marks mean."""
    kept = [boundary for boundary in boundaries if boundary.kept]
    smallest = min((boundary.nbytes for boundary in kept if boundary.nbytes), default=1)
    y = log_scale((*(boundary.nbytes for boundary in boundaries), smallest / 5), BOTTOM, TOP)
    panel = Panel(Scale(0.0, 1.0, LEFT, RIGHT), y)
    curve = [(boundary.depth, boundary.nbytes) for boundary in boundaries if boundary.nbytes]
    parts = [panel.y_axis(size, "plain bytes that cross"), panel.frame()]
    parts.append(panel.x_axis(share, "depth: share of the model's operations on the device"))
    parts.append(panel.line(curve, "soft", "thin"))
    if boundaries[0].nbytes:
        parts.append(panel.rule(boundaries[0].nbytes, f"the input, plain: {size(boundaries[0].nbytes)}"))
    drawn = sorted(boundaries, key=lambda boundary: (boundary.kept, not boundary.offered))
    parts += [_mark(panel, boundary, small=len(kept) > NAMED) for boundary in drawn]
    if len(kept) <= NAMED:
        parts += _names(panel, kept)
    looks = {_look(boundary) for boundary in boundaries}
    signs = [(point(look), words) for look, words in MEANING.items() if look in looks]
    return join([drawing(WIDTH, BOTTOM + 40, parts, "bytes that cross at every boundary, by depth"), legend("boundary", signs)])


def boundaries_table(boundaries: Sequence[BoundaryEntry]) -> Markup:
    """All of them with their reasons, folded away."""
    rows = [
        (
            boundary.name,
            boundary.id,
            share(round(boundary.depth, 4)),
            size(boundary.nbytes),
            "cut" if boundary.kept else "",
            boundary.why,
        )
        for boundary in boundaries
    ]
    listed = table(("boundary", "id", "depth", "plain bytes", "kept", "why"), rows, words=(0, 1, 4, 5))
    return tag("details", tag("summary", f"{len(rows)} boundaries with their reasons"), listed)


def _look(boundary: BoundaryEntry) -> Look:
    return CUT if boundary.kept else LEFT_OUT if boundary.offered else REFUSED


def _mark(panel: Panel, boundary: BoundaryEntry, small: bool) -> Markup:
    look = _look(boundary)
    what = f"{size(boundary.nbytes)}, depth {share(round(boundary.depth, 4))}; {MEANING[look]}: {boundary.why}"
    look = replace(look, radius=3.6) if small and boundary.kept else look
    return mark(panel.x(boundary.depth), panel.y(boundary.nbytes), look, f"{boundary.name} (id {boundary.id}): {what}")


def _names(panel: Panel, kept: Sequence[BoundaryEntry]) -> Iterator[Markup]:
    """Below each cut its index, name and bytes; lower where it would stand on the words of another."""
    taken: list[tuple[float, float]] = []
    for index, boundary in enumerate(kept):
        name = fitted(boundary.name, NAME_WIDTH) if boundary.nbytes else "nothing crosses"
        lines = [(f"cut {index}", "strong halo"), (name, "halo"), (size(boundary.nbytes), "tiny halo")]
        width = max(len(words) for words, _ in lines) * 6.6
        x, y, anchor = _beside(panel, boundary)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        while any(left < right and abs(y - other) < 3 * LINE for right, other in taken):
            y += 3 * LINE
        taken.append((left + width, y))
        yield from (label(x, y + LINE * i, words, class_, anchor) for i, (words, class_) in enumerate(lines))


def _beside(panel: Panel, boundary: BoundaryEntry) -> tuple[float, float, str]:
    """Where the words of a cut begin, and how they stand there: below it, at its side at the ends of the drawing."""
    x, y = panel.x(boundary.depth), panel.y(boundary.nbytes)
    if not boundary.nbytes:
        return x - 11, y - 2 * LINE - 3, "end"
    if x < panel.x.start + NAME_WIDTH / 2:
        return x + 3, y + 19, "start"
    return (x, y + 19, "middle") if x < panel.x.stop - NAME_WIDTH / 2 else (x - 11, y + 4, "end")
