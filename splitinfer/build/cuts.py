"""Which boundaries become the cuts of a bundle: the frontier, all of them, or those that somebody named."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from splitinfer.build.boundaries import Boundary, Order, through
from splitinfer.build.frontier import Frontier, choose
from splitinfer.build.graph import Graph
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


def everything(orders: Sequence[Order], max_cuts: int = 6, image: bool = False) -> Kept:
    """Every boundary that can be offered, of the order that the frontier would come from."""
    order, _ = choose(orders, max_cuts, image)
    return Kept(order, tuple(boundary for boundary in order.boundaries if boundary.why_not is None))


def named(orders: Sequence[Order], names: Sequence[str], model_hash: str, hidden: Collection[str] = ()) -> Kept:
    """The boundaries that somebody named by tensor, node, id or friendly name.

    A tensor is reached with nothing done that it does not need, where that is possible; of several ways to cut there, the one
    with the fewest bytes is taken.

    Args:
        orders: of the graph.
        names: where to cut.
        model_hash: `load.content_hash` of the model.
        hidden: tensors of the preprocessing, at which nothing is cut.

    Raises:
        InvalidCut: there is no such place, or it cannot be cut there.
    """
    graph = orders[0].graph
    tensors = _tensors(graph, names)
    ways = []
    objections: list[str] = []
    for order in (*orders, *(through(graph, tensors, hidden) if tensors else ())):
        found = [_find(order, name, model_hash) for name in names]
        places = {boundary.position: boundary for boundary in found if boundary is not None}
        if None in found:
            continue
        wrong = [f"cannot cut at {name!r}: {b.why_not}" for name, b in zip(names, found, strict=True) if b and b.why_not]
        objections += wrong
        if not wrong:
            inner = [places[position] for position in sorted(places)]
            ways.append(Kept(order, (order.boundaries[0], *inner, order.boundaries[-1])))
    if ways:
        return min(ways, key=lambda kept: sum(boundary.nbytes for boundary in kept.boundaries))
    raise InvalidCut(objections[0] if objections else _not_found(orders, names, model_hash))


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


def _tensors(graph: Graph, names: Sequence[str]) -> tuple[str, ...]:
    """What some names stand for, in the graph's order."""
    wanted = {_tensor(graph, name) for name in names}
    return tuple(name for step in graph.steps for name in step.makes if name in wanted)


def _tensor(graph: Graph, name: str) -> str | None:
    """The tensor that a name of a tensor or node stands for; where that is recomputed, what it is recomputed from."""
    for step in graph.steps:
        if name in step.makes or name == step.node.name:
            return name if name in step.makes else step.makes[0]
    for step in graph.recomputed:
        if step.reads and name in (step.node.name, *step.makes):
            return step.reads[0]
    return None


def _find(order: Order, name: str, model_hash: str) -> Boundary | None:
    for boundary in order.boundaries[1:-1]:
        if name in (friendly(boundary), cut_id(model_hash, boundary.live)):
            return boundary
    tensor = _tensor(order.graph, name)
    made_at = next((at for at, step in enumerate(order.steps) if tensor in step.makes), None)
    if made_at is None:
        return None
    return next((boundary for boundary in order.boundaries[1:-1] if boundary.position > made_at), None)


def _not_found(orders: Sequence[Order], names: Sequence[str], model_hash: str) -> str:
    lost = [name for name in names if all(_find(order, name, model_hash) is None for order in orders)]
    if not lost:
        return f"the cuts {list(names)} do not follow each other in any order of the graph: choose fewer"
    known = [word for step in orders[0].steps for word in (*step.makes, step.node.name)]
    if lost[0] in (*known, *orders[0].graph.inputs):
        return f"before or behind {lost[0]!r} nothing is left to do: that is the first or the last cut, which are always there"
    close = get_close_matches(lost[0], known, n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ": name a tensor, a node, or the id of a cut"
    return f"there is no place {lost[0]!r} to cut at{hint}"
