"""What crossing a cut costs both sides: CPU time of head and tail over that of the whole, at the cuts of the frontier.

One thread. Head and tail run between two runs of the whole, for rounds until the median of the ratios is known well enough.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
ERROR_MAX = 0.003
"""Standard error of a median that is good enough."""
WARM, ROUNDS_MIN, ROUNDS_MAX = 1, 10, 100
PATIENCE_S = 40.0
_PASSAGE = (
    "A network is cut in two: the head runs on the device, close to the sensor, and the tail runs in the cloud, where there is "
    "more to compute with. What crosses between them is a tensor, coded as small as the answer allows. When the link gets "
    "slower or the battery runs low, another place becomes the best one, and the cut moves there without a pause."
)


@dataclass(frozen=True)
class Crossing:
    """A cut of a network, with the ratio of each round."""

    network: str
    cut: str
    ratios: npt.NDArray[np.float64]

    @property
    def middle(self) -> float:
        """The median of the rounds."""
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
    """Of each inner cut, with an engine of its own: all heads and tails together would hold the weights many times."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build(save(Path(folder)), Path(folder, "built.bundle"))
        inputs = minilm.tokens([_PASSAGE]) if name == MINILM.name else random_feeds(bundle.model)
        crossings = []
        for cut in bundle.model.cuts[1:-1]:
            crossings.append(Crossing(name, cut.name, _ratios(bundle, cut.index, inputs)))
            tell(f"  {name}, cut {cut.index} ({cut.name}): {crossings[-1].middle:.3f}")
        return crossings


def _ratios(bundle: Bundle, at: int, inputs: Tensors) -> npt.NDArray[np.float64]:
    """Until their median is known to `ERROR_MAX`, or until enough is enough."""
    engine = OrtEngine(bundle)
    ratios: list[float] = []
    began_s = time.monotonic()
    for number, (ratio,) in enumerate(rounds(engine, engine.hold(0, inputs), [((0, at), (at, bundle.model.n))])):
        if number >= WARM:
            ratios.append(float(ratio))
        late = time.monotonic() - began_s > PATIENCE_S or len(ratios) >= ROUNDS_MAX
        if len(ratios) >= ROUNDS_MIN and (late or _error_of_median(ratios) <= ERROR_MAX):
            break
    return np.array(ratios)


def _error_of_median(values: list[float]) -> float:
    """Its standard error: sigma * sqrt(pi / 2n), where sigma is that of normal values with the same middle 80 %."""
    return float((spread_of(values) or 0.0) / 1.2816 * np.sqrt(np.pi / 2 / len(values)))
