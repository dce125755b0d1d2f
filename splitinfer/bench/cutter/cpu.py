"""What crossing a cut costs both sides: CPU time of head and tail over that of the whole, at the cuts of the frontier.

One thread; head and tail run between two runs of the whole. Sessions are luck: where the memory of one comes to lie makes a
network of large matrices up to 9 % slower or faster than another session of the very same graph. So all of them are made anew,
again and again, until the median over these is known well enough.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.cutter.networks import NETWORKS, Save
from splitinfer.bench.ratios import rounds
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.bench.zoo import minilm
from splitinfer.bench.zoo.specimens import MINILM
from splitinfer.build import build, random_feeds
from splitinfer.bundle import Bundle
from splitinfer.errors import SplitInferError
from splitinfer.model import Tensors

MEDIAN_MAX, WORST_MAX = 1.03, 1.06
ERROR_MAX = 0.004
"""Standard error of a median that is good enough."""
WARM, ROUNDS = 1, 3
SESSIONS_MIN, SESSIONS_MAX = 5, 25
PATIENCE_S = 90.0
"""For one network, past `SESSIONS_MIN`."""
_PASSAGE = (
    "A network is cut in two: the head runs on the device, close to the sensor, and the tail runs in the cloud, where there is "
    "more to compute with. What crosses between them is a tensor, coded as small as the answer allows. When the link gets "
    "slower or the battery runs low, another place becomes the best one, and the cut moves there without a pause."
)


@dataclass(frozen=True)
class Crossing:
    """A cut of a network, with the ratio of each set of sessions."""

    network: str
    cut: str
    ratios: npt.NDArray[np.float64]

    @property
    def middle(self) -> float:
        """The median over the sets of sessions."""
        return float(np.median(self.ratios))


def measure(tell: Callable[[str], None], networks: Mapping[str, Save] = NETWORKS) -> list[Row]:
    """Median and worst cut of each network, then of all."""
    found: list[Crossing] = []
    rows: list[Row] = []
    for name, save in networks.items():
        try:
            crossings = _crossings(name, save, tell)
        except SplitInferError as error:
            rows.append(Row(f"{name}: {error}", float("nan"), "ratio", at_most(WORST_MAX), n=0))
            continue
        rows += _rows(f"{name}: CPU of head and tail", crossings, at_all=False)
        found += crossings
    return [*rows, *_rows("all networks: CPU of head and tail", found, at_all=True)]


def _rows(what: str, crossings: list[Crossing], at_all: bool) -> list[Row]:
    if not crossings:
        return [Row(f"{what}: the frontier has no inner cut", 1.0, "ratio", n=0)]
    middles = [crossing.middle for crossing in crossings]
    worst = max(crossings, key=lambda crossing: crossing.middle)
    goal = at_most(MEDIAN_MAX) if at_all else None
    median = float(np.median(middles))
    return [
        Row(f"{what}, median of the cuts", median, "ratio", goal, "the whole", median, len(middles), spread_of(middles)),
        Row(
            f"{what}, worst cut ({worst.network if at_all else worst.cut})",
            worst.middle,
            "ratio",
            at_most(WORST_MAX),
            "the whole",
            worst.middle,
            len(worst.ratios),
            spread_of(worst.ratios),
        ),
    ]


def _crossings(name: str, save: Save, tell: Callable[[str], None]) -> list[Crossing]:
    """Of each inner cut of the frontier."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build(save(Path(folder)), Path(folder, "built.bundle"))
        inner = bundle.model.cuts[1:-1]
        if not inner:
            return []
        inputs = minilm.tokens([_PASSAGE]) if name == MINILM.name else random_feeds(bundle.model)
        ratios = _ratios(bundle, inputs)
    crossings = [Crossing(name, cut.name, found) for cut, found in zip(inner, ratios, strict=True)]
    tell("  " + name + "".join(f", {crossing.cut} {crossing.middle:.3f}" for crossing in crossings))
    return crossings


def _ratios(bundle: Bundle, inputs: Tensors) -> npt.NDArray[np.float64]:
    """Of each inner cut (rows) with each set of sessions (columns)."""
    n = bundle.model.n
    chains = [((0, at), (at, n)) for at in range(1, n)]
    found: list[npt.NDArray[np.float64]] = []
    began_s = time.monotonic()
    while len(found) < SESSIONS_MAX:
        engine = OrtEngine(bundle)
        measured = islice(rounds(engine, engine.hold(0, inputs), chains), WARM, WARM + ROUNDS)
        found.append(np.median(list(measured), axis=0))
        late = time.monotonic() - began_s > PATIENCE_S
        if len(found) >= SESSIONS_MIN and (late or _error_of_medians(np.array(found)) <= ERROR_MAX):
            break
    return np.array(found).T


def _error_of_medians(values: npt.NDArray[np.float64]) -> float:
    """Largest standard error of a column's median: sigma * sqrt(pi / 2n), sigma that of normal values as widely spread."""
    sigmas = [(spread_of(column) or 0.0) / 1.2816 for column in values.T]
    return float(max(sigmas) * np.sqrt(np.pi / 2 / len(values)))
