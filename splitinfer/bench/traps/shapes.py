"""Sizes that are computed (Shape, Gather, Concat, Reshape). No big tensor may cross for its shape, nothing be frozen."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    CHANNELS,
    IMAGES,
    INT64,
    ROWS,
    ModelProto,
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
    whole,
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


def parts_of_a_shape() -> ModelProto:
    """Shape with a start and an end, and Size: a quotient of sizes is the new shape."""
    nodes = [
        node("Tanh", "b", "p"),
        node("Shape", "b", "sides", start=2, end=4),
        node("Size", "b", "all"),
        conv("p", "q", "w1"),
    ]
    nodes += [
        node("ReduceProd", "sides", "area", axes=[0]),
        node("Div", "all area", "rows"),
        node("Concat", "rows area", "target", axis=0),
    ]
    nodes += [node("Reshape", "q target", "r"), relu("r", "s"), node("Concat", "front sides", "back", axis=0)]
    return image_net([*nodes, node("Reshape", "s back", "m")], [constant("front", [-1, CHANNELS])])


def mixes_the_batch() -> ModelProto:
    """A mean over the batch: two items at once are not two times one."""
    nodes = [node("ReduceMean", "b", "mean", axes=[0]), node("Sub", "b mean", "p"), relu("p", "m")]
    return image_net(nodes)


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


def sizes_of_one_name() -> ModelProto:
    """Two inputs have open dimensions of one name, but not of one size: the shape of one tells nothing of the other."""
    nodes = [
        node("MatMul", "keys w", "a"),
        relu("a", "b"),
        node("ReduceMean", "b", "mean", axes=[0]),
        node("Shape", "x", "sizes"),
    ]
    nodes += [node("Expand", "mean sizes", "wide"), node("MatMul", "wide w", "y")]
    return net(nodes, [value("x", "N 8"), value("keys", "N 8")], [value("y", "N 8")], [weight("w", 8, 8)])


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


def squeezed() -> ModelProto:
    """A Squeeze without axes takes away the batch where it is one item, and leaves it where there are more."""
    nodes = [node("MatMul", "x w", "a"), relu("a", "b"), node("Squeeze", "b", "c"), node("Tanh", "c", "d")]
    nodes += [node("MatMul", "d w", "e"), node("Reshape", "e rows", "y")]
    return net(nodes, [value("x", "N 1 8")], [value("y", "N 8")], [weight("w", 8, 8), constant("rows", [-1, 8])])


def rank_of_the_data() -> ModelProto:
    """How many dimensions something is reshaped to is how many numbers come in."""
    nodes = [relu("x", "a"), node("Mul", "given none", "zeros"), node("Sub", "zeros rest", "ones")]
    nodes += [node("Concat", "ones rest", "sizes", axis=0), node("Reshape", "a sizes", "b")]
    nodes += [node("Tanh", "b", "c"), node("Reshape", "c rest", "d"), relu("d", "y")]
    weights = [constant("none", [0]), constant("rest", [-1])]
    return net(nodes, [value("x", "N 8"), value("given", "K", INT64)], [value("y", "M")], weights)


def size_as_a_flag() -> ModelProto:
    """A size becomes a truth value and a size again: 1, which shape inference takes for what it was."""
    nodes = [relu("x", "a"), node("Shape", "a", "s"), node("Gather", "s last", "n"), node("Cast", "n", "any", to=BOOL)]
    nodes += [node("Cast", "any", "one", to=INT64), node("Expand", "row one", "e"), node("MatMul", "a w", "p")]
    nodes += [node("ReduceMax", "p", "q", axes=[1]), node("Mul", "q e", "r"), relu("r", "t"), node("Add", "t p", "y")]
    weights = [constant("last", [1]), constant("row", np.ones(1, np.float32)), weight("w", 8, 8)]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], weights)


def _reshapes() -> list[TensorProto]:
    shapes = {"turned": [0, CHANNELS, -1], "back": [0, -1, CHANNELS], "literal": [-1, CHANNELS, 8, 8]}
    return [constant(name, shape) for name, shape in shapes.items()]


_SIDES = feeds(*({"x": (n, 3, h, w)} for n, h, w in ((1, 16, 16), (2, 24, 8), (1, 32, 20), (3, 8, 40))))
_ONE = feeds({"x": (1, 3, 8, 8)}, {"x": np.full((1, 3, 8, 8), 0.5, np.float32)})
_MASKS = feeds(*({"x": (n, 3, t, 8), "mask": (n, t)} for n, t in ((1, 16), (2, 5), (1, 1))))
_KEYS = feeds(*({"x": (n, 8), "keys": (k, 8)} for n, k in ((1, 1), (2, 5), (4, 3))))
_LENGTHS = feeds(*({"x": (n, t, 8)} for n, t in ((1, 16), (2, 7), (3, 1))))
_SINGLE = feeds(*({"x": (n, 1, 8)} for n in (1, 2, 3)))
_RANKS = feeds(*({"x": (n, 8), "given": whole(k, below=9)} for n, k in ((1, 1), (2, 3), (3, 2))))

TRAPS = (
    cut(open_batch, IMAGES, "b", "flat", "r", "m"),
    cut(open_sides, _SIDES, "b", "d", "e"),
    cut(shape_read_late, IMAGES, "q", "s", "m"),
    cut(parts_of_a_shape, IMAGES, "q", "s", "m"),
    cut(mixes_the_batch, IMAGES, "b", "p", "m"),
    cut(fixed_shapes, _ONE, "b", "flat", "r", "m"),
    cut(literal_one, _ONE, "b", "p", "m"),
    cut(zero_and_minus_one, IMAGES, "p", "r", "m"),
    cut(lengths_of_one_name, _MASKS, {"b", "mask"}, "c"),
    cut(sizes_of_one_name, _KEYS, "wide"),
    cut(scalars_cross, _LENGTHS, "b", "c"),
    cut(resize_by_computed_scales, _SIDES, "b", {"b", "d"}, "f"),
    cut(length_of_a_loop, ROWS, "a", "b", "c"),
    cut(squeezed, _SINGLE, "a", "b", never={"c", "d", "e"}),
    cut(rank_of_the_data, _RANKS, {"a", "sizes"}, "d", never={"b", "c"}),
    cut(size_as_a_flag, ROWS, "a", "p", never={"r"}),
)
