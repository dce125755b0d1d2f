"""Every place where a graph can be cut.

A boundary is a prefix of a topological order. What crosses there is its *live set*: the inputs and the tensors of the head
that the tail reads. Outputs of the model that the head has made do not cross, it returns them. Two prefixes with the same
live set are one boundary, namely the longer one, so that what hangs on the cut without leading to the tail (an early exit)
is done by the head.

An order is not unique: `orders` gives the one of the file and one that keeps few bytes alive. All cuts of a bundle come
from one order, because each head must contain the one before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from splitinfer.build.graph import Graph, Step, operations

_ACTIVATIONS = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "HardSigmoid",
        "HardSwish",
        "Elu",
        "Selu",
        "Gelu",
        "BatchNormalization",
    }
)
_FUSED_WITH_THEM = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add"})


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
    """

    position: int
    live: tuple[str, ...]
    nbytes: int
    lossless_bytes: int
    operations: int
    splits_fusion: bool = False
    why_not: str | None = None


@dataclass(frozen=True)
class Order:
    """A topological order of a graph and its boundaries, the first (nothing done) and the last (all done) included."""

    steps: tuple[Step, ...]
    boundaries: tuple[Boundary, ...]


def orders(graph: Graph, hidden: Collection[str] = ()) -> tuple[Order, ...]:
    """The orders worth looking at, each with its boundaries.

    Args:
        graph: what is cut.
        hidden: tensors of the preprocessing, at which nothing is cut.
    """
    given = graph.steps
    short = _few_bytes_alive(graph)
    return tuple(Order(steps, boundaries(graph, steps, hidden)) for steps in ((given,) if short == given else (given, short)))


def boundaries(graph: Graph, steps: Sequence[Step], hidden: Collection[str] = ()) -> tuple[Boundary, ...]:
    """The boundaries of one order, by position."""
    last_read = {name: at for at, step in enumerate(steps) for name in step.reads}
    readers = _readers(steps)
    live = {name for name in graph.inputs if name in last_read}
    done = 0
    found = {tuple(sorted(live)): _boundary(graph, 0, graph.inputs, 0)}
    for at, step in enumerate(steps[:-1]):
        done += operations(graph, step)
        live.update(name for name in step.makes if last_read.get(name, -1) > at)
        live.difference_update([name for name in step.reads if last_read[name] <= at])
        names = tuple(sorted(live))
        if names and (names not in found or found[names].position):
            fuses = any(_fuses(name, readers) for name in names)
            found[names] = _boundary(graph, at + 1, names, done, fuses, _objection(graph, names, hidden))
    end = _boundary(graph, len(steps), (), sum(operations(graph, step) for step in steps))
    return (*sorted(found.values(), key=lambda boundary: boundary.position), end)


def _boundary(
    graph: Graph, position: int, live: tuple[str, ...], operations: int, splits_fusion: bool = False, why_not: str | None = None
) -> Boundary:
    sizes = {name: graph.nbytes(name) for name in live}
    specs = {name: graph.spec(name) for name in live}
    lossless = sum(size for name, size in sizes.items() if (spec := specs[name]) is not None and spec.lossless_only)
    return Boundary(position, live, sum(sizes.values()), lossless, operations, splits_fusion, why_not)


def _objection(graph: Graph, names: Sequence[str], hidden: Collection[str]) -> str | None:
    if hidden and all(name in hidden for name in names):
        return "it lies inside the image preprocessing: cut 0, the image itself, is smaller"
    for name in names:
        if graph.spec(name) is None:
            return f"the type or shape of {name!r} is unknown, or no array can carry it"
        if 0 in (graph.shape(name) or ()):
            return f"{name!r} was empty on trial, and nothing empty crosses: give samples where it is not"
    return None


@dataclass(frozen=True, slots=True)
class _Ends:
    maker: Step | None
    readers: tuple[Step, ...]


def _readers(steps: Sequence[Step]) -> dict[str, _Ends]:
    makers = {name: step for step in steps for name in step.makes}
    users: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.reads:
            users.setdefault(name, []).append(step)
    return {name: _Ends(makers.get(name), tuple(users.get(name, ()))) for name in makers.keys() | users.keys()}


def _fuses(name: str, ends: Mapping[str, _Ends]) -> bool:
    """Whether the runtime computes the maker and the only reader of a tensor in one kernel."""
    maker, readers = ends[name].maker, ends[name].readers
    if maker is None or len(readers) != 1:
        return False
    if maker.node.op_type == "DequantizeLinear":
        return True
    return maker.node.op_type in _FUSED_WITH_THEM and readers[0].node.op_type in _ACTIVATIONS


def _few_bytes_alive(graph: Graph) -> tuple[Step, ...]:
    """A topological order made greedily: of the steps that are ready, the one after which the fewest bytes are alive.

    Ties go to the step that reads the newest tensor, then to the one that comes first in the model. So branches are finished
    one after the other, which shows cuts that an order made breadth first hides.
    """
    ends = _readers(graph.steps)
    left = {name: len(end.readers) for name, end in ends.items()}
    place = {id(step): at for at, step in enumerate(graph.steps)}
    missing = {id(step): len(set(step.reads) - set(graph.inputs)) for step in graph.steps}
    ready = [step for step in graph.steps if not missing[id(step)]]
    order: list[Step] = []
    made_at = dict.fromkeys(graph.inputs, -1)

    def rank(step: Step) -> tuple[int, int, int]:
        return _growth(graph, step, left), -max(made_at[name] for name in step.reads), place[id(step)]

    while ready:
        step = min(ready, key=rank)
        ready.remove(step)
        made_at.update(dict.fromkeys(step.makes, len(order)))
        order.append(step)
        for name in step.reads:
            left[name] -= 1
        for reader in [reader for name in step.makes if name in ends for reader in ends[name].readers]:
            missing[id(reader)] -= 1
            if not missing[id(reader)]:
                ready.append(reader)
    return tuple(order)


def _growth(graph: Graph, step: Step, left: Mapping[str, int]) -> int:
    """Bytes that a step adds to those alive (negative where it frees more than it makes)."""
    made = sum(graph.nbytes(name) for name in step.makes if left.get(name))
    freed = sum(graph.nbytes(name) for name in step.reads if left[name] == 1)
    return made - freed
