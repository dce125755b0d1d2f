"""How graphs are put together: ends, exits, absent inputs and outputs, long and short ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from splitinfer.bench.traps.parts import (
    CHANNELS,
    IMAGES,
    INT64,
    ROWS,
    ModelProto,
    ValueInfo,
    classifier,
    constant,
    conv,
    feeds,
    image_net,
    image_weights,
    net,
    node,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut, refused

_TWO = feeds(*({"x": (n, 3, 8, 8), "z": (n, 5)} for n in (1, 2, 3)))

_SPARE = feeds(*({"x": (n, 3, 8, 8), "spare": (n, 4)} for n in (1, 2)))

_ONE = feeds({"x": (1, 3, 8, 8)})

_TIMES = feeds(*({"x": (t, n, 8)} for t, n in ((5, 1), (2, 3))))


def plain_chain() -> ModelProto:
    """Nothing is hard: convolutions in a row."""
    return image_net([relu("b", "m")])


def absent_inputs() -> ModelProto:
    """Inputs that are left out are written as empty names: Clip without a minimum, Resize without a region."""
    nodes = [
        node("Clip", ["b", "", "top"], ["p"]),
        node("Resize", ["p", "", "", "sizes"], ["q"]),
        node("Clip", ["q", "low"], ["m"]),
    ]
    return image_net(
        nodes, [constant("top", np.float32(1)), constant("low", np.float32(0.1)), constant("sizes", [1, CHANNELS, 12, 12])]
    )


def absent_outputs() -> ModelProto:
    """Outputs that are left out are written as empty names: only the last state of an LSTM is wanted."""
    nodes = [node("MatMul", "x w", "a"), node("LSTM", "a lw lr", ["", "", "c"], name="lstm", hidden_size=8), relu("c", "d")]
    nodes += [node("Squeeze", "d first", "s"), node("MatMul", "s w", "y")]
    weights = [weight("w", 8, 8), weight("lw", 1, 32, 8), weight("lr", 1, 32, 8), constant("first", [0])]
    return net(nodes, [value("x", "T N 8")], [value("y", "N 8")], weights)


def unread_outputs() -> ModelProto:
    """Nodes give more than is read: a mask, indices, parts of a Split, a branch that leads nowhere."""
    nodes = [
        node("Dropout", "b", "p mask"),
        node("MaxPool", "p", "q at", kernel_shape=[3, 3], pads=[1] * 4),
        node("Exp", "q", "nowhere"),
    ]
    return image_net(
        [*nodes, node("Split", "q", "left right", axis=1, num_outputs=2), node("Concat", "left left", "m", axis=1)], opset=18
    )


def input_of_the_tail() -> ModelProto:
    """One input is read by the tail alone, so it crosses every cut as it is; there are two outputs."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *classifier("b", "seen"), node("MatMul", "z u", "said")]
    nodes += [node("Add", "seen said", "sum"), node("Softmax", "sum", "y"), node("ArgMax", "sum", "best", axis=1, keepdims=0)]
    inputs = [value("x", "N 3 8 8"), value("z", "N 5")]
    return net(nodes, inputs, [value("best", "N", INT64), value("y", "N 10")], [*image_weights(), weight("u", 5, 10)])


def input_that_nobody_reads() -> ModelProto:
    """One input is read by no node."""
    model = image_net([relu("b", "m")])
    model.graph.input.append(value("spare", "N 4"))
    return model


def input_in_the_middle() -> ModelProto:
    """An input is read by the head and, far behind, by the tail."""
    nodes = [
        conv("x", "a", "w0"),
        relu("a", "b"),
        conv("b", "c", "w1"),
        node("Concat", "c x", "d", axis=1),
        conv("d", "e", "w2"),
    ]
    return net(
        [*nodes, relu("e", "f"), *classifier("f")],
        *_image_ends(),
        [*image_weights(), weight("w2", CHANNELS, CHANNELS + 3, 3, 3)],
    )


def early_exit() -> ModelProto:
    """An exit hangs on the tensor that crosses: the head answers it, and the tail does not compute it again."""
    nodes = [
        conv("x", "a", "w0"),
        relu("a", "b"),
        conv("b", "c", "w1"),
        *classifier("b", "exit"),
        relu("c", "d"),
        *classifier("d"),
    ]
    return net(nodes, [value("x", "N 3 8 8")], [value("exit", "N 10"), value("y", "N 10")], image_weights())


def output_that_goes_on() -> ModelProto:
    """An output of the head is also what the tail reads."""
    model = image_net([conv("b", "p", "w1"), relu("p", "m")])
    model.graph.output.insert(0, value("p", f"N {CHANNELS} 8 8"))
    model.graph.output.append(value("b", f"N {CHANNELS} 8 8"))
    return model


def input_is_output() -> ModelProto:
    """One output is an input as it came."""
    model = image_net([relu("b", "m")])
    model.graph.output.append(value("x", "N 3 8 8"))
    return model


