"""Kinds of networks for pictures: long skips, branches, detectors whose answers have no fixed number."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitinfer.bench.traps.parts import (
    CHANNELS,
    IMAGES,
    INT64,
    ROWS,
    ModelProto,
    NodeProto,
    classifier,
    constant,
    conv,
    feeds,
    image_net,
    image_weights,
    net,
    node,
    normal,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut

_BIG = feeds(*({"x": (n, 3, 16, 16)} for n in (1, 2, 3)))

_PAIRS = feeds(*({"p": (n, 8), "q": normal(n, 8, seed=9)} for n in (1, 2, 3)))

_PICTURES = feeds(*({"x": scale * normal(1, 3, 8, 8, seed=seed)} for seed, scale in ((0, 1), (1, 2), (2, 0.01))))

_FINDS = feeds(*({"x": normal(n, 8, seed=n) * np.float32(scale)} for n, scale in ((4, 1), (1, 0.01), (3, 3))))

_NHWC = feeds(*({"image": (n, 8, 8, 3)} for n in (1, 2)))


def u_net() -> ModelProto:
    """Three long skips: up to four tensors are alive at the bottom."""
    nodes, x = [conv("x", "c0", "w0")], "c0"
    for at in range(3):
        nodes += [relu(x, f"skip{at}"), node("MaxPool", f"skip{at}", f"down{at}", kernel_shape=[2, 2], strides=[2, 2])]
        nodes, x = [*nodes, conv(f"down{at}", f"c{at + 1}", "w1")], f"c{at + 1}"
    for at in (2, 1, 0):
        nodes += [node("Resize", [x, "", "twice"], f"up{at}"), node("Concat", [f"up{at}", f"skip{at}"], f"both{at}", axis=1)]
        nodes, x = [*nodes, conv(f"both{at}", f"d{at}", "w2")], f"d{at}"
    weights = [*image_weights(), weight("w2", CHANNELS, 2 * CHANNELS, 3, 3), constant("twice", [1.0, 1.0, 2.0, 2.0])]
    return net([*nodes, relu(x, "last"), *classifier("last")], [value("x", "N 3 16 16")], [value("y", "N 10")], weights)


def inception() -> ModelProto:
    """Four branches written breadth first, twice: where they join, one tensor crosses."""
    nodes = [*_module("b", "j"), *_module("j", "k")]
    return image_net(
        [*nodes, relu("k", "m")], [weight("w2", CHANNELS, CHANNELS, 3, 3), weight("wide", CHANNELS, 4 * CHANNELS, 1, 1)]
    )


def dense_block() -> ModelProto:
    """Every layer reads all before it, but through one concatenation each."""
    nodes = [conv("b", "p", "w1"), node("Concat", "b p", "q", axis=1), conv("q", "r", "w2"), node("Concat", "q r", "s", axis=1)]
    weights = [weight("w2", CHANNELS, 2 * CHANNELS, 3, 3), weight("w3", CHANNELS, 3 * CHANNELS, 3, 3)]
    return image_net([*nodes, conv("s", "t", "w3"), relu("t", "m")], weights)


def pyramid() -> ModelProto:
    """Outputs at three scales, made from the top down of what the way down has left."""
    nodes, x = [conv("x", "c0", "w0")], "c0"
    for at in (1, 2):
        nodes, x = (
            [*nodes, node("AveragePool", x, f"p{at}", kernel_shape=[2, 2], strides=[2, 2]), conv(f"p{at}", f"c{at}", "w1")],
            f"c{at}",
        )
    nodes.append(node("Tanh", "c2", "o2"))
    for at in (1, 0):
        nodes += [node("Resize", [f"o{at + 1}", "", "twice"], f"up{at}"), node("Add", [f"c{at}", f"up{at}"], f"o{at}")]
    sides = {"o0": 8, "o1": 4, "o2": 2}
    outputs = [value(name, f"N {CHANNELS} {side} {side}") for name, side in sides.items()]
    return net(nodes, [value("x", "N 3 8 8")], outputs, [*image_weights()[:2], constant("twice", [1.0, 1.0, 2.0, 2.0])])


def two_towers() -> ModelProto:
    """Two inputs go through layers of the same weights and meet late: there are few places where little crosses."""
    nodes = [step for mark in "pq" for step in (node("MatMul", [mark, "w"], f"{mark}1"), relu(f"{mark}1", f"{mark}2"))]
    nodes += [step for mark in "pq" for step in (node("MatMul", [f"{mark}2", "v"], f"{mark}3"),)]
    nodes += [node("Mul", "p3 q3", "both"), node("ReduceSum", "both last", "y", keepdims=0)]
    weights = [weight("w", 8, 64), weight("v", 64, 16), constant("last", [1])]
    return net(nodes, [value("p", "N 8"), value("q", "N 8")], [value("y", "N")], weights)


def normalised() -> ModelProto:
    """BatchNormalization behind each convolution, and a Dropout for inference: what the runtime folds together."""
    nodes = [node("BatchNormalization", "b scale shift mean var", "n"), relu("n", "p"), node("Dropout", "p ratio", "q")]
    nodes += [conv("q", "r", "w1"), node("BatchNormalization", "r scale shift mean var", "m")]
    ramp = 1 + 0.1 * np.arange(CHANNELS, dtype=np.float32)
    return image_net(
        nodes, [*(constant(name, ramp) for name in ("scale", "shift", "mean", "var")), constant("ratio", np.float32(0.5))]
    )


def detector() -> ModelProto:
    """Boxes and scores go through NonMaxSuppression: how many are found depends on the picture."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), node("Conv", "b wb", "raw"), node("Conv", "b ws", "marks")]
    nodes += [
        node("Reshape", "raw four", "flat"),
        node("Transpose", "flat", "offsets", perm=[0, 2, 1]),
        node("Sigmoid", "offsets", "part"),
    ]
    nodes += [
        node("Add", "part places", "boxes"),
        node("Reshape", "marks two", "flat_marks"),
        node("Sigmoid", "flat_marks", "scores"),
    ]
    nodes += [
        node("NonMaxSuppression", "boxes scores most overlap least", "chosen"),
        node("Slice", "chosen two_ first last axis", "at"),
    ]
    nodes += [node("Squeeze", "at axis", "rows"), node("Squeeze", "boxes first_axis", "one"), node("Gather", "one rows", "y")]
    corners = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(64, 2)
    places = np.concatenate([corners, corners + 1], axis=1).astype(np.float32)
    numbers: dict[str, Any] = {
        "four": [0, 4, 64],
        "two": [0, 2, 64],
        "most": [20],
        "two_": [2],
        "first": [3],
        "axis": [1],
        "first_axis": [0],
    }
    numbers |= {"overlap": np.float32(0.3), "least": np.float32(0.55), "last": [1]}
    weights = [
        weight("w0", CHANNELS, 3, 3, 3),
        weight("wb", 4, CHANNELS, 1, 1),
        weight("ws", 2, CHANNELS, 1, 1),
        constant("places", places),
    ]
    outputs = [value("chosen", "K 3", INT64), value("y", "K 4")]
    return net(nodes, [value("x", "1 3 8 8")], outputs, [*weights, *(constant(name, v) for name, v in numbers.items())])


