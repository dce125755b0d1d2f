"""Names for tensors that did not exist before. Knows which are taken, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import onnx

from splitinfer.build.nodes import bodies


def declared(graph: onnx.GraphProto) -> Iterator[Any]:
    """All that has a name in a graph and is no node: inputs, outputs, descriptions of values, weights."""
    sparse = (weight.values for weight in graph.sparse_initializer)
    return chain(graph.input, graph.output, graph.value_info, graph.initializer, sparse)


class Names:
    """The names of the tensors of a graph and of the bodies in it.

    Args:
        graph: the main graph.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken: set[str] = set()
        self._learn(graph)

    def fresh(self, wanted: str) -> str:
        """`wanted` where it is free, else with a number; taken from now on."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def _learn(self, graph: onnx.GraphProto) -> None:
        self._taken.update(one.name for one in declared(graph))
        for node in graph.node:
            self._taken.update(node.output)
            for body in bodies(node):
                self._learn(body)
