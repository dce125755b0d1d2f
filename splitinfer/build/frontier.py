"""The few boundaries that are worth keeping.

Every boundary is priced on a grid of links, devices, codecs and privacy floors; those are kept that lose least against
having all of them. It is pure arithmetic on the graph: no clock and no measurement, so that building twice keeps the same
cuts.

The price of boundary b at uplink rate r, on a device s times slower than the machine that the constants below describe, with a
codec that leaves the share c of float tensors::

    head(b) * s + coded bytes(b, c) * 8 / r + tail(b) + crossing(b)     head + tail = the model's operations * MS_PER_OPERATION

and infinite where something would cross before the privacy floor. The round trip is left out: it is the same for all
boundaries at which something crosses, and leaving it out never hides a cut that is worth having.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from splitinfer.build.boundaries import Boundary, Order

MS_PER_OPERATION = 9.0 / 390e6
"""EfficientNet-Lite0, 390 million multiply-adds, takes about 9 ms of one server core."""
CROSSING_MS_PER_BYTE = 0.25e-6
"""What handing over costs both sides: leaving the runtime's layout and copying; measured 0.2 to 0.3 ms a megabyte."""
CROSSING_SHARE_MAX = 0.05
"""A boundary whose crossing costs more than this share of the whole model is not kept: head and tail would cost too much."""
GAIN_MIN = 0.01
"""A cut that gains less than this share of the latency is not kept: going segment by segment, a device pays as much for it."""
RATES_BPS = tuple(float(rate) for rate in np.geomspace(0.1e6, 500e6, 12))
SLOWNESS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
CODED_SHARES = (0.5, 0.2, 0.1)
"""Half precision; eight bits, and four bits, with a byte compressor: as measured on feature maps of EfficientNet-Lite0."""
IMAGE_SHARE = 0.12
"""JPEG at quality 90, of the uint8 image."""
DEPTH_FLOORS = tuple(tenth / 10 for tenth in range(10))

Prices = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frontier:
    """The kept boundaries, with the first and the last.

    Attributes:
        boundaries: by position.
        loss_mean: latency lost against having all boundaries, mean over the grid (a share).
        loss_worst: the same, at the worst point.
    """

    boundaries: tuple[Boundary, ...]
    loss_mean: float
    loss_worst: float


def choose(orders: Sequence[Order], keep: int, image: bool = False) -> tuple[Order, Frontier]:
    """Keeps at most `keep` inner boundaries of the order that loses least.

    Args:
        orders: candidates; the loss is against all boundaries of all of them.
        keep: inner boundaries.
        image: whether cut 0 is an image, which media codecs make small.
    """
    tables = [prices(order.boundaries, image) for order in orders]
    best = np.minimum.reduce([table.min(axis=0) for table in tables])
    frontiers = [_keep(order.boundaries, table, best, keep) for order, table in zip(orders, tables, strict=True)]
    at = min(range(len(orders)), key=lambda i: (frontiers[i].loss_mean, i))
    return orders[at], frontiers[at]


def prices(boundaries: Sequence[Boundary], image: bool = False) -> Prices:
    """Milliseconds of each boundary (rows) at each point of the grid (columns); infinite where it cannot be used."""
    rate, slow, share, floor = np.array(list(product(RATES_BPS, SLOWNESS, CODED_SHARES, DEPTH_FLOORS))).T
    whole = boundaries[-1].operations
    head = np.array([[b.operations] for b in boundaries], dtype=float)
    fixed = np.array([[b.lossless_bytes] for b in boundaries], dtype=float)
    coded = np.array([[b.nbytes - b.lossless_bytes] for b in boundaries]) * share + fixed
    if image:
        coded[0] = boundaries[0].nbytes * IMAGE_SHARE
    crossing_ms = np.array([[b.nbytes * CROSSING_MS_PER_BYTE] for b in boundaries])
    table: Prices = (head * slow + (whole - head)) * MS_PER_OPERATION + coded * 8e3 / rate + crossing_ms
    table[[b.why_not is not None for b in boundaries]] = np.inf
    table[head < floor * whole] = np.inf
    return table


def worth_keeping(boundary: Boundary, whole: int) -> bool:
    """Whether a boundary may be on the frontier: it can be offered, splits no kernel, and crossing is cheap beside the model.

    Args:
        boundary: an inner one.
        whole: operations of the whole model.
    """
    if boundary.why_not is not None or boundary.splits_fusion:
        return False
    return boundary.nbytes * CROSSING_MS_PER_BYTE <= CROSSING_SHARE_MAX * whole * MS_PER_OPERATION


def _keep(boundaries: Sequence[Boundary], table: Prices, best: npt.NDArray[np.float64], keep: int) -> Frontier:
    """Greedy choice, then exchanges as long as one helps. The loss falls with every step, so this ends."""
    whole = boundaries[-1].operations
    inner = [i for i in range(1, len(boundaries) - 1) if worth_keeping(boundaries[i], whole)]
    ends = [0, len(boundaries) - 1]
    relative = table / best
    chosen: list[int] = []
    while inner and len(chosen) < min(keep, len(inner)):
        at = _best_addition(relative, [*ends, *chosen], inner)
        if _loss(relative, [*ends, *chosen]) - _loss(relative, [*ends, *chosen, at]) < GAIN_MIN:
            break
        chosen.append(at)
    place = 0
    while place < len(chosen):
        others = chosen[:place] + chosen[place + 1 :]
        at = _best_addition(relative, [*ends, *others], inner)
        better = _loss(relative, [*ends, *others, at]) < _loss(relative, [*ends, *chosen]) - 1e-9
        chosen, place = ([*others, at], 0) if better else (chosen, place + 1)
    lost = relative[[*ends, *chosen]].min(axis=0) - 1
    return Frontier(tuple(boundaries[i] for i in sorted([*ends, *chosen])), float(lost.mean()), float(lost.max()))


def _loss(relative: Prices, rows: Sequence[int]) -> float:
    return float(relative[list(rows)].min(axis=0).mean())


def _best_addition(relative: Prices, rows: Sequence[int], candidates: Sequence[int]) -> int:
    have = relative[list(rows)].min(axis=0)
    losses = np.minimum(relative[list(candidates)], have).mean(axis=1)
    return candidates[int(losses.argmin())]
