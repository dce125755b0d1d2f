"""The few boundaries that are worth keeping.

Every boundary is priced on a grid (`prices`). The first aim: with the kept ones, the latency is at most `LOSS_MEAN_MAX` above
that with all boundaries of all orders, as a mean over the grid, and nowhere more than `LOSS_WORST_MAX`. That takes few cuts.
The second aim fills what is left of them: to lose little under each privacy floor too, where the fastest cuts may not be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from splitinfer.build.boundaries import Boundary, Order
from splitinfer.build.prices import DEPTH_FLOORS, GRID, Prices, crossing_share, depth, prices, undominated

CROSSING_SHARE_MAX = 0.06
"""A boundary whose crossing costs more than this share of the whole model is not kept: head and tail would cost too much."""
LOSS_MEAN_MAX, LOSS_WORST_MAX = 0.01, 0.05
"""What may be lost over the grid, without privacy floors."""
GAIN_MIN = 0.01
"""Past the first aim, a cut that gains less than this share of the latency is not kept: going segment by segment, a device pays
as much for it."""

_EXCESS_MIN = 1e-4
"""A cut that brings the first aim nearer by less does not serve it."""

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frontier:
    """The kept boundaries, with the first and the last.

    Attributes:
        boundaries: by position.
        loss_mean: latency lost against having all boundaries of all orders (a share); mean over the grid, no privacy floors.
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
    least = np.minimum.reduce([_least(order, image) for order in orders])
    found = [_keep(order, least, keep, image) for order in orders]
    at = min(range(len(orders)), key=lambda i: (found[i][0], i))
    return orders[at], found[at][1]


def worth_keeping(boundary: Boundary, whole: int) -> bool:
    """Whether a boundary may be on the frontier: it can be offered, splits no kernel, and crossing is cheap beside the model.

    Args:
        boundary: an inner one.
        whole: operations of the whole model.
    """
    if boundary.why_not is not None or boundary.splits_fusion:
        return False
    return crossing_share(boundary, whole) <= CROSSING_SHARE_MAX


def _whole(order: Order) -> int:
    return order.boundaries[-1].operations


def _least(order: Order, image: bool) -> Prices:
    """The least price under each privacy floor (rows) at each point of the grid (columns)."""
    whole = _whole(order)
    boundaries = undominated(order.boundaries, whole)
    table = prices(boundaries, whole, image)
    depths = np.array([depth(boundary, whole) for boundary in boundaries])
    return np.array([table[depths >= floor].min(axis=0) for floor in DEPTH_FLOORS])


def _candidates(order: Order, image: bool) -> list[Boundary]:
    """Both ends, then the inner ones that somewhere on the grid, under some floor, are the fastest of those worth keeping."""
    whole, (first, *between, last) = _whole(order), order.boundaries
    inner = undominated((boundary for boundary in between if worth_keeping(boundary, whole)), whole)
    rows = [first, last, *inner]
    table = prices(rows, whole, image)
    depths = np.array([depth(boundary, whole) for boundary in rows])
    winners: set[int] = set()
    for floor in DEPTH_FLOORS:
        winners.update(np.where(depths[:, None] >= floor, table, np.inf).argmin(axis=0).tolist())
    return [first, last, *(rows[i] for i in sorted(winners - {0, 1}))]


def _losses(boundaries: Sequence[Boundary], least: Prices, whole: int, image: bool) -> Losses:
    """What each boundary alone loses (rows), at each point under each floor (columns; without a floor first)."""
    table = prices(boundaries, whole, image)
    depths = np.array([[depth(boundary, whole)] for boundary in boundaries])
    return np.hstack(
        [np.where(depths >= floor, table / row - 1, np.inf) for floor, row in zip(DEPTH_FLOORS, least, strict=True)]
    )


Score = tuple[float, float]
"""How far the first aim is missed, and the mean loss over the grid and all floors. Less is better."""


def _keep(order: Order, least: Prices, keep: int, image: bool) -> tuple[Score, Frontier]:
    """Greedy choice, then exchanges as long as one helps. The score falls with every step, so this ends."""
    boundaries = _candidates(order, image)
    losses = _losses(boundaries, least, _whole(order), image)
    chosen: list[int] = []
    now = _score(losses[[0, 1]].min(axis=0))
    while len(chosen) < min(keep, len(boundaries) - 2):
        at, after = _best_addition(losses, chosen)
        if now[0] - after[0] < _EXCESS_MIN and now[1] - after[1] < GAIN_MIN:
            break
        chosen, now = [*chosen, at], after
    place = 0
    while place < len(chosen):
        others = chosen[:place] + chosen[place + 1 :]
        at, after = _best_addition(losses, others)
        better = after[0] < now[0] - _EXCESS_MIN or (after[0] <= now[0] and after[1] < now[1] - 1e-9)
        chosen, now, place = ([*others, at], after, 0) if better else (chosen, now, place + 1)
    lost = losses[[0, 1, *chosen]].min(axis=0)[: len(GRID)]
    kept = sorted((boundaries[i] for i in (0, 1, *chosen)), key=lambda boundary: boundary.position)
    return now, Frontier(tuple(kept), float(lost.mean()), float(lost.max()))


def _best_addition(losses: Losses, chosen: Sequence[int]) -> tuple[int, Score]:
    """The inner candidate that lowers the score most beside those that are chosen already."""
    have = losses[[0, 1, *chosen]].min(axis=0)
    scores = [_score(np.minimum(row, have)) for row in losses[2:]]
    at = min(range(len(scores)), key=lambda i: (scores[i], i))
    return at + 2, scores[at]


def _score(lost: Losses) -> Score:
    free = lost[: len(GRID)]
    missed = max(0.0, float(free.mean()) - LOSS_MEAN_MAX) + max(0.0, float(free.max()) - LOSS_WORST_MAX)
    return missed, float(lost.mean())
