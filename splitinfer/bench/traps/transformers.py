"""Transformers: heads, masks, positions over an open length, a cache of keys and values."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import INT64, ModelProto, NodeProto, constant, feeds, net, node, normal, relu, value, weight
from splitinfer.bench.traps.trap import cut


def positions() -> ModelProto:
    """Position embeddings for an open length (Range, Gather), and a mask made by ConstantOfShape and Trilu."""
    nodes = [node("Shape", "ids", "sizes"), node("Gather", "sizes one", "length"), node("Range", "zero length step", "at")]
    nodes += [node("Gather", "words ids", "said"), node("Gather", "places at", "placed"), node("Add", "said placed", "h")]
    nodes += [node("MatMul", "h w", "q"), node("Transpose", "h", "k", perm=[0, 2, 1]), node("MatMul", "q k", "scores")]
    nodes += [node("Unsqueeze", "length axes", "rows"), node("Concat", "rows rows", "square", axis=0)]
    nodes += [
        node("ConstantOfShape", "square", "full", value=constant("", [-1e4])),
        node("Trilu", "full one", "future", upper=1),
    ]
    nodes += [node("Add", "scores future", "masked"), node("Softmax", "masked", "share"), node("MatMul", "share h", "y")]
    numbers = [
        constant("zero", np.int64(0)),
        constant("one", np.int64(1)),
        constant("step", np.int64(1)),
        constant("axes", [0]),
    ]
    weights = [weight("words", 50, 16), weight("places", 40, 16), weight("w", 16, 16), *numbers]
    return net(nodes, [value("ids", "N T", INT64)], [value("y", "N T 16")], weights)


def attention() -> ModelProto:
    """Two transformer blocks over an open length with a mask; each splits heads by Shape, Gather, Concat, Reshape."""
    nodes = [node("Gather", "words ids", "h0"), node("Cast", "mask", "real", to=1), node("Unsqueeze", "real middle", "wide")]
    nodes += [node("Sub", "one wide", "hidden"), node("Mul", "hidden minus", "bias"), *_block("h0", "h1"), *_block("h1", "h2")]
    nodes += [node("MatMul", "h2 out", "y")]
    numbers = [constant("one", np.float32(1)), constant("minus", np.float32(-1e4)), constant("middle", [1, 2])]
    numbers += [constant("heads", [2, 8]), constant("start", [0]), constant("stop", [2]), constant("flat", [16])]
    drawn = [weight("words", 50, 16), *(weight(name, 16, 16) for name in "qkvf"), weight("out", 16, 4)]
    norms = [constant("scale", np.ones(16, np.float32)), constant("shift", np.zeros(16, np.float32))]
    ends = [value("ids", "N T", INT64), value("mask", "N T", INT64)], [value("y", "N T 4")]
    return net(nodes, *ends, [*numbers, *drawn, *norms])


def _block(x: str, y: str) -> list[NodeProto]:
    """Attention over two heads, and a feed-forward layer."""
    nodes = [node("Shape", x, f"{y}_sizes"), node("Slice", f"{y}_sizes start stop", f"{y}_nt")]
    nodes += [node("Concat", f"{y}_nt heads", f"{y}_split", axis=0), node("Concat", f"{y}_nt flat", f"{y}_join", axis=0)]
    for part in "qkv":
        nodes += [node("MatMul", f"{x} {part}", f"{y}_{part}"), node("Reshape", f"{y}_{part} {y}_split", f"{y}_{part}4")]
        nodes += [node("Transpose", f"{y}_{part}4", f"{y}_{part}h", perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3])]
    nodes += [node("MatMul", f"{y}_qh {y}_kh", f"{y}_scores"), node("Add", f"{y}_scores bias", f"{y}_masked")]
    nodes += [node("Softmax", f"{y}_masked", f"{y}_share", axis=-1), node("MatMul", f"{y}_share {y}_vh", f"{y}_seen")]
    nodes += [
        node("Transpose", f"{y}_seen", f"{y}_back", perm=[0, 2, 1, 3]),
        node("Reshape", f"{y}_back {y}_join", f"{y}_joined"),
    ]
    nodes += [node("Add", f"{x} {y}_joined", f"{y}_sum"), node("LayerNormalization", f"{y}_sum scale shift", f"{y}_norm")]
    nodes += [node("MatMul", f"{y}_norm f", f"{y}_wide"), relu(f"{y}_wide", f"{y}_act"), node("Add", f"{y}_norm {y}_act", y)]
    return nodes


def _ids(n: int, t: int) -> np.ndarray:
    return (np.arange(n * t).reshape(n, t) * 7 % 50).astype(np.int64)


def _mask(n: int, t: int) -> np.ndarray:
    return (np.arange(t) < max(1, t - 2)).astype(np.int64) * np.ones((n, 1), np.int64)


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


_WORDS = feeds(*({"ids": _ids(n, t)} for n, t in ((1, 16), (2, 5), (1, 40), (3, 1))))
_MASKED = feeds(*({"ids": _ids(n, t), "mask": _mask(n, t)} for n, t in ((1, 12), (2, 5), (1, 40), (3, 1))))
_TEXTS = feeds(*({"x": (n, t, 16)} for n, t in ((1, 16), (2, 5), (3, 1))))
_STEPS = feeds(*(_step(n, s, p) for n, s, p in ((1, 1, 4), (2, 1, 7), (1, 5, 2))))

TRAPS = (
    cut(positions, _WORDS, "h", {"h", "scores"}),
    cut(attention, _MASKED, "h0", "h1", "h2"),
    cut(key_value_cache, _STEPS, cuts_min=10),
    cut(runtime_attention, _TEXTS, "a", "b", "c", "d"),
    cut(new_operators, _TEXTS, "b", "e", "f", "h"),
)
