"""Values that cannot cross at all: text, sequences, optional ones."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    CHANNELS,
    FLOAT,
    IMAGES,
    INT64,
    ROWS,
    STRING,
    ModelProto,
    ValueInfo,
    constant,
    graph,
    image_net,
    net,
    node,
    relu,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut


def strings_inside() -> ModelProto:
    """Numbers are written as text and read again."""
    nodes = [node("Round", "b", "rounded"), node("Cast", "rounded", "text", to=STRING), node("Cast", "text", "p", to=FLOAT)]
    return image_net([*nodes, relu("p", "m")])


def strings_compared() -> ModelProto:
    """Text from a table of words (a weight of strings) is looked up and compared."""
    words = constant("words", np.array(["no", "yes", "no", "yes", "no", "yes", "no", "yes"], dtype=object))
    nodes = [node("MatMul", "x w", "a"), node("ArgMax", "a", "best", axis=1, keepdims=0), node("Gather", "words best", "said")]
    nodes += [node("Equal", "said wanted", "right"), node("Cast", "right", "score", to=FLOAT)]
    nodes += [node("ReduceSum", "x ones", "sum", keepdims=0), node("Mul", "score sum", "y")]
    weights = [words, constant("wanted", np.array(["yes"], dtype=object)), constant("ones", [1]), weight("w", 8, 8)]
    return net(nodes, [value("x", "N 8")], [value("y", "N")], weights, opset=19)


def split_to_sequence() -> ModelProto:
    """A sequence of tensors, taken apart and put together."""
    nodes = [node("SplitToSequence", "b", "parts", axis=1), node("ConcatFromSequence", "parts", "p", axis=1), relu("p", "m")]
    return image_net(nodes)


def sequence_of_two() -> ModelProto:
    """A sequence of a head's tensor and a later one, read by index on both sides of other nodes."""
    nodes = [node("Tanh", "b", "p"), node("SequenceConstruct", "b p", "pair"), node("SequenceAt", "pair zero", "first")]
    nodes += [node("Exp", "first", "q"), node("SequenceAt", "pair one", "second"), node("Sub", "q second", "m")]
    return image_net(nodes, [constant("zero", np.int64(0)), constant("one", np.int64(1))])


def sequence_from_loop() -> ModelProto:
    """A Loop fills a sequence."""
    sequence = _sequence("kept")
    body = graph(
        "body",
        [node("Mul", "b factor", "scaled"), node("SequenceInsert", "kept scaled", "longer"), node("Identity", "go", "still")],
        [value("i", "", INT64), value("go", "", BOOL), sequence],
        [value("still", "", BOOL), _sequence("longer")],
    )
    nodes = [node("SequenceEmpty", "", "none", dtype=FLOAT), node("Loop", ["times", "", "none"], "all", body=body)]
    nodes += [node("ConcatFromSequence", "all", "p", axis=1, new_axis=0), node("Slice", "p zero eight one", "m")]
    numbers = [constant("times", np.int64(3)), constant("factor", np.float32(2)), constant("one", [1])]
    return image_net(nodes, [*numbers, constant("zero", [0]), constant("eight", [CHANNELS])])


def optional_inside() -> ModelProto:
    """A value of optional type is made, asked and opened."""
    nodes = [
        node("Optional", "b", "maybe"),
        node("OptionalHasElement", "maybe", "there"),
        node("OptionalGetElement", "maybe", "p"),
    ]
    return image_net([*nodes, node("Cast", "there", "one", to=FLOAT), node("Add", "p one", "m")], opset=18)


def _sequence(name: str) -> ValueInfo:
    from onnx import helper

    return helper.make_tensor_sequence_value_info(name, FLOAT, None)


TRAPS = (
    cut(strings_inside, IMAGES, "rounded", "p", never={"text"}),
    cut(strings_compared, ROWS, {"a", "x"}, never={"said"}),
    cut(split_to_sequence, IMAGES, "b", "p", never={"parts"}),
    cut(sequence_of_two, IMAGES, {"b", "p"}, "m", never={"pair"}),
    cut(sequence_from_loop, IMAGES, "b", "p", never={"all", "none"}),
    cut(optional_inside, IMAGES, "b", "m", never={"maybe"}),
)
