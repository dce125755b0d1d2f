"""Element types that cross as they are, and those that must be cast to cross."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from splitinfer.bench.traps.parts import (
    BFLOAT16,
    CHANNELS,
    DOUBLE,
    FLOAT,
    FLOAT8E4M3FN,
    FLOAT16,
    IMAGES,
    INT4,
    INT8,
    INT16,
    INT32,
    INT64,
    ROWS,
    UINT4,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    ModelProto,
    NodeProto,
    TensorProto,
    branch,
    constant,
    feeds,
    image_net,
    net,
    node,
    normal,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut


def booleans() -> ModelProto:
    """A mask of booleans is all that is alive, then it stands beside floats."""
    nodes = [node("Greater", "b half", "mask"), node("Not", "mask", "rest"), node("Where", "rest high low", "p")]
    return image_net([*nodes, relu("p", "m")], [constant("half", [0.5]), constant("high", [2.0]), constant("low", [-1.0])])


def indices() -> ModelProto:
    """Indices of 64 bits, which no codec may touch, are all that is alive."""
    nodes = [
        node("ArgMax", "b", "best", axis=1, keepdims=1),
        node("Add", "best rows", "spread"),
        node("Cast", "spread", "m", to=FLOAT),
    ]
    return image_net(nodes, [constant("rows", np.arange(CHANNELS).reshape(CHANNELS, 1, 1))])


def doubles() -> ModelProto:
    """64-bit floats in the middle."""
    nodes = [node("Cast", "b", "wide", to=DOUBLE), node("Mul", "wide third", "p"), node("Exp", "p", "q")]
    return image_net([*nodes, node("Cast", "q", "m", to=FLOAT)], [constant("third", np.float64(-1 / 3))])


def every_integer() -> ModelProto:
    """The same numbers as every kind of integer, one after the other."""
    kinds = {"i32": INT32, "i16": INT16, "u16": UINT16, "u8": UINT8, "i8": INT8, "u32": UINT32, "u64": UINT64, "i64": INT64}
    nodes = [node("Mul", "b ten", "scaled"), node("Clip", "scaled zero top", "clipped")]
    nodes += [node("Cast", x, y, to=kinds[y]) for x, y in pairwise(["clipped", *kinds])]
    numbers = {"ten": 10.0, "zero": 0.0, "top": 100.0}
    return image_net(
        [*nodes, node("Cast", "i64", "m", to=FLOAT)], [constant(name, np.float32(v)) for name, v in numbers.items()]
    )


def half_inside() -> ModelProto:
    """A network in float16 between Casts: the runtime computes wider than it says, so half a network must not round more."""
    nodes = [node("Cast", "x", "xh", to=FLOAT16), *_half_layers("xh", "d"), node("Cast", "d", "y", to=FLOAT)]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], _half_weights())


def half_ends() -> ModelProto:
    """Input and output are float16, and the input crosses to the end as well."""
    nodes = [*_half_layers("x", "d"), node("Add", "d x", "y")]
    return net(nodes, [value("x", "N 8", FLOAT16)], [value("y", "N 8", FLOAT16)], _half_weights())


def half_goes_out_early() -> ModelProto:
    """A float16 tensor is an output: it comes out as float16, and does not cross, since a float32 of its name would have to."""
    nodes = [node("Cast", "x", "xh", to=FLOAT16), *_half_layers("xh", "d"), node("Cast", "d", "y", to=FLOAT)]
    outputs = [value("b", "N 8", FLOAT16), value("y", "N 8")]
    return net(nodes, [value("x", "N 8")], outputs, _half_weights())


def half_captured() -> ModelProto:
    """A float16 tensor of the head is read in the branches of an If alone."""
    then, otherwise = (branch([node(op, ["h"] * n, "t")], kind=FLOAT16) for op, n in (("Sum", 2), ("Neg", 1)))
    nodes = [
        node("ReduceSum", "b", "total", keepdims=0),
        node("Greater", "total zero", "yes"),
        node("Cast", "b", "h", to=FLOAT16),
    ]
    nodes += [
        node("Tanh", "b", "p"),
        node("If", "yes", "q", then_branch=then, else_branch=otherwise),
        node("Cast", "q", "r", to=FLOAT),
    ]
    return image_net([*nodes, node("Add", "r p", "m")], [constant("zero", np.float32(100))])


def brain_float_inside() -> ModelProto:
    """bfloat16 between Casts: Python cannot carry it."""
    nodes = [node("Cast", "b", "narrow", to=BFLOAT16), node("Cast", "narrow", "wide", to=FLOAT), relu("wide", "m")]
    return image_net(nodes)


def four_bits_inside() -> ModelProto:
    """int4 and uint4 between Casts: no array carries them."""
    nodes = [node("Clip", "b zero seven", "p"), node("Cast", "p", "u4", to=UINT4), node("Cast", "u4", "q", to=FLOAT)]
    nodes += [node("Sub", "q three", "r"), node("Cast", "r", "i4", to=INT4), node("Cast", "i4", "m", to=FLOAT)]
    numbers = {"zero": 0.0, "seven": 7.0, "three": 3.0}
    return image_net(nodes, [constant(name, np.float32(v)) for name, v in numbers.items()], opset=21)


def eight_bit_float_inside() -> ModelProto:
    """float8 between QuantizeLinear and DequantizeLinear."""
    nodes = [node("QuantizeLinear", "b scale zero", "f8"), node("DequantizeLinear", "f8 scale zero", "p"), relu("p", "m")]
    from onnx import helper

    zero = helper.make_tensor("zero", FLOAT8E4M3FN, [], [0.0])
    return image_net(nodes, [constant("scale", np.float32(0.01)), zero], opset=19)


def not_finite() -> ModelProto:
    """Infinities and not-a-numbers cross, and come out."""
    nodes = [
        node("MatMul", "x w", "a"),
        relu("a", "b"),
        node("Log", "b", "c"),
        node("Sub", "c c", "d"),
        node("Concat", "c d", "y", axis=1),
    ]
    return net(nodes, [value("x", "N 8")], [value("y", "N 16")], [weight("w", 8, 8)])


def _half_layers(x: str, y: str) -> list[NodeProto]:
    nodes = [node("MatMul", [x, "h0"], "a"), relu("a", "b"), node("MatMul", "b h1", "c"), node("Tanh", "c", "t")]
    return [*nodes, node("MatMul", "t h0", y)]


def _half_weights() -> list[TensorProto]:
    return [constant(name, normal(8, 8, seed=seed).astype(np.float16)) for name, seed in (("h0", 1), ("h1", 2))]


_HALVES = feeds(*({"x": normal(n, 8, seed=n).astype(np.float16)} for n in (1, 2, 5)))

TRAPS = (
    cut(booleans, IMAGES, "mask", "rest", "m", exact=True),
    cut(indices, IMAGES, "best", "spread"),
    cut(doubles, IMAGES, "wide", "q"),
    cut(every_integer, IMAGES, "i32", "i16", "u16", "u8", "i8", "u32", "u64", "i64"),
    cut(half_inside, ROWS, "b", "t"),
    cut(half_ends, _HALVES, {"b", "x"}, {"t", "x"}),
    cut(half_goes_out_early, ROWS, "a", "c", "t"),
    cut(half_captured, IMAGES, {"h", "p"}, "m"),
    cut(brain_float_inside, IMAGES, "b", "wide", "m"),
    cut(four_bits_inside, IMAGES, "p", "u4", "q", "i4"),
    cut(eight_bit_float_inside, IMAGES, "b", "m"),
    cut(not_finite, ROWS, "b", "c"),
)
