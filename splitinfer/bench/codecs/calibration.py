"""What it takes to make the tables of one cut: samples without labels, CPU time, bytes; the runtime, numpy and nothing else."""

from __future__ import annotations

import sys
import time

from splitinfer.bench.codecs import places
from splitinfer.bench.codecs.subject import CALIBRATING_MAX, Subject
from splitinfer.bench.rows import Row, at_most

CPU_MAX_S = 30.0
LEARNERS = ("torch", "tensorflow", "jax", "scipy", "sklearn")


def measure(subject: Subject) -> list[Row]:
    """Three rows about the cut of the middle."""
    place = places.middle(subject.places)
    split, items = subject.split(place), subject.calibrating.pixels
    before = {name for name in LEARNERS if name in sys.modules}
    began_s = time.process_time()
    tables = split.tables(items)
    took_s = time.process_time() - began_s
    loaded = [name for name in LEARNERS if name in sys.modules and name not in before]
    where, count = f"{subject.name} at {place}", len(items)
    what = f"{where}: calibrating klt from {count} samples without labels, CPU"
    return [
        Row(what, took_s, "s", at_most(CPU_MAX_S), n=count),
        Row(f"{where}: samples that it takes", count, "samples", at_most(CALIBRATING_MAX)),
        Row(f"{where}: libraries besides onnxruntime and numpy that it loads", len(loaded), "libraries", at_most(0)),
        Row(f"{where}: tables of klt, for all steps", sum(map(len, tables.values())), "bytes"),
    ]