def no_dimensions() -> ModelProto:
    """Input, output and all between are single numbers."""
    nodes = [node("Mul", "x two", "a"), node("Exp", "a", "b"), node("Sub", "b x", "y")]
    return net(nodes, [value("x", "")], [value("y", "")], [constant("two", np.float32(2))])


def batch_of_four() -> ModelProto:
    """The model takes four items, no more and no less."""
    nodes = [
        node("MatMul", "x w", "a"),
        relu("a", "b"),
        node("Reshape", "b pairs", "c"),
        node("ReduceMean", "c", "y", axes=[1], keepdims=0),
    ]
    return net(nodes, [value("x", "4 8")], [value("y", "2 8")], [weight("w", 8, 8), constant("pairs", [2, 2, 8])])


def outputs_by_identity() -> ModelProto:
    """The same tensor goes out under three names, and the input under another."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Identity", "a", "early"),
        relu("a", "b"),
        node("Identity", "b", "y"),
        node("Identity", "b", "z"),
    ]
    outputs = [value(name, "N 8") for name in ("y", "b", "z", "early", "same")]
    return net([*nodes, node("Identity", "x", "same")], [value("x", "N 8")], outputs, [weight("w", 8, 8)])


def random_that_leads_nowhere() -> ModelProto:
    """A node draws random numbers that no output needs, and a Dropout in training mode is switched off."""
    nodes = [
        node("RandomNormalLike", "b", "noise"),
        node("Add", "noise b", "lost"),
        node("Dropout", "b ratio off", "p"),
        relu("p", "m"),
    ]
    return image_net(nodes, [constant("ratio", np.float32(0.5)), constant("off", np.bool_(False))])


def nothing_but_identity() -> ModelProto:
    """No node computes anything: Identity, and a Dropout that drops nothing."""
    nodes = [node("Identity", "x", "a"), node("Dropout", "a", "b"), node("Identity", "b", "y")]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")])


def long_chain() -> ModelProto:
    """Three hundred nodes, one after the other."""
    tensors = ["x", *(f"t{at}" for at in range(299)), "y"]
    kinds = ("Tanh", "Sigmoid", "Softplus")
    return net(
        [node(kinds[at % 3], a, b) for at, (a, b) in enumerate(pairwise(tensors))], [value("x", "N 8")], [value("y", "N 8")]
    )


def read_twice_at_once() -> ModelProto:
    """A node reads the same tensor twice, and two nodes make the same of it."""
    nodes = [node("Mul", "b b", "p"), node("Exp", "p", "q"), node("Exp", "p", "r"), node("Concat", "q r q", "s", axis=1)]
    return image_net([*nodes, node("Split", "s", "s0 s1 s2", axis=1), node("Sum", "s0 s1 s2", "m")])


def parts_of_a_split() -> ModelProto:
    """Three parts of a Split are used at three depths, so what crosses changes part by part."""
    nodes = [node("Split", "b sizes", "s0 s1 s2", axis=1), node("Tanh", "s0", "t0"), node("Concat", "t0 s1", "u", axis=1)]
    nodes += [node("Exp", "u", "v"), node("Concat", "v s2", "m", axis=1)]
    return image_net(nodes, [constant("sizes", [2, 3, 3])])


def _image_ends() -> tuple[list[ValueInfo], list[ValueInfo]]:
    return [value("x", "N 3 8 8")], [value("y", "N 10")]


TRAPS = (
    cut(plain_chain, IMAGES, "a", "b", "c", "d"),
    cut(absent_inputs, _ONE, "p", "q", "m"),
    cut(absent_outputs, _TIMES, "a", "c"),
    cut(unread_outputs, IMAGES, "b", "q", "left", "m", never={"right", "mask", "at"}),
    cut(input_of_the_tail, _TWO, {"b", "z"}, {"seen", "z"}, "sum"),
    cut(input_that_nobody_reads, _SPARE, "b", "m"),
    cut(input_in_the_middle, IMAGES, {"b", "x"}, {"c", "x"}, "d"),
    cut(early_exit, IMAGES, "b", "d"),
    cut(output_that_goes_on, IMAGES, "b", "p", "m"),
    refused(input_is_output, "x"),
    cut(no_dimensions, feeds(*({"x": np.array(v, np.float32)} for v in (0.3, -2.0))), {"a", "x"}, {"b", "x"}),
    cut(batch_of_four, feeds({"x": (4, 8)}), "a", "b", "c"),
    cut(outputs_by_identity, ROWS, "a"),
    cut(random_that_leads_nowhere, IMAGES, "b", "m"),
    cut(nothing_but_identity, ROWS),
    cut(long_chain, ROWS, "t0", "t150", "t298"),
    cut(read_twice_at_once, IMAGES, "p", {"q", "r"}, "m"),
    cut(parts_of_a_split, IMAGES, {"s0", "s1", "s2"}, {"u", "s2"}, "m"),
)
