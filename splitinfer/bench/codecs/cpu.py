"""CPU time to encode and decode, and its share of what the head takes, at two sizes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.codecs import klt, places
from splitinfer.bench.codecs.places import Place
from splitinfer.bench.codecs.split import CUT
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.codecs.timing import cpu_ms
from splitinfer.bench.rows import Row, at_most, spread_of

SMALL, LARGE = 16_000, 300_000
SMALL_MS, LARGE_MS, SHARE_MAX = 0.5, 8.0, 0.08
NEAR = 0.25
"""A tensor this much smaller or larger than asked for is not held to the goal."""
ROUNDS = {SMALL: 200, LARGE: 40}
_PHOTOS = 8


def measure(subject: Subject) -> list[Row]:
    """Rows for the cut of the middle and for the place nearest to 300 K values, at a coarse and at a fine step."""
    large = places.nearest(subject.places, LARGE)
    return [
        *_rows(subject, places.middle(subject.places), SMALL, SMALL_MS, SHARE_MAX),
        *_rows(subject, large, LARGE, LARGE_MS, None),
    ]


def _rows(subject: Subject, place: Place, asked: int, most_ms: float, share_max: float | None) -> list[Row]:
    split = subject.split(place)
    shown = split.feeds(subject.reporting.pixels[:_PHOTOS])
    sent = split.crossing(subject.reporting.pixels[:_PHOTOS])
    packer = split.packer(split.tables(subject.calibrating.pixels))
    engine = OrtEngine(split.bundle)  # one thread: all of it is CPU time of one core
    rows = []
    for id in klt.TIMED:
        coded = [packer.pack(CUT, id, tensors) for tensors in sent]
        acts = (
            lambda number, id=id: packer.pack(CUT, id, sent[number % len(sent)]),
            lambda number, coded=coded: packer.unpack(coded[number % len(coded)]),
            lambda number: engine.run(0, CUT, engine.hold(0, shown[number % len(shown)])),
        )
        encode, decode, head = cpu_ms(acts, ROUNDS[asked])
        subject.tell(f"    {place.name} {id}: encode {np.median(encode):.3f}, decode {np.median(decode):.3f} ms")
        where = f"{subject.name} at {place}, {id}"
        near = abs(place.values / asked - 1) <= NEAR
        goal_ms = most_ms if near else None
        rows += [_time(f"{where}: encode", encode, goal_ms), _time(f"{where}: decode", decode, goal_ms)]
        share = float(np.median(encode) / np.median(head))
        what = f"{where}: CPU to encode over that of the head"
        goal = at_most(share_max) if near and share_max is not None else None
        rows.append(Row(what, share, "share", goal, "the head", share, len(head)))
    return rows


def _time(what: str, ms: npt.NDArray[np.float64], most_ms: float | None) -> Row:
    name = f"{what}, CPU, median (p10 {np.percentile(ms, 10):.3f} ms)"
    return Row(name, float(np.median(ms)), "ms", None if most_ms is None else at_most(most_ms), n=len(ms), spread=spread_of(ms))
