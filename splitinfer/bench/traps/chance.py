"""Networks that answer by chance, or as the batch has it: no halves give the answer of the whole."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    branch,
    constant,
    image_net,
    node,
    row_net,
)
from splitinfer.bench.traps.trap import refused


def random_numbers() -> ModelProto:
    """A node draws random numbers."""
    return row_net([node("RandomNormalLike", "x", "r", name="noise"), node("Add", "x r", "y")])


def random_with_seed() -> ModelProto:
    """A node draws random numbers from a seed: the next run draws others."""
    return row_net([node("RandomUniformLike", "x", "r", name="noise", seed=3.0), node("Add", "x r", "y")])


def random_in_branch() -> ModelProto:
    """A node in a branch of a branch draws random numbers."""
    inner = node("If", "on", "t2", then_branch=_drawing(), else_branch=branch([node("Neg", "x", "e1")]))
    outer = node("If", "on", "y", then_branch=branch([inner]), else_branch=branch([node("Exp", "x", "e2")]))
    return row_net([node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "on", to=BOOL), outer])


def random_in_function() -> ModelProto:
    """A node in a function that a function calls draws random numbers."""
    model = row_net([node("Outer", "x", "y", domain="ours")], ours=1)
    inner = _function("Inner", [node("Bernoulli", "v", "t", name="coin"), node("Mul", "v t", "out")])
    model.functions.extend([_function("Outer", [node("Inner", "v", "out", domain="ours")]), inner])
    return model


def dropout_in_training() -> ModelProto:
    """A Dropout with its training mode on."""
    weights = [constant("ratio", np.float32(0.5)), constant("on", np.bool_(True))]
    return row_net([node("Dropout", "x ratio on", "y", name="drop")], weights)


def normalisation_in_training() -> ModelProto:
    """A BatchNormalization in training mode: the runtime changes its weights in every run, and so the next answer."""
    nodes = [node("BatchNormalization", "b s s s s", "m mean var", name="norm", training_mode=1)]
    return image_net(nodes, [constant("s", np.ones(8, np.float32))])


def _drawing() -> GraphProto:
    return branch([node("RandomUniformLike", "x", "t1", name="noise")])


def _function(name: str, nodes: list[NodeProto]) -> FunctionProto:
    from onnx import helper

    return helper.make_function(
        "ours", name, ["v"], ["out"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    )


TRAPS = (
    refused(random_numbers, "RandomNormalLike", "noise"),
    refused(random_with_seed, "RandomUniformLike", "noise"),
    refused(random_in_branch, "RandomUniformLike", "noise"),
    refused(random_in_function, "Bernoulli", "coin"),
    refused(dropout_in_training, "Dropout", "drop"),
    refused(normalisation_in_training, "BatchNormalization", "norm"),
)
