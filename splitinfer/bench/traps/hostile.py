"""Small files that take a process down: they must be refused before or without that."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    INT64,
    FunctionProto,
    ModelProto,
    NodeProto,
    constant,
    graph,
    node,
    row_net,
    value,
)
from splitinfer.bench.traps.trap import refused


def functions_without_end() -> ModelProto:
    """Thirty functions, each of which calls the next one twice: a billion nodes once they are opened."""
    model = row_net([node("F0", "x", "y", domain="ours")], ours=1)
    for at in range(30):
        calls = [node(f"F{at + 1}", "v", "t", domain="ours"), node(f"F{at + 1}", "t", "out", domain="ours")]
        model.functions.append(_function(f"F{at}", calls))
    model.functions.append(_function("F30", [node("Neg", "v", "out")]))
    return model


def bomb_of_a_fill() -> ModelProto:
    """A ConstantOfShape of four terabytes."""
    nodes = [
        node("ConstantOfShape", "sizes", "huge", name="bomb"),
        node("ReduceSum", "huge", "sum", keepdims=0),
        node("Add", "x sum", "y"),
    ]
    return row_net(nodes, [constant("sizes", [1 << 20, 1 << 20])])


def bomb_of_an_expand() -> ModelProto:
    """An Expand of the input to four terabytes."""
    nodes = [node("Unsqueeze", "x first", "row"), node("Expand", "row sizes", "huge", name="bomb")]
    return row_net(
        [*nodes, node("ReduceSum", "huge first", "y", keepdims=0)], [constant("first", [0]), constant("sizes", [1 << 37, 1, 8])]
    )


def bomb_of_doublings() -> ModelProto:
    """Forty Concats, each of which doubles what came before."""
    sums = [f"t{at}" for at in range(40)]
    nodes = [node("Concat", [a, a], [b], axis=1) for a, b in zip(["x", *sums[:-1]], sums, strict=True)]
    return row_net([*nodes, node("ReduceSum", "t39 last", "s"), node("Add", "x s", "y")], [constant("last", [1])])


def endless_loop() -> ModelProto:
    """A Loop that nothing stops."""
    body = graph(
        "body",
        [node("Add", "v one", "next"), node("Identity", "go", "still")],
        [value("i", "", INT64), value("go", "", BOOL), value("v", None)],
        [value("still", "", BOOL), value("next", None)],
    )
    weights = [constant("one", np.float32(1)), constant("times", np.int64(2**62)), constant("on", np.bool_(True))]
    return row_net([node("Loop", "times on x", "y", name="for_ever", body=body)], weights)


def _function(name: str, nodes: list[NodeProto]) -> FunctionProto:
    from onnx import helper

    return helper.make_function(
        "ours", name, ["v"], ["out"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    )


TRAPS = (
    refused(functions_without_end, "F", "function", hostile=True),
    refused(bomb_of_a_fill, "bomb", hostile=True),
    refused(bomb_of_an_expand, "bomb", hostile=True),
    refused(bomb_of_doublings, "Concat", hostile=True),
    refused(endless_loop, "for_ever", hostile=True),
)
