"""How long a build takes without samples."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from splitinfer.bench.rows import Row, at_most
from splitinfer.bench.zoo import Specimen
from splitinfer.bench.zoo.specimens import DEEP, LITE0
from splitinfer.build import build

GOALS_S = ((LITE0, 20.0), (DEEP, 60.0))


def measure(tell: Callable[[str], None], goals_s: Sequence[tuple[Specimen, float]] = GOALS_S) -> list[Row]:
    """A row a network, in seconds of a clock on the wall."""
    return [_row(specimen, goal_s, tell) for specimen, goal_s in goals_s]


def _row(specimen: Specimen, goal_s: float, tell: Callable[[str], None]) -> Row:
    tell(f"  {specimen.name}")
    with tempfile.TemporaryDirectory() as folder:
        path = specimen.save(Path(folder))
        began_s = time.perf_counter()
        bundle = build(path, Path(folder, "built.bundle"))
        took_s = time.perf_counter() - began_s
    return Row(f"{specimen.name}: build without samples, {bundle.model.n + 1} cuts kept", took_s, "s", at_most(goal_s))
