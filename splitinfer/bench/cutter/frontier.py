"""The latency that the few cuts of the frontier lose against all, over the grid of links and devices it was chosen on.

The build computes it; here it is read, for many networks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from math import nan
from pathlib import Path

from splitinfer.bench.cutter.networks import NETWORKS, Save
from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.bench.zoo import ZOO
from splitinfer.build import BuildOptions, build
from splitinfer.errors import SplitInferError
from splitinfer.model import Array

MEAN_MAX, WORST_MAX = 0.01, 0.05
Samples = Mapping[str, Array] | None


def measure(tell: Callable[[str], None]) -> list[Row]:
    """Two rows a network: the mean over the grid, and its worst point."""
    rows: list[Row] = []
    for name, save, samples in _subjects():
        tell(f"  {name}")
        try:
            rows += _rows(name, save, samples)
        except SplitInferError as error:
            rows.append(Row(f"{name}: {error}", nan, "", at_least(1), n=0))
    return rows


def _subjects() -> Iterator[tuple[str, Save, Callable[[], Samples]]]:
    """The networks with drawn inputs, then the rest of the zoo with its own."""
    yield from ((name, save, lambda: None) for name, save in NETWORKS.items())
    yield from ((specimen.name, specimen.save, specimen.samples) for specimen in ZOO if specimen.name not in NETWORKS)


def _rows(name: str, save: Save, samples: Callable[[], Samples]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = build(save(Path(folder)), Path(folder, "built.bundle"), BuildOptions(samples=samples(), codecs=("raw",)))
    lost = bundle.info.build["frontier"]
    what = f"{name}: latency lost by the frontier of {bundle.model.n - 1} inner cuts"
    return [
        Row(f"{what}, mean", lost["loss_mean"], "share", at_most(MEAN_MAX), "all cuts"),
        Row(f"{what}, worst", lost["loss_worst"], "share", at_most(WORST_MAX), "all cuts"),
    ]
