"""Networks of a few kilobytes (MLPerf Tiny): bytes of the transform codec over int4 + zstd1 at equal agreement."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.bench.codecs import curve, integers, keywords, klt, places
from splitinfer.bench.codecs.curve import Bar, Point
from splitinfer.bench.codecs.families import told
from splitinfer.bench.codecs.split import CUT, Judged, Split, packed
from splitinfer.bench.codecs.subject import CALIBRATING_MAX, Subject, halves
from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.build import BuildOptions, build
from splitinfer.errors import SplitInferError
from splitinfer.model import Array

RATIO_MAX = 0.6
AGREEMENT_MIN = 0.99
DEEP_MAX = 0.8
_BITS = (4, 5, 6, 7, 8)


@dataclass(frozen=True)
class Items:
    """What a network is shown.

    Attributes:
        choosing: items that choose, as the network takes them.
        reporting: items that report.
        groups: which of the latter belong together.
    """

    choosing: Array
    reporting: Array
    groups: npt.NDArray[np.intp]


def measure(subject: Subject) -> list[Row]:
    """A row a network with the goal, and one for a deeper cut for information."""
    networks: dict[str, Callable[[], Items]] = {
        "mlperf_resnet8": partial(_pictures, subject.given.photos),
        "mlperf_kws_dscnn": _words,
    }
    rows: list[Row] = []
    for name, shown in networks.items():
        try:
            rows += _rows(_file(subject.given.models, name), shown(), subject.tell)
        except SplitInferError as error:
            rows.append(Row(f"{name}: {error}", nan, "", at_least(1), n=0))
    return rows


def _file(models: Path | None, name: str) -> Path:
    path = (models or Path()) / f"{name}.onnx"
    if models is None or not path.is_file():
        raise SplitInferError("not measured: give --models DIR, a folder that holds this network as an .onnx file")
    return path


def _pictures(folder: Path | None) -> Items:
    """Photos of 32x32 pixels, as they are: 0..255."""
    choosing, reporting = halves(folder, (32, 32))
    return Items(choosing.pixels.astype(np.float32), reporting.pixels.astype(np.float32), reporting.groups)


def _words() -> Items:
    """Words by some voices choose, the same words by others report."""
    heard, groups = keywords.spoken()
    return Items(heard[0::2], heard[1::2], groups[1::2])


def _rows(path: Path, items: Items, tell: Callable[[str], None]) -> list[Row]:
    found = places.places(path, BuildOptions())
    rows = []
    for place, goal in ((places.middle(found), True), (places.smallest(found, DEEP_MAX), False)):
        tell(f"  {path.stem} at {place}")
        with tempfile.TemporaryDirectory() as folder:
            options = BuildOptions(cuts=(place.name,), codecs=("raw",))
            split = Split(build(path, Path(folder, "built.bundle"), options))
            rows.append(_row(f"{path.stem} at {place}", split, items, goal, tell))
    return rows


def _row(what: str, split: Split, items: Items, goal: bool, tell: Callable[[str], None]) -> Row:
    calibrating = items.choosing[:: -(-len(items.choosing) // CALIBRATING_MAX)]
    wanted = split.classes(0, split.feeds(items.reporting))
    judged = Judged(split, CUT, split.crossing(items.reporting), wanted)
    rival = _rival(judged, split, calibrating)
    bar = curve.agreement(max(AGREEMENT_MIN, rival.agreement))
    points = _ours(judged, split, calibrating, bar)
    for point in (rival, *points):
        tell(f"    {told(point)}")
    ours = curve.lowest(points, bar)
    value = nan if ours is None else ours.nbytes / rival.nbytes
    label = "no step reaches it" if ours is None else told(ours)
    return Row(
        f"{what}: lowest bytes at {bar.text} over {rival.label}: {label}",
        value,
        "ratio",
        at_most(RATIO_MAX) if goal else None,
        told(rival),
        value,
        len(items.reporting),
        curve.error_of_ratio(points, [replace(rival, agrees=np.ones_like(rival.agrees))], bar, items.groups),
    )


def _rival(judged: Judged, split: Split, calibrating: Array) -> Point:
    """int4 where it keeps 99 % of the answers, else the fewest bits that do."""
    seen = split.crossing(calibrating)
    for bits in _BITS:
        point = judged.point(integers.label(bits, each=False), integers.Quantised(bits, seen, each=False))
        if point.agreement >= AGREEMENT_MIN:
            break
    return point


def _ours(judged: Judged, split: Split, calibrating: Array, bar: Bar) -> Sequence[Point]:
    ids = klt.ids()
    packer = split.packer(split.tables(calibrating))
    found = curve.explore(len(ids), klt.STRIDE, [bar], lambda at: judged.point(ids[at], packed(packer, ids[at])))
    return [found[at] for at in sorted(found)]
