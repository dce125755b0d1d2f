"""Bytes at equal answers: the transform codec at two cuts against coded photos and plain quantisers, all at any setting."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from splitinfer.bench.codecs import curve, families, places
from splitinfer.bench.codecs.curve import Bar, Point
from splitinfer.bench.codecs.families import Crossing, Families
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_most

MOST, NEARLY_ALL = curve.agreement(0.95), curve.agreement(0.99)
TOP1 = curve.change(-0.005)
NAMED_RIVAL = "jpeg:90"


@dataclass(frozen=True)
class Aim:
    """What a ratio of lowest bytes should reach."""

    bar: Bar
    most: float
    stretch: float


OVER_PHOTO = (Aim(MOST, 0.17, 0.13), Aim(NEARLY_ALL, 0.15, 0.12))
OVER_INTEGERS = Aim(NEARLY_ALL, 0.75, 0.6)
OVER_JPEG = Aim(TOP1, 0.12, 0.09)
EARLY = Aim(MOST, 0.45, 0.3)


def measure(subject: Subject) -> list[Row]:
    """Ratios with their goals, then the figures behind them, format by format."""
    bars = [MOST, NEARLY_ALL, *([] if subject.labels is None else [TOP1])]
    photos = families.photos(subject, bars)
    middle = places.middle(subject.places)
    at_middle = f"{subject.name} at {middle}"
    crossing = Crossing(subject, middle)
    integers = crossing.integers()
    ours = crossing.transform(bars)
    photo, integer = ("the best coded photo", _all(photos)), ("the best intN + zstd1", _all(integers))
    rows = [_ratio(subject, at_middle, aim, ours, photo) for aim in OVER_PHOTO]
    rows.append(_ratio(subject, at_middle, OVER_INTEGERS, ours, integer))
    if subject.labels is not None:
        rows.append(_over_named(subject, at_middle, ours))
    del crossing
    early = places.early(subject.places)
    early_ours = Crossing(subject, early).transform([MOST])
    rows.append(_ratio(subject, f"{subject.name} at the early {early}", EARLY, early_ours, photo))
    told = photos | {f"at {middle.name}: {name}": points for name, points in ({"klt": ours} | integers).items()}
    figures = [_figure(subject, name, bar, points) for bar in bars for name, points in told.items()]
    return [*rows, *figures, _figure(subject, f"at {early.name}: klt", EARLY.bar, early_ours)]


def _all(of: Families) -> list[Point]:
    return [point for points in of.values() for point in points]


def _ratio(subject: Subject, where: str, aim: Aim, ours: list[Point], rival: tuple[str, list[Point]]) -> Row:
    """Our lowest bytes at a bar over the rival's."""
    name, theirs = rival
    mine, best = curve.lowest(ours, aim.bar), curve.lowest(theirs, aim.bar)
    value = nan if mine is None or best is None else mine.nbytes / best.nbytes
    smooth = curve.between(ours, aim.bar) / curve.between(theirs, aim.bar) if ours and theirs else nan
    what = f"{where}: lowest bytes at {aim.bar.text} over {name} (stretch {aim.stretch:g}; interpolated {smooth:.3f})"
    return Row(
        f"{what}: {_kept(subject, aim.bar, mine)}",
        value,
        "ratio",
        at_most(aim.most),
        _kept(subject, aim.bar, best),
        value,
        len(subject.reporting),
        curve.error_of_ratio(ours, theirs, aim.bar, subject.reporting.groups),
    )


def _over_named(subject: Subject, where: str, ours: list[Point]) -> Row:
    """Our lowest bytes at a change of top-1 over those of JPEG as it is commonly used, whatever that changes."""
    rival = families.named(subject, NAMED_RIVAL)
    mine = curve.lowest(ours, OVER_JPEG.bar)
    value = nan if mine is None else mine.nbytes / rival.nbytes
    what = f"{where}: lowest bytes at {OVER_JPEG.bar.text} over {NAMED_RIVAL} (stretch {OVER_JPEG.stretch:g})"
    error = None if mine is None else curve.error_of_mean(mine.sizes / rival.nbytes, subject.reporting.groups)
    return Row(
        f"{what}: {_kept(subject, OVER_JPEG.bar, mine)}",
        value,
        "ratio",
        at_most(OVER_JPEG.most),
        _kept(subject, OVER_JPEG.bar, rival),
        value,
        len(subject.reporting),
        error,
    )


def _figure(subject: Subject, name: str, bar: Bar, points: list[Point]) -> Row:
    """The lowest bytes of one family at a bar, for information."""
    best = curve.lowest(points, bar)
    what = f"{name}: lowest bytes at {bar.text}: {_kept(subject, bar, best)}"
    error = None if best is None else curve.error_of_mean(best.sizes, subject.reporting.groups)
    return Row(what, nan if best is None else best.nbytes, "bytes", n=len(subject.reporting), spread=error)


def _kept(subject: Subject, bar: Bar, point: Point | None) -> str:
    """A setting with what it keeps, and the standard error of that."""
    if point is None:
        return "no setting reaches it"
    groups = subject.reporting.groups
    parts = [f"{point.label}, {point.nbytes:.0f} bytes"]
    agrees = point.agrees.astype(float)
    parts.append(f"agreement {agrees.mean():.3f} (s.e. {curve.error_of_mean(agrees, groups):.3f})")
    if point.gained is not None:
        changed = 100 * point.gained
        parts.append(f"top-1 {changed.mean():+.1f} points (s.e. {curve.error_of_mean(changed, groups):.1f})")
    return ", ".join(parts)
