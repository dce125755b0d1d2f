"""Every place where a graph can be cut.

A boundary is a prefix of a topological order. What crosses there is its *live set*: the inputs and the tensors of the head
that the tail reads. Outputs of the model that the head has made do not cross, it returns them. Two prefixes with the same
live set are one boundary, namely the longer one, so that what hangs on the cut without leading to the tail (an early exit)
is done by the head.

An order is not unique (`order`), and all cuts of a bundle come from one, because each head must contain the one before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from splitinfer.build.crossing import Crossing, crossings
from splitinfer.build.graph import Graph, Step, operations
from splitinfer.build.order import topological_orders


@dataclass(frozen=True, slots=True)
class Boundary:
    """A place where the graph can be cut.

    Attributes:
        position: the first `position` steps of the order are the head.
        live: names of the tensors that cross, sorted; at position 0 the inputs, in the model's order; at the end nothing.
        nbytes: of the plain tensors at batch 1.
        lossless_bytes: the share of them that no codec may change (integers).
        operations: multiply-adds of the head at batch 1.
        splits_fusion: the runtime would compute across it in one kernel (Conv and Relu, say), so a neighbour is as good and
            cheaper.
        why_not: why it cannot be offered; None where it can.
        packed_bytes: what a byte compressor leaves of the lossless bytes; None = all.
    """

    position: int
    live: tuple[str, ...]
    nbytes: int
    lossless_bytes: int
    operations: int
    splits_fusion: bool = False
    why_not: str | None = None
    packed_bytes: int | None = None


@dataclass(frozen=True)
class Order:
    """A topological order of a graph and its boundaries, the first (nothing done) and the last (all done) included."""

    graph: Graph
    steps: tuple[Step, ...]
    boundaries: tuple[Boundary, ...]

    def without(self, wrong: Mapping[tuple[str, ...], str]) -> Order:
        """The same, where some live sets cannot be cut at, each for a reason."""
        changed = (replace(b, why_not=wrong[b.live]) if b.live in wrong else b for b in self.boundaries)
        return replace(self, boundaries=tuple(changed))


def orders(graph: Graph, hidden: Collection[str] = ()) -> tuple[Order, ...]:
    """The orders worth looking at, each with its boundaries.

    Args:
        graph: what is cut.
        hidden: tensors of the preprocessing, at which nothing is cut.
    """
    with_shapes = graph.with_shapes_recomputed()
    found = []
    for variant in (graph,) if with_shapes is None else (graph, with_shapes):
        tensors = crossings(variant, hidden)
        found += [Order(variant, steps, boundaries(variant, steps, tensors)) for steps in topological_orders(variant)]
    return tuple(found)


def through(graph: Graph, names: Sequence[str], hidden: Collection[str] = ()) -> tuple[Order, ...]:
    """Orders that finish everything each of some tensors needs, in turn, before anything else is begun.

    Args:
        graph: what is cut.
        names: tensors of the graph, in the order in which they are to be reached.
        hidden: as above.
    """
    tensors = crossings(graph, hidden)
    return tuple(Order(graph, steps, boundaries(graph, steps, tensors)) for steps in topological_orders(graph, names))


def boundaries(graph: Graph, steps: Sequence[Step], tensors: Mapping[str, Crossing]) -> tuple[Boundary, ...]:
    """The boundaries of one order, by position."""
    last_read = {name: at for at, step in enumerate(steps) for name in step.reads}
    live = {name for name in graph.inputs if name in last_read}
    done = 0
    found = {tuple(sorted(live)): _boundary(0, graph.inputs, 0, tensors)}
    for at, step in enumerate(steps[:-1]):
        done += operations(graph, step)
        live.update(name for name in step.makes if last_read.get(name, -1) > at)
        live.difference_update([name for name in step.reads if last_read[name] <= at])
        names = tuple(sorted(live))
        if names and (names not in found or found[names].position):
            found[names] = _boundary(at + 1, names, done, tensors)
    end = Boundary(len(steps), (), 0, 0, sum(operations(graph, step) for step in steps))
    return (*sorted(found.values(), key=lambda boundary: boundary.position), end)


def _boundary(position: int, live: tuple[str, ...], done: int, tensors: Mapping[str, Crossing]) -> Boundary:
    crossing = [tensors[name] for name in live]
    return Boundary(
        position,
        live,
        nbytes=sum(tensor.nbytes for tensor in crossing),
        lossless_bytes=sum(tensor.nbytes for tensor in crossing if tensor.lossless),
        operations=done,
        splits_fusion=position > 0 and any(tensor.splits_fusion for tensor in crossing),
        why_not=_objection(crossing) if position else None,
        packed_bytes=sum(tensor.packed_bytes for tensor in crossing),
    )


def _objection(crossing: Sequence[Crossing]) -> str | None:
    if all(tensor.hidden for tensor in crossing):
        return "it lies inside the image preprocessing: cut 0, the image itself, is smaller"
    return next((tensor.why_not for tensor in crossing if tensor.why_not is not None), None)