def counted() -> ModelProto:
    """NonZero finds any number of places, at times none, and the tail gathers there from a tensor of the head."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Greater", "a three", "high"),
        node("NonZero", "high", "at"),
        node("Transpose", "at", "places"),
    ]
    nodes += [node("GatherND", "a places", "found"), node("Mul", "found two", "y"), node("MatMul", "a w", "z")]
    weights = [weight("w", 8, 8), constant("three", np.float32(1.2)), constant("two", np.float32(2))]
    return net(nodes, [value("x", "N 8")], [value("y", "K"), value("z", "N 8")], weights)


def best_of() -> ModelProto:
    """TopK, a mask by Where, and scattering back: values and their indices cross together."""
    nodes = [node("MatMul", "x w", "a"), node("TopK", "a three", "top at", axis=1), node("Softmax", "top", "share")]
    nodes += [
        node("Shape", "a", "sizes"),
        node("ConstantOfShape", "sizes", "none"),
        node("ScatterElements", "none at share", "s", axis=1),
    ]
    nodes += [node("Greater", "s zero", "kept"), node("Where", "kept s low", "t"), node("MatMul", "t w", "y")]
    weights = [weight("w", 8, 8), constant("three", [3]), constant("zero", np.float32(0)), constant("low", np.float32(-0.5))]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], weights)


def channels_last() -> ModelProto:
    """A network for NHWC: a Transpose at each end and around the middle, an einsum between."""
    nodes = [
        node("Transpose", "image", "x", perm=[0, 3, 1, 2]),
        conv("x", "a", "w0"),
        node("Transpose", "a", "b", perm=[0, 2, 3, 1]),
    ]
    nodes += [
        node("Einsum", "b mix", "c", equation="nhwc,cd->nhwd"),
        node("Transpose", "c", "d", perm=[0, 3, 1, 2]),
        *classifier("d"),
    ]
    weights = [weight("w0", CHANNELS, 3, 3, 3), weight("mix", CHANNELS, CHANNELS), weight("fc", 10, CHANNELS)]
    return net(nodes, [value("image", "N 8 8 3")], [value("y", "N 10")], weights)


def shuffled() -> ModelProto:
    """Grouped convolutions with channels shuffled between (Reshape, Transpose, Reshape), then DepthToSpace."""
    nodes = [
        node("Conv", "b wg", "p", group=2),
        node("Reshape", "p apart", "q"),
        node("Transpose", "q", "r", perm=[0, 2, 1, 3, 4]),
    ]
    nodes += [
        node("Reshape", "r together", "s"),
        node("Conv", "s wg", "t", group=2),
        node("DepthToSpace", "t", "u", blocksize=2),
    ]
    nodes += [node("SpaceToDepth", "u", "m", blocksize=2)]
    shapes = [constant("apart", [-1, 2, 4, 8, 8]), constant("together", [-1, 8, 8, 8])]
    return image_net(nodes, [weight("wg", CHANNELS, CHANNELS // 2, 1, 1), *shapes])


def _module(x: str, y: str) -> list[NodeProto]:
    marks = [f"{y}{at}" for at in range(4)]
    nodes = [conv(x, f"{mark}a", w) for mark, w in zip(marks, ("w1", "w2", "w1", "w2"), strict=True)]
    nodes += [relu(f"{mark}a", f"{mark}b") for mark in marks] + [conv(f"{mark}b", mark, "w2") for mark in marks]
    return [*nodes, node("Concat", marks, f"{y}_all", axis=1), node("Conv", [f"{y}_all", "wide"], y)]


TRAPS = (
    cut(u_net, _BIG, "skip0", {"down1", "skip0", "skip1"}, {"down2", "skip0", "skip1", "skip2"}, "d0"),
    cut(inception, IMAGES, "b", "j", "k"),
    cut(dense_block, IMAGES, "b", "q", "s", "m"),
    cut(pyramid, IMAGES, {"c0", "p1"}, {"c0", "c1", "c2"}),
    cut(two_towers, _PAIRS, {"p3", "q3"}, "both"),
    cut(normalised, IMAGES, "p", "m"),
    cut(detector, _PICTURES, "b", {"boxes", "scores"}),
    cut(counted, _FINDS, "a"),
    cut(best_of, ROWS, "a", {"at", "top"}, "t"),
    cut(channels_last, _NHWC, "x", "b", "c"),
    cut(shuffled, IMAGES, "p", "s", "u"),
)
