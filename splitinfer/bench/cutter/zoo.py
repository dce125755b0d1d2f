"""Real networks, at every cut."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path

from splitinfer.bench.cutter.attempt import RIVAL, attempt
from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.bench.zoo import LARGE, ZOO, Specimen
from splitinfer.build import BuildOptions
from splitinfer.build.check import TOLERANCE
from splitinfer.errors import SplitInferError


def measure(tell: Callable[[str], None], zoo: Sequence[Specimen] = (*ZOO, *LARGE)) -> list[Row]:
    """A row a network: the worst error over all cuts, or why there is none."""
    rows = []
    for specimen in zoo:
        tell(f"  {specimen.name}")
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row(specimen, Path(folder)))
    return rows


def _row(specimen: Specimen, folder: Path) -> Row:
    try:
        path = specimen.save(folder)
        options = BuildOptions(name=specimen.name, samples=specimen.samples())
    except SplitInferError as error:
        return missing(specimen.name, error)
    found = attempt(path, folder, lambda _bundle: specimen.feed(), options)
    goal = at_most(0 if specimen.exact else TOLERANCE)
    if found.message:
        return Row(f"{specimen.name}: {found.message}", found.worst_error, "share", goal, RIVAL, n=found.cuts)
    what = f"{specimen.name}: head then tail, worst of all cuts, max|d|/max|y|"
    return Row(what, found.worst_error, "share", goal, RIVAL, n=found.cuts)


def missing(name: str, error: SplitInferError) -> Row:
    """A row for a network that is not installed: it says how to get it, and is not met."""
    return Row(f"{name}: {error}", nan, "", at_least(1), n=0)
