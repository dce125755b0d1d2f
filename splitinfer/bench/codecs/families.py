"""Families of settings on one classifier and its photos: coded photos, plain quantisers at a cut, the transform codec there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from splitinfer.bench.codecs import curve, integers, klt
from splitinfer.bench.codecs.curve import Bar, Point
from splitinfer.bench.codecs.media import Medium, decoded, lossless, media
from splitinfer.bench.codecs.places import Place
from splitinfer.bench.codecs.split import CUT, Judged, packed
from splitinfer.bench.codecs.subject import Subject

Families = dict[str, list[Point]]
"""Name -> settings that were measured."""

QUALITY_STRIDE = 5
SLOWER_STEPS = 4
"""A slower encoder keeps more at the same quality, so the setting to take lies a little lower."""


class Crossing:
    """A cut of a subject: what crosses for the photos that calibrate, and for those that report.

    Args:
        subject: classifier and photos.
        place: where.
    """

    def __init__(self, subject: Subject, place: Place) -> None:
        self._subject = subject
        self._split = subject.split(place)
        self._sent = self._split.crossing(subject.reporting.pixels)
        self._judged = Judged(self._split, CUT, self._sent, subject.wanted, subject.labels)

    def transform(self, bars: Sequence[Bar]) -> list[Point]:
        """Steps of `klt`."""
        ids = klt.ids()
        packer = self._split.packer(self._split.tables(self._subject.calibrating.pixels))

        def measure(at: int) -> Point:
            return self._told(self._judged.point(ids[at], packed(packer, ids[at])))

        return [*curve.explore(len(ids), klt.STRIDE, bars, measure).values()]

    def integers(self) -> Families:
        """2 to 8 bits with one range and with one for each channel, and half floats in case none of them will do."""
        seen = self._split.crossing(self._subject.calibrating.pixels)
        found: Families = {}
        for each in (False, True):
            coders = {integers.label(bits, each): integers.Quantised(bits, seen, each) for bits in integers.BITS}
            found[f"intN a {'channel' if each else 'tensor'} + zstd1"] = [
                self._told(self._judged.point(label, coder)) for label, coder in coders.items()
            ]
        half = packed(self._split.packer({}), "half+zstd1")
        found["half + zstd1"] = [self._told(self._judged.point("half + zstd1", half))]
        return found

    def _told(self, point: Point) -> Point:
        self._subject.tell(f"    {told(point)}")
        return point


def photos(subject: Subject, bars: Sequence[Bar]) -> Families:
    """The photo as a file, format by format."""
    judged = _judged_photos(subject)
    found: Families = {}
    for medium in media():
        measure = partial(_photo, subject, judged, medium)
        points = curve.explore(len(medium.qualities), QUALITY_STRIDE, bars, measure)
        found[medium.name] = [*points.values()]
        if medium.slower is not None:
            near = {
                best + more for bar in bars if (best := curve.cheapest(points, bar)) is not None for more in range(SLOWER_STEPS)
            }
            fitting = sorted(at for at in near if at < len(medium.qualities))
            found[medium.slower.name] = [_photo(subject, judged, medium.slower, at) for at in fitting]
    for medium in lossless():
        sizes = np.array([len(file) for file in medium.files(subject.reporting.pixels, 0)], np.float64)
        found[medium.name] = [judged.of(medium.name, sizes, subject.wanted)]
    return found


def named(subject: Subject, codec_id: str) -> Point:
    """A codec of ours for photos, as a request uses it."""
    packer = subject.whole.packer({})
    return _judged_photos(subject).point(codec_id, packed(packer, codec_id, cut=0))


def told(point: Point) -> str:
    """A setting with its figures, for people."""
    change = "" if point.gained is None else f", top-1 {100 * point.gained.mean():+.1f} points"
    return f"{point.label}: {point.nbytes:.0f} bytes, agreement {point.agreement:.3f}{change}"


def _judged_photos(subject: Subject) -> Judged:
    sent = subject.whole.feeds(subject.reporting.pixels)
    return Judged(subject.whole, 0, sent, subject.wanted, subject.labels)


def _photo(subject: Subject, judged: Judged, medium: Medium, at: int) -> Point:
    files = medium.files(subject.reporting.pixels, at)
    answers = subject.whole.classes(0, subject.whole.feeds(decoded(files)))
    point = judged.of(medium.label(at), np.array([len(file) for file in files], np.float64), answers)
    subject.tell(f"    {told(point)}")
    return point
