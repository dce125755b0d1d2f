"""Which boundaries become the cuts of a bundle: the frontier, all of them, or those that somebody named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from splitinfer.build.boundaries import Boundary, Order
from splitinfer.build.frontier import Frontier, choose
from splitinfer.errors import InvalidCut


@dataclass(frozen=True)
class Kept:
    """The cuts of a bundle to be.

    Attributes:
        order: that they come from.
        boundaries: by position, the first and the last included.
        frontier: how they were chosen; None where somebody else chose.
    """

    order: Order
    boundaries: tuple[Boundary, ...]
    frontier: Frontier | None = None


def frontier(orders: Sequence[Order], max_cuts: int, image: bool) -> Kept:
    """The few that lose least."""
    order, chosen = choose(orders, max_cuts, image)
    return Kept(order, chosen.boundaries, chosen)


def everything(orders: Sequence[Order]) -> Kept:
    """Every boundary that can be offered, of the order that has most of them."""

    def valid(order: Order) -> tuple[Boundary, ...]:
        return tuple(boundary for boundary in order.boundaries if boundary.why_not is None)

    order = max(orders, key=lambda order: len(valid(order)))
    return Kept(order, valid(order))


def named(orders: Sequence[Order], names: Sequence[str], model_hash: str) -> Kept:
    """The boundaries that somebody named by tensor, node, id or friendly name.

    Raises:
        InvalidCut: there is no such place, or it cannot be cut there.
    """
    for order in orders:
        found = [_find(order, name, model_hash) for name in names]
        inner = {boundary.position: boundary for boundary in found if boundary is not None}
        if None in found:
            continue
        for name, boundary in zip(names, found, strict=True):
            if boundary is not None and boundary.why_not is not None:
                raise InvalidCut(f"cannot cut at {name!r}: {boundary.why_not}")
        ends = {at: order.boundaries[at] for at in (0, -1)}
        chosen = {boundary.position: boundary for boundary in (*ends.values(), *inner.values())}
        return Kept(order, tuple(chosen[position] for position in sorted(chosen)))
    raise InvalidCut(_not_found(orders, names, model_hash))


def friendly(boundary: Boundary, end: bool = False) -> str:
    """A name for people, which `named` finds again."""
    return "end" if end else "+".join(boundary.live)


def cut_id(model_hash: str, live: Sequence[str]) -> str:
    """12 hex digits that name a place in a model, whatever else is cut.

    Args:
        model_hash: `load.content_hash` of the model.
        live: names of the tensors that cross.
    """
    return hashlib.sha256("\0".join([model_hash, *sorted(live)]).encode()).hexdigest()[:12]


def _find(order: Order, name: str, model_hash: str) -> Boundary | None:
    for boundary in order.boundaries[1:-1]:
        if name in (friendly(boundary), cut_id(model_hash, boundary.live)):
            return boundary
    for at, step in enumerate(order.steps):
        if name in (step.node.name, *step.makes):
            after = (boundary for boundary in order.boundaries[1:-1] if boundary.position > at)
            return next(after, None)
    return None


def _not_found(orders: Sequence[Order], names: Sequence[str], model_hash: str) -> str:
    lost = [name for name in names if all(_find(order, name, model_hash) is None for order in orders)]
    if not lost:
        return f"the cuts {list(names)} do not follow each other in any order of the graph: choose fewer"
    known = [word for step in orders[0].steps for word in (*step.makes, step.node.name)]
    close = get_close_matches(lost[0], known, n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ": name a tensor, a node, or the id of a cut"
    return f"there is no place {lost[0]!r} to cut at{hint}"
