"""Why each boundary was kept, or why not: sentences with figures, for `inspect`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from splitinfer.build.boundaries import Boundary, Order
from splitinfer.build.crossing import ACTIVATIONS, FUSED_WITH_THEM
from splitinfer.build.cuts import Kept, cut_id, friendly
from splitinfer.build.frontier import CROSSING_SHARE_MAX, worth_keeping
from splitinfer.build.prices import DEPTH_FLOORS, GRID, Prices, crossing_share, depth, prices, sizes, undominated
from splitinfer.bundle import BoundaryEntry

FLOOR_GAIN_MIN = 0.01
"""What a boundary that was not kept must gain under a privacy floor to have that mentioned."""


def explain(kept: Kept, model_hash: str, image: bool = False) -> tuple[BoundaryEntry, ...]:
    """Every boundary of the order that the cuts come from, with the reason.

    Args:
        kept: the cuts.
        model_hash: `load.content_hash` of the model.
        image: whether cut 0 is an image, which media codecs make small.
    """
    order = kept.order
    whole, last = order.boundaries[-1].operations, order.boundaries[-1]
    why = _Frontier(kept, image).why if kept.frontier is not None else _as_asked
    positions = {boundary.position for boundary in kept.boundaries}
    return tuple(
        BoundaryEntry(
            id=cut_id(model_hash, boundary.live),
            name=friendly(boundary, end=boundary is last),
            position=boundary.position,
            nbytes=boundary.nbytes,
            depth=depth(boundary, whole),
            kept=boundary.position in positions,
            offered=boundary.why_not is None,
            why=_of_an_end(boundary) or boundary.why_not or why(boundary, boundary.position in positions),
        )
        for boundary in order.boundaries
    )


def _of_an_end(boundary: Boundary) -> str | None:
    if boundary.position == 0:
        return "the input crosses: all is done in the cloud"
    return None if boundary.live else "nothing crosses: all is done on the device"


def _as_asked(boundary: Boundary, kept: bool) -> str:
    return "asked for" if kept else "not asked for"


class _Frontier:
    """The reasons where the frontier chose: prices on its grid, under no privacy floor (row 0) and under each."""

    def __init__(self, kept: Kept, image: bool) -> None:
        every = kept.order.boundaries
        self._whole = every[-1].operations
        self._image = image
        self._fused = _fused(kept.order)
        self._kept = kept.boundaries
        good = (boundary for boundary in every[1:-1] if worth_keeping(boundary, self._whole))
        self._better = (*kept.boundaries[1:-1], *undominated(good, self._whole))
        self._spent = np.array([_spent(boundary) for boundary in self._better]).reshape(-1, 4)
        table = prices(kept.boundaries, self._whole, image)
        depths = np.array([[depth(boundary, self._whole)] for boundary in kept.boundaries])
        tables = np.array([np.where(depths >= floor, table, np.inf) for floor in DEPTH_FLOORS])
        self._fastest, self._least = tables.argmin(axis=1), tables.min(axis=1)

    def why(self, boundary: Boundary, kept: bool) -> str:
        """The reason for an inner boundary that can be offered."""
        return self._for_it(boundary) if kept else self._against_it(boundary)

    def _for_it(self, boundary: Boundary) -> str:
        wins = self._fastest == self._kept.index(boundary)
        floors = [floor for floor, row in zip(DEPTH_FLOORS, wins, strict=True) if row.any()]
        if not floors:
            return "never the fastest of the kept cuts: of use where the link changes on the way"
        where = wins[DEPTH_FLOORS.index(floors[0])]
        rates = [GRID[column].rate_bps for column in np.flatnonzero(where)]
        links = " to ".join(dict.fromkeys(map(_mbits, (min(rates), max(rates)))))
        if floors[0] == 0:
            return f"the fastest of the kept cuts on {_percent(float(where.mean()))} of the grid, at {links} Mbit/s"
        span = " to ".join(dict.fromkeys(f"{floor:g}" for floor in (floors[0], floors[-1])))
        return f"under a privacy floor of {span} the fastest of the kept cuts, at {links} Mbit/s"

    def _against_it(self, boundary: Boundary) -> str:
        if boundary.splits_fusion:
            made, read = next((self._fused[name] for name in boundary.live if name in self._fused), ("one node", "next one"))
            return f"the runtime computes {made} and {read} across it in one kernel: cut after the {read}"
        share = crossing_share(boundary, self._whole)
        if share > CROSSING_SHARE_MAX:
            allowed = _percent(CROSSING_SHARE_MAX)
            return f"handing over {_size(boundary.nbytes)} costs {_percent(share)} of the model's time, more than {allowed}"
        floors = sum(depth(boundary, self._whole) >= floor for floor in DEPTH_FLOORS)
        gains = self._least[:floors] / prices([boundary], self._whole, self._image) - 1
        return (self._dominated(boundary) or _gained(gains[0])) + _gained_under_floors(gains)

    def _dominated(self, boundary: Boundary) -> str | None:
        """Names a boundary worth keeping that costs less everywhere: a kept one if there is any."""
        cheaper = np.flatnonzero((self._spent <= _spent(boundary)).all(axis=1))
        better = next((self._better[at] for at in cheaper if self._better[at].position != boundary.position), None)
        if better is None:
            return None
        work = (boundary.operations - better.operations) / max(self._whole, 1)
        sent = boundary.nbytes - better.nbytes
        less = [f"computes {_percent(work)} of the model less"] if work else []
        less += [f"sends {_size(sent)} less" if sent else "sends as much"]
        return f"never the fastest: {friendly(better)!r} {' and '.join(less)}"


def _spent(boundary: Boundary) -> tuple[int, ...]:
    """What the price of a boundary grows with."""
    return boundary.operations, *sizes(boundary)


def _gained_under_floors(gains: Prices) -> str:
    """What a boundary would gain under privacy floors (rows), where that is more than without one, and not next to nothing."""
    best = gains.max(axis=1)
    at = int(best.argmax())
    if at == 0 or best[at] < FLOOR_GAIN_MIN:
        return ""
    return f"; under a privacy floor of {DEPTH_FLOORS[at]:g} up to {_percent(float(best[at]))} faster than the kept cuts"


def _gained(gains: Prices) -> str:
    """The place on the grid at which a boundary would gain most over the kept cuts."""
    at = int(gains.argmax())
    if gains[at] <= 0:
        return "nowhere faster than the kept cuts"
    point = GRID[at]
    cloud = f", with the cloud {point.load:g}x slower too" if point.load > 1 else ""
    where = f"at {_mbits(point.rate_bps)} Mbit/s on a device {point.slowness:g}x slower{cloud}"
    return f"at most {_percent(float(gains[at]))} faster than the kept cuts, {where}"


def _fused(order: Order) -> Mapping[str, tuple[str, str]]:
    """For each tensor inside a kernel the operators of the node that makes it and of the one that reads it."""
    readers: dict[str, list[str]] = {}
    for step in order.steps:
        for name in step.reads:
            readers.setdefault(name, []).append(step.node.op_type)
    return {
        name: (step.node.op_type, readers[name][0])
        for step in order.steps
        for name in step.makes
        if step.node.op_type in FUSED_WITH_THEM and len(readers.get(name, ())) == 1 and readers[name][0] in ACTIVATIONS
    }


def _percent(share: float) -> str:
    if share < 0.001:
        return "less than 0.1 %"
    return f"{share * 100:.2g} %" if share < 0.995 else f"{share * 100:.0f} %"


def _mbits(rate_bps: float) -> str:
    return f"{rate_bps / 1e6:.2g}" if rate_bps < 99.5e6 else f"{rate_bps / 1e6:.0f}"


def _size(nbytes: int) -> str:
    for unit, one in (("MB", 1e6), ("KB", 1e3)):
        if nbytes >= one:
            return f"{nbytes / one:.3g} {unit}"
    return f"{nbytes} B"
