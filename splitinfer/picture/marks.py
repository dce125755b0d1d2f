"""Single points: shapes that can be told apart without colour."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from splitinfer.picture.markup import Markup, tag

SHAPES = ("circle", "square", "up", "down", "diamond", "star", "hexagon", "pentagon", "left", "right")
_CORNERS = {
    "square": (4, 45.0),
    "up": (3, 90.0),
    "down": (3, 270.0),
    "left": (3, 180.0),
    "right": (3, 0.0),
    "diamond": (4, 90.0),
    "hexagon": (6, 0.0),
    "pentagon": (5, 90.0),
}
"""Corners, and the angle of the first in degrees."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a point looks.

    Attributes:
        shape: one of SHAPES.
        colour: name of a CSS variable of the page, without the dashes.
        hollow: only its outline.
        radius: in pixels.
    """

    shape: str
    colour: str
    hollow: bool = False
    radius: float = 4.5


def mark(x: float, y: float, look: Look, title: str = "") -> Markup:
    """A point at a pixel; the title is shown when the pointer rests on it."""
    paint = f"var(--{look.colour})"
    fill, width = ("var(--paper)", 1.5) if look.hollow else (paint, 1.0)
    words = [tag("title", title)] if title else []
    if look.shape == "circle":
        return tag("circle", *words, cx=x, cy=y, r=look.radius * 0.92, fill=fill, stroke=paint, stroke_width=width)
    points = _points(x, y, look.shape, look.radius * 1.15)
    return tag("polygon", *words, points=points, fill=fill, stroke=paint, stroke_width=width)


def _points(x: float, y: float, shape: str, radius: float) -> str:
    if shape == "star":
        ring = [(90.0 + 36 * i, radius * (1.15 if i % 2 == 0 else 0.5)) for i in range(10)]
    else:
        corners, first = _CORNERS[shape]
        ring = [(first + 360 / corners * i, radius) for i in range(corners)]
    return " ".join(f"{x + r * cos(a * pi / 180):.2f},{y - r * sin(a * pi / 180):.2f}" for a, r in ring)
