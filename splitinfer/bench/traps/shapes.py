"""Sizes that are computed (Shape, Gather, Concat, Reshape). No big tensor may cross for its shape, nothing be frozen."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    CHANNELS,
    IMAGES,
    INT64,
    ROWS,
    ModelProto,
    NodeProto,
    TensorProto,
    constant,
    conv,
    feeds,
    graph,
    image_net,
    image_weights,
    net,
    node,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut


def open_batch() -> ModelProto:
    """The flatten that PyTorch writes: Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [node("Shape", "b", "sizes"), node("Gather", "sizes zero", "n", axis=0), node("Unsqueeze", "n axes", "ns")]
    nodes += [node("Concat", "ns minus", "target", axis=0), node("Reshape", "b target", "flat"), node("MatMul", "flat w", "r")]
    nodes += [node("Concat", "ns chw", "back", axis=0), node("Reshape", "r back", "m")]
    weights = [constant("zero", np.int64(0)), constant("axes", [0]), constant("minus", [-1]), constant("chw", [CHANNELS, 4, 4])]
    return image_net(nodes, [*weights, weight("w", CHANNELS * 64, CHANNELS * 16)])


def open_sides() -> ModelProto:
    """Batch, height and width are open, and the picture is put back to the size of the input at the end."""
    nodes = [conv("x", "a", "w0", strides=[2, 2]), relu("a", "b"), conv("b", "c", "w1", strides=[2, 2]), relu("c", "d")]
    nodes += [conv("d", "e", "w2"), node("Shape", "x", "sizes"), node("Slice", "sizes two four", "sides")]
    nodes += [
        node("Shape", "e", "own"),
        node("Slice", "own zero two", "front"),
        node("Concat", "front sides", "target", axis=0),
    ]
    nodes += [node("Resize", ["e", "", "", "target"], "y", mode="nearest")]
    numbers = [constant("zero", [0]), constant("two", [2]), constant("four", [4])]
    weights = [*image_weights()[:2], weight("w2", 1, CHANNELS, 3, 3), *numbers]
    return net(nodes, [value("x", "N 3 H W")], [value("y", "N 1 H W")], weights)


def shape_read_late() -> ModelProto:
    """The Shape of a big early tensor stands far behind it: it is the shape that may cross, not the tensor."""
    nodes = [conv("b", "p", "w2", strides=[2, 2]), relu("p", "q"), node("Reshape", "q rows", "r"), node("Tanh", "r", "s")]
    nodes += [node("Shape", "b", "sizes"), node("Mul", "sizes halves", "doubled"), node("Div", "doubled fours", "target")]
    nodes += [node("Reshape", "s target", "m")]
    weights = [weight("w2", CHANNELS, CHANNELS, 3, 3), constant("rows", [0, -1]), constant("halves", [2, 2, 1, 1])]
    return image_net(nodes, [*weights, constant("fours", [2, 2, 2, 2])])


def fixed_shapes() -> ModelProto:
    """All sizes are fixed, so what Shape gives is a constant, and no shape need cross."""
    model = open_batch()
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(value("x", "1 3 8 8"))
    model.graph.output.append(value("y", "1 10"))
    return model


def literal_one() -> ModelProto:
    """The batch is declared open, but a Reshape says 1."""
    return image_net([node("Reshape", "b fixed", "p"), relu("p", "m")], [constant("fixed", [1, CHANNELS, 8, 8])])


def zero_and_minus_one() -> ModelProto:
    """Reshape with 0 (copy the size) and -1 (what is left), and with allowzero."""
    nodes = [node("Reshape", "b turned", "p"), node("Transpose", "p", "q", perm=[0, 2, 1]), node("Reshape", "q back", "r")]
    return image_net([*nodes, node("Reshape", "r literal", "m", allowzero=1)], _reshapes())


def lengths_of_one_name() -> ModelProto:
    """Two inputs of different rank have an open dimension of the same name: it is the same length."""
    nodes = [node("MatMul", "x w", "a"), relu("a", "b"), node("Unsqueeze", "mask ends", "wide"), node("Mul", "b wide", "c")]
    inputs = [value("x", "N 3 T 8"), value("mask", "N T")]
    return net(
        [*nodes, node("MatMul", "c w", "y")], inputs, [value("y", "N 3 T 8")], [weight("w", 8, 8), constant("ends", [1, 3])]
    )


