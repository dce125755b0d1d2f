"""Operators with states, of other domains, and operators that ONNX cannot infer."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitinfer.bench.traps.parts import (
    INT64,
    ROWS,
    ModelProto,
    TensorProto,
    constant,
    feeds,
    net,
    node,
    normal,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut


def lstm_with_states() -> ModelProto:
    """An LSTM whose states come in and go out, between layers; two of its three outputs are outputs of the model."""
    nodes = [node("MatMul", "x w", "a"), node("LSTM", ["a", "lw", "lr", "lb", "", "h", "c"], "all h_out c_out", hidden_size=8)]
    nodes += [node("Squeeze", "all one", "b"), relu("b", "d"), node("MatMul", "d w", "y")]
    states = [value(name, "1 N 8") for name in ("h", "c")]
    outputs = [value("y", "T N 8"), *(value(name, "1 N 8") for name in ("h_out", "c_out"))]
    return net(nodes, [value("x", "T N 8"), *states], outputs, [*_recurrent(4), weight("w", 8, 8), constant("one", [1])])


def gru_both_ways() -> ModelProto:
    """Two GRUs in both directions, with lengths of their own for the items; the input is T, N, 8."""
    nodes = [node("GRU", ["x", "lw", "lr", "lb", "lengths"], "both ends", hidden_size=8, direction="bidirectional")]
    nodes += [
        node("Transpose", "both", "turned", perm=[0, 2, 1, 3]),
        node("Reshape", "turned flat", "a"),
        node("MatMul", "a w", "b"),
    ]
    nodes += [
        node(
            "GRU",
            ["b", "lw", "lr", "lb", "lengths", "ends"],
            ["", "y"],
            hidden_size=8,
            direction="bidirectional",
            name="second",
        )
    ]
    from onnx import TensorProto as Kind

    inputs = [value("x", "T N 8"), value("lengths", "N", Kind.INT32)]
    weights = [*_recurrent(3, directions=2), constant("flat", [0, 0, 16]), weight("w", 16, 8)]
    return net(nodes, inputs, [value("y", "2 N 8")], weights)


def runtime_operators() -> ModelProto:
    """Operators of com.microsoft one after the other, whose shapes ONNX cannot infer."""
    ours = {"domain": "com.microsoft"}
    nodes = [node("FusedGemm", "x w bias", "a", activation="Relu", **ours), node("FastGelu", "a bias", "b", **ours)]
    nodes += [node("SkipLayerNormalization", "b a gamma", "c", **ours), node("FusedMatMul", "c w", "d", transB=1, **ours)]
    nodes += [node("QuickGelu", "d", "e", **ours), relu("e", "f"), node("MatMul", "f w", "y")]
    vectors = [constant("bias", normal(8, seed=3)), constant("gamma", np.ones(8, np.float32))]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], [weight("w", 8, 8), *vectors], com_microsoft=1)


def classical_pipeline() -> ModelProto:
    """Operators of ai.onnx.ml, which give labels beside scores."""
    ml = {"domain": "ai.onnx.ml"}
    nodes = [node("Scaler", "x", "a", offset=[0.1] * 8, scale=[0.5] * 8, **ml), node("MatMul", "a w", "b"), relu("b", "c")]
    coefficients = [round(0.1 * ((at * 7) % 11 - 5), 1) for at in range(24)]
    classes: dict[str, Any] = {"classlabels_ints": [10, 20, 30], "coefficients": coefficients, "intercepts": [0.1, 0.0, -0.1]}
    nodes += [node("LinearClassifier", "c", "label scores", post_transform="SOFTMAX", **classes, **ml)]
    nodes.append(node("Normalizer", "scores", "y", norm="MAX", **ml))
    return net(nodes, [value("x", "N 8")], [value("label", "N", INT64), value("y", "N 3")], [weight("w", 8, 8)], ai_onnx_ml=3)


def _recurrent(gates: int, directions: int = 1) -> list[TensorProto]:
    sizes = (directions, gates * 8, 8)
    return [weight("lw", *sizes, gain=0.5), weight("lr", *sizes, gain=0.5), weight("lb", directions, gates * 16)]


_STATES = feeds(*({"x": (t, n, 8), "h": (1, n, 8), "c": normal(1, n, 8, seed=8)} for t, n in ((5, 1), (3, 2), (1, 1))))
_LENGTHS = feeds(*({"x": (t, n, 8), "lengths": np.full(n, t, np.int32)} for t, n in ((16, 1), (3, 2))))

TRAPS = (
    cut(lstm_with_states, _STATES, {"a", "h", "c"}, "all", "d"),
    cut(gru_both_ways, _LENGTHS, {"both", "ends", "lengths"}, {"b", "ends", "lengths"}),
    cut(runtime_operators, ROWS, {"a", "b"}, "c", "d", "e", "f"),
    cut(classical_pipeline, ROWS, "a", "c", "scores"),
)
