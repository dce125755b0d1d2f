"""A plot: two scales, axes around them, and lines, steps, bars, bands between them. Knows nothing of models or rides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from splitinfer.picture.markup import Markup, join, label, tag
from splitinfer.picture.scale import Scale

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle with a scale along each side; what is drawn is given in values, not in pixels."""

    x: Scale
    y: Scale

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x.stop - self.x.start

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y.start - self.y.stop

    def frame(self) -> Markup:
        """The outline."""
        return tag("rect", class_="frame", x=self.x.start, y=self.y.stop, width=self.width, height=self.height)

    def y_axis(self, words: Callable[[float], str], title: str = "", ticks: Sequence[float] | None = None) -> Markup:
        """Ticks with grid lines at the left, the title above them."""
        values = self.y.ticks() if ticks is None else ticks
        lines = [tag("line", class_="grid", x1=self.x.start, x2=self.x.stop, y1=self.y(v), y2=self.y(v)) for v in values]
        names = [label(self.x.start - 7, self.y(v) + 4, words(v), "soft", "end") for v in values]
        above = [label(self.x.start, self.y.stop - 9, title, "soft", "start")] if title else []
        return join([*lines, *names, *above])

    def x_axis(self, words: Callable[[float], str], title: str = "", ticks: Sequence[float] | None = None) -> Markup:
        """Ticks below, the title at the right below them."""
        values = self.x.ticks(12) if ticks is None else ticks
        marks = [tag("line", class_="axis", x1=self.x(v), x2=self.x(v), y1=self.y.start, y2=self.y.start + 4) for v in values]
        names = [label(self.x(v), self.y.start + 17, words(v), "soft") for v in values]
        below = [label(self.x.stop, self.y.start + 33, title, "soft", "end")] if title else []
        return join([*marks, *names, *below])

    def line(self, points: Iterable[Point], colour: str, class_: str = "line") -> Markup:
        """A line through points."""
        path = " ".join(f"{self.x(x):.2f},{self.y(y):.2f}" for x, y in points)
        return tag("polyline", class_=class_, points=path, stroke=f"var(--{colour})")

    def steps(self, points: Sequence[Point], colour: str, class_: str = "line") -> Markup:
        """A line that keeps each value until the next point, and the last one to the end."""
        corners: list[Point] = []
        for (x, y), (until, _) in zip(points, [*points[1:], (self.x.high, 0.0)], strict=True):
            corners += [(x, y), (until, y)]
        return self.line(corners, colour, class_)

    def rule(self, y: float, words: str, colour: str = "soft", *, below: bool = False) -> Markup:
        """A dashed line across, its name at the right above or below it."""
        at = self.y(y)
        across = tag("line", class_="rule", x1=self.x.start, x2=self.x.stop, y1=at, y2=at, stroke=f"var(--{colour})")
        return join([across, label(self.x.stop - 4, at + (14 if below else -5), words, "tiny halo", "end")])

    def bar(self, x: float, width: float, span: Point, colour: str, title: str = "") -> Markup:
        """A bar around x, `width` pixels wide, from one value to another."""
        low, high = self.y(span[0]), self.y(span[1])
        words = [tag("title", title)] if title else []
        left = self.x(x) - width / 2
        return tag("rect", *words, x=left, y=high, width=width, height=max(low - high, 0.0), fill=f"var(--{colour})")

    def band(self, start: float, stop: float, class_: str) -> Markup:
        """A background from one x to another, over the whole height."""
        left, right = self.x(start), self.x(stop)
        return tag("rect", class_=class_, x=left, y=self.y.stop, width=right - left, height=self.height)


def drawing(width: float, height: float, parts: Iterable[str], name: str) -> Markup:
    """An SVG that grows and shrinks with the page.

    Args:
        width: of its own coordinates.
        height: of its own coordinates.
        parts: what is in it.
        name: what it shows, for readers that cannot see it.
    """
    picture = tag("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=name)
    return tag("div", picture, class_="drawing")