def scalars_cross() -> ModelProto:
    """Numbers without a dimension are alive at most boundaries: a length and a mean."""
    nodes = [
        node("Shape", "x", "sizes"),
        node("Gather", "sizes one", "length", axis=0),
        node("ReduceMean", "x", "mean", keepdims=0),
    ]
    nodes += [node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b w", "c"), node("Cast", "length", "real", to=1)]
    nodes += [node("Div", "c real", "d"), node("Sub", "d mean", "y")]
    return net(nodes, [value("x", "N T 8")], [value("y", "N T 8")], [constant("one", np.int64(1)), weight("w", 8, 8)])


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


def resize_by_computed_scales() -> ModelProto:
    """The scales of a Resize are a quotient of the sizes of two tensors, one of them the input."""
    nodes = [conv("x", "a", "w0", strides=[2, 2]), relu("a", "b"), conv("b", "c", "w1", strides=[2, 2]), relu("c", "d")]
    nodes += [node("Shape", "b", "big"), node("Shape", "d", "small"), node("Cast", "big", "bigs", to=1)]
    nodes += [
        node("Cast", "small", "smalls", to=1),
        node("Div", "bigs smalls", "scales"),
        node("Resize", ["d", "", "scales"], "e"),
    ]
    nodes += [node("Add", "b e", "f"), relu("f", "y")]
    return net(nodes, [value("x", "N 3 H W")], [value("y", "N 8 h w")], image_weights()[:2])


def length_of_a_loop() -> ModelProto:
    """How often a Loop runs is a size of the input, so a size is captured and counted with."""
    body = graph(
        "body",
        [node("Cast", "i", "at", to=1), node("Add", "v at", "next"), node("Identity", "go", "still")],
        [value("i", "", INT64), value("go", "", 9), value("v", None)],
        [value("still", "", 9), value("next", None)],
    )
    nodes = [node("MatMul", "x w", "a"), relu("a", "b"), node("Shape", "x", "sizes"), node("Gather", "sizes zero", "rows")]
    nodes += [node("Loop", ["rows", "", "b"], "c", body=body), node("MatMul", "c w", "y")]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], [weight("w", 8, 8), constant("zero", np.int64(0))])


def _reshapes() -> list[TensorProto]:
    shapes = {"turned": [0, CHANNELS, -1], "back": [0, -1, CHANNELS], "literal": [-1, CHANNELS, 8, 8]}
    return [constant(name, shape) for name, shape in shapes.items()]


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


_SIDES = feeds(*({"x": (n, 3, h, w)} for n, h, w in ((1, 16, 16), (2, 24, 8), (1, 32, 20), (3, 8, 40))))
_ONE = feeds({"x": (1, 3, 8, 8)}, {"x": np.full((1, 3, 8, 8), 0.5, np.float32)})
_MASKS = feeds(*({"x": (n, 3, t, 8), "mask": (n, t)} for n, t in ((1, 16), (2, 5), (1, 1))))
_LENGTHS = feeds(*({"x": (n, t, 8)} for n, t in ((1, 16), (2, 7), (3, 1))))


def _ids(n: int, t: int) -> np.ndarray:
    return (np.arange(n * t).reshape(n, t) * 7 % 50).astype(np.int64)


def _mask(n: int, t: int) -> np.ndarray:
    return (np.arange(t) < max(1, t - 2)).astype(np.int64) * np.ones((n, 1), np.int64)


_WORDS = feeds(*({"ids": _ids(n, t)} for n, t in ((1, 16), (2, 5), (1, 40), (3, 1))))
_MASKED = feeds(*({"ids": _ids(n, t), "mask": _mask(n, t)} for n, t in ((1, 12), (2, 5), (1, 40), (3, 1))))

TRAPS = (
    cut(open_batch, IMAGES, "b", "flat", "r", "m"),
    cut(open_sides, _SIDES, "b", "d", "e"),
    cut(shape_read_late, IMAGES, "q", "s", "m"),
    cut(fixed_shapes, _ONE, "b", "flat", "r", "m"),
    cut(literal_one, _ONE, "b", "p", "m"),
    cut(zero_and_minus_one, IMAGES, "p", "r", "m"),
    cut(lengths_of_one_name, _MASKS, {"b", "mask"}, "c"),
    cut(scalars_cross, _LENGTHS, "b", "c"),
    cut(positions, _WORDS, "h", {"h", "scores"}),
    cut(attention, _MASKED, "h0", "h1", "h2"),
    cut(resize_by_computed_scales, _SIDES, "b", {"b", "d"}, "f"),
    cut(length_of_a_loop, ROWS, "a", "b", "c"),
)
