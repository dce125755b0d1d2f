"""Topological orders of a graph. Each shows other cuts: a prefix of one is seldom a prefix of another.

Four are made: the file's own; the one that keeps few bytes alive, which finishes one branch before the next; depth first,
which follows the newest tensor; and breadth first. In each, a `Shape` stands directly behind the tensor that it looks at, so
that no large tensor stays alive for the sake of its dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from splitinfer.build.graph import Graph, Step

_LOOK_AHEAD = 64
"""Steps that are compared at a time where the rank of a step changes as others are done: all, in all but very wide graphs."""


def topological_orders(graph: Graph, names: Sequence[str] = ()) -> tuple[tuple[Step, ...], ...]:
    """The orders, without repetition.

    Args:
        graph: what is put in order.
        names: tensors that are to be reached first, one after the other, with nothing done that they do not need.
    """
    stage = _stages(graph, names)
    made = (_ordered(graph, stage), _few_bytes_alive(graph, stage), _ordered(graph, stage, -1), _ordered(graph, stage, 1))
    return tuple(dict.fromkeys(made))


def _stages(graph: Graph, names: Sequence[str]) -> Mapping[Step, int]:
    """For each step the first of the names that needs it."""
    stage = {step: len(names) for step in graph.steps}
    for at, name in reversed(list(enumerate(names))):
        wanted = {name}
        for step in reversed(graph.steps):
            if not wanted.isdisjoint(step.makes):
                wanted.update(step.reads)
                stage[step] = min(stage[step], at)
    return stage


class _Ready:
    """The steps whose tensors are all made, as others are done."""

    def __init__(self, graph: Graph) -> None:
        self._readers: dict[str, list[Step]] = {}
        self._missing: dict[Step, int] = {}
        inputs = set(graph.inputs)
        for step in graph.steps:
            self._missing[step] = len(set(step.reads) - inputs)
            for name in set(step.reads):
                self._readers.setdefault(name, []).append(step)
        self.first = [step for step in graph.steps if not self._missing[step]]

    def after(self, step: Step) -> list[Step]:
        """Those that a step makes ready."""
        fresh = []
        for name in step.makes:
            for reader in self._readers.get(name, ()):
                self._missing[reader] -= 1
                if not self._missing[reader]:
                    fresh.append(reader)
        return fresh


def _ordered(graph: Graph, stage: Mapping[Step, int], age: int = 0) -> tuple[Step, ...]:
    """By stage, but a Shape at once; then by the time at which steps got ready; then as in the file.

    Args:
        graph: what is put in order.
        stage: of each step.
        age: 1 = what was ready first comes first, -1 = what was ready last, 0 = that does not matter.
    """
    ready = _Ready(graph)
    place = {step: at for at, step in enumerate(graph.steps)}
    heap: list[tuple[tuple[int, int, int], Step]] = []
    order: list[Step] = []

    def push(steps: Sequence[Step]) -> None:
        for step in steps:
            first = -1 if step.node.op_type == "Shape" else stage[step]
            heappush(heap, ((first, age * len(order), place[step]), step))

    push(ready.first)
    while heap:
        _, step = heappop(heap)
        order.append(step)
        push(ready.after(step))
    return tuple(order)


def _few_bytes_alive(graph: Graph, stage: Mapping[Step, int]) -> tuple[Step, ...]:
    """Made greedily: of the steps that are ready, the one after which the fewest bytes are alive.

    Ties go to the step that reads the newest tensor, then to the one that comes first in the model.
    """
    ready = _Ready(graph)
    place = {step: at for at, step in enumerate(graph.steps)}
    sizes = {name: graph.nbytes(name) for step in graph.steps for name in (*step.reads, *step.makes)}
    left: dict[str, int] = {}
    for step in graph.steps:
        for name in set(step.reads):
            left[name] = left.get(name, 0) + 1
    made_at = dict.fromkeys(graph.inputs, -1)
    waiting = list(ready.first)
    order: list[Step] = []

    def rank(step: Step) -> tuple[int, ...]:
        looks = step.node.op_type == "Shape"
        growth = sum(sizes[name] for name in step.makes if left.get(name))
        growth -= sum(sizes[name] for name in set(step.reads) if left[name] == 1)
        newest = max(made_at[name] for name in step.reads)
        return (-1 if looks else stage[step], growth, -newest, place[step])

    ahead = _LOOK_AHEAD if len(set(stage.values())) == 1 else len(graph.steps)
    while waiting:
        step = min(waiting[-ahead:], key=rank)
        waiting.remove(step)
        made_at.update(dict.fromkeys(step.makes, len(order)))
        order.append(step)
        for name in set(step.reads):
            left[name] -= 1
        waiting += ready.after(step)
    return tuple(order)
