"""States, caches, attention, and operators that ONNX does not know or has known for a short time."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    INT64,
    ROWS,
    ModelProto,
    NodeProto,
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

_STATES = feeds(*({"x": (t, n, 8), "h": (1, n, 8), "c": normal(1, n, 8, seed=8)} for t, n in ((5, 1), (3, 2), (1, 1))))

_LENGTHS = feeds(*({"x": (t, n, 8), "lengths": np.full(n, t, np.int32)} for t, n in ((16, 1), (3, 2))))

_TEXTS = feeds(*({"x": (n, t, 16)} for n, t in ((1, 16), (2, 5), (3, 1))))


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


def key_value_cache() -> ModelProto:
    """A decoder's step: past keys and values come in and go out longer; the mask is declared as long as both together."""
    nodes = [node("Gather", "words ids", "h"), *_cached("h", "h1", 0), *_cached("h1", "h2", 1), node("MatMul", "h2 out", "y")]
    inputs = [value("ids", "N S", INT64), value("mask", ["N", "P + S"], INT64)]
    inputs += [value(f"past_{kind}{at}", "N 2 P 8") for at in (0, 1) for kind in "kv"]
    outputs = [value("y", "N S 4"), *(value(f"now_{kind}{at}", ["N", "2", "P + S", "8"]) for at in (0, 1) for kind in "kv")]
    drawn = [weight("words", 50, 16), *(weight(name, 16, 16) for name in "qkv"), weight("out", 16, 4)]
    numbers = [
        constant("heads", [0, 0, 2, 8]),
        constant("flat", [0, 0, 16]),
        constant("middle", [1, 2]),
        constant("one", np.float32(1)),
    ]
    return net(nodes, inputs, outputs, [*drawn, *numbers, constant("minus", np.float32(-1e4))])


def runtime_operators() -> ModelProto:
    """Operators of com.microsoft one after the other, whose shapes ONNX cannot infer."""
    ours = {"domain": "com.microsoft"}
    nodes = [node("FusedGemm", "x w bias", "a", activation="Relu", **ours), node("FastGelu", "a bias", "b", **ours)]
    nodes += [node("SkipLayerNormalization", "b a gamma", "c", **ours), node("FusedMatMul", "c w", "d", transB=1, **ours)]
    nodes += [node("QuickGelu", "d", "e", **ours), relu("e", "f"), node("MatMul", "f w", "y")]
    vectors = [constant("bias", normal(8, seed=3)), constant("gamma", np.ones(8, np.float32))]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], [weight("w", 8, 8), *vectors], com_microsoft=1)


def runtime_attention() -> ModelProto:
    """The runtime's own attention in the middle, behind it shapes that only a run can tell."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Attention", "a qkv bias", "b", domain="com.microsoft", num_heads=2),
        relu("b", "c"),
    ]
    nodes += [node("Attention", "c qkv bias", "d", domain="com.microsoft", num_heads=2), node("MatMul", "d w", "y")]
    weights = [weight("w", 16, 16), weight("qkv", 16, 48), constant("bias", normal(48, seed=5))]
    return net(nodes, [value("x", "N T 16")], [value("y", "N T 16")], weights, com_microsoft=1)


def new_operators() -> ModelProto:
    """Operators of the newest opsets: RMSNormalization, Attention with a cache-shaped input, Swish."""
    nodes = [node("MatMul", "x w", "a"), node("RMSNormalization", "a scale", "b"), node("Reshape", "b heads", "c")]
    nodes += [
        node("Transpose", "c", "d", perm=[0, 2, 1, 3]),
        node("Attention", "d d d", "e", is_causal=1),
        node("Swish", "e", "f"),
    ]
    nodes += [node("Transpose", "f", "g", perm=[0, 2, 1, 3]), node("Reshape", "g flat", "h"), node("MatMul", "h w", "y")]
    weights = [
        weight("w", 16, 16),
        constant("scale", np.ones(16, np.float32)),
        constant("heads", [0, 0, 2, 8]),
        constant("flat", [0, 0, 16]),
    ]
    return net(nodes, [value("x", "N T 16")], [value("y", "N T 16")], weights, opset=24)


def _recurrent(gates: int, directions: int = 1) -> list[TensorProto]:
    sizes = (directions, gates * 8, 8)
    return [weight("lw", *sizes, gain=0.5), weight("lr", *sizes, gain=0.5), weight("lb", directions, gates * 16)]


def _cached(x: str, y: str, at: int) -> list[NodeProto]:
    """Attention to the past and to itself."""
    nodes: list[NodeProto] = []
    for kind in "qkv":
        nodes += [node("MatMul", [x, kind], f"{y}_{kind}"), node("Reshape", f"{y}_{kind} heads", f"{y}_{kind}4")]
        nodes.append(node("Transpose", f"{y}_{kind}4", f"{y}_{kind}h", perm=[0, 2, 1, 3]))
    nodes += [node("Concat", f"past_{kind}{at} {y}_{kind}h", f"now_{kind}{at}", axis=2) for kind in "kv"]
    nodes += [
        node("Transpose", f"now_k{at}", f"{y}_turned", perm=[0, 1, 3, 2]),
        node("MatMul", f"{y}_qh {y}_turned", f"{y}_scores"),
    ]
    nodes += [node("Cast", "mask", f"{y}_real", to=1), node("Unsqueeze", f"{y}_real middle", f"{y}_wide")]
    nodes += [node("Sub", f"one {y}_wide", f"{y}_hidden"), node("Mul", f"{y}_hidden minus", f"{y}_bias")]
    nodes += [node("Add", f"{y}_scores {y}_bias", f"{y}_masked"), node("Softmax", f"{y}_masked", f"{y}_share")]
    nodes += [
        node("MatMul", f"{y}_share now_v{at}", f"{y}_seen"),
        node("Transpose", f"{y}_seen", f"{y}_back", perm=[0, 2, 1, 3]),
    ]
    return [*nodes, node("Reshape", f"{y}_back flat", f"{y}_flat"), node("Add", [x, f"{y}_flat"], y)]


def _step(n: int, s: int, p: int) -> dict[str, object]:
    """Inputs of the decoder for n items, s new words and p old ones."""
    past = {f"past_{kind}{at}": normal(n, 2, p, 8, seed=at) for at in (0, 1) for kind in "kv"}
    ids = (np.arange(n * s).reshape(n, s) * 7 % 50).astype(np.int64)
    return {"ids": ids, "mask": np.ones((n, p + s), np.int64), **past}


_STEPS = feeds(*(_step(n, s, p) for n, s, p in ((1, 1, 4), (2, 1, 7), (1, 5, 2))))


TRAPS = (
    cut(lstm_with_states, _STATES, {"a", "h", "c"}, "all", "d"),
    cut(gru_both_ways, _LENGTHS, {"both", "ends", "lengths"}, {"b", "ends", "lengths"}),
    cut(key_value_cache, _STEPS, cuts_min=10),
    cut(runtime_operators, ROWS, {"a", "b"}, "c", "d", "e", "f"),
    cut(runtime_attention, _TEXTS, "a", "b", "c", "d"),
    cut(new_operators, _TEXTS, "b", "e", "f", "h"),
)
