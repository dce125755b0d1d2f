"""Models that must be refused: their ends cannot be carried, or something is missing, broken or unknown."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    FLOAT,
    INT64,
    STRING,
    FunctionProto,
    ModelProto,
    NodeProto,
    branch,
    constant,
    image_net,
    net,
    node,
    relu,
    row_net,
    value,
    weight,
)
from splitinfer.bench.traps.trap import refused


def string_input() -> ModelProto:
    """An input is text."""
    model = net(
        [node("StringNormalizer", "x", "t"), node("Equal", "t word", "y")],
        [value("x", "N", STRING)],
        [value("y", "N", BOOL)],
        opset=19,
    )
    model.graph.initializer.append(constant("word", np.array(["yes"], dtype=object)))
    return model


def string_output() -> ModelProto:
    """An output is text."""
    return net([node("Cast", "x", "y", to=STRING)], [value("x", "N 8")], [value("y", "N 8", STRING)])


def sequence_output() -> ModelProto:
    """An output is a sequence."""
    from onnx import helper

    model = row_net([node("SequenceConstruct", "x x", "y")])
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", FLOAT, None))
    return model


def sequence_input() -> ModelProto:
    """An input is a sequence."""
    from onnx import helper

    model = row_net([node("ConcatFromSequence", "x", "y", axis=0)])
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, None))
    return model


def optional_input() -> ModelProto:
    """An input may be absent."""
    from onnx import helper

    model = row_net([node("OptionalGetElement", "x", "a"), node("Neg", "a", "y")])
    tensor = helper.make_tensor_type_proto(FLOAT, ["N", 8])
    model.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(tensor))
    return model


def map_output() -> ModelProto:
    """An output is a list of maps, as classifiers of classical pipelines give it."""
    ml = {"domain": "ai.onnx.ml"}
    model = net(
        [node("ZipMap", "x", "y", classlabels_int64s=list(range(8)), **ml)], [value("x", "N 8")], [value("y", "")], ai_onnx_ml=3
    )
    maps = model.graph.output[0].type.sequence_type.elem_type.map_type
    maps.key_type, maps.value_type.tensor_type.elem_type = INT64, FLOAT
    return model


def input_without_shape() -> ModelProto:
    """Not even the number of dimensions of an input is declared, so nothing can be fed or bounded."""
    return net([relu("x", "y")], [value("x", None)], [value("y", None)])


def weights_missing() -> ModelProto:
    """A weight that a node reads is not there."""
    return row_net([node("MatMul", "x lost", "y", name="product")])


def weights_to_be_fed() -> ModelProto:
    """The kernel of a convolution is an input."""
    model = image_net([relu("b", "m")])
    model.graph.input.append(value("w0", "8 3 3 3"))
    del model.graph.initializer[0]
    return model


def unsorted() -> ModelProto:
    """A node stands before the one it reads from."""
    return row_net([node("Tanh", "a", "y", name="second"), node("Exp", "x", "a", name="first")])


def circle() -> ModelProto:
    """Two nodes read each other."""
    return row_net([node("Add", "x b", "a", name="first"), node("Exp", "a", "b", name="second"), node("Neg", "b", "y")])


def made_twice() -> ModelProto:
    """Two nodes make the same tensor."""
    return row_net([node("Exp", "x", "a", name="first"), node("Tanh", "x", "a", name="second"), node("Neg", "a", "y")])


def input_listed_twice() -> ModelProto:
    """An input is listed twice."""
    return net([node("Neg", "x", "y")], [value("x", "N 8"), value("x", "N 8")], [value("y", "N 8")])


def output_listed_twice() -> ModelProto:
    """An output is listed twice."""
    return net([node("Neg", "x", "y")], [value("x", "N 8")], [value("y", "N 8"), value("y", "N 8")])


def output_that_nothing_makes() -> ModelProto:
    """An output is declared that no node makes."""
    return net([node("Neg", "x", "y")], [value("x", "N 8")], [value("y", "N 8"), value("ghost", "N 8")])


def no_inputs() -> ModelProto:
    """Nothing comes in."""
    return net([node("Relu", "w", "y")], [], [value("y", "8 8")], [weight("w", 8, 8)])


def no_nodes() -> ModelProto:
    """Only weights."""
    return net([], [value("x", "N 8")], [value("w", "8 8")], [weight("w", 8, 8)])


def unknown_operator() -> ModelProto:
    """An operator of somebody's own, which the runtime does not have."""
    return net(
        [node("Frobnicate", "x", "y", name="odd", domain="else.where")], [value("x", "N 8")], [value("y", "N 8")], else_where=1
    )


def unknown_in_branch() -> ModelProto:
    """An operator that the runtime does not have, in a branch that is never taken."""
    odd = branch([node("Frobnicate", "x", "t1", name="odd", domain="else.where")])
    nodes = [node("If", "off", "y", then_branch=odd, else_branch=branch([node("Exp", "x", "e1")]))]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], [constant("off", np.bool_(False))], else_where=1)


def old_opset() -> ModelProto:
    """An opset from before the runtime's time."""
    return net([node("Add", "x x", "y")], [value("x", "N 8")], [value("y", "N 8")], opset=6)


def opset_to_come() -> ModelProto:
    """An opset that is not there yet."""
    return net([node("Add", "x x", "y")], [value("x", "N 8")], [value("y", "N 8")], opset=9999)


def function_that_calls_itself() -> ModelProto:
    """A function calls another, which calls the first."""
    model = row_net([node("Ping", "x", "y", domain="ours")], ours=1)
    model.functions.append(_function("Ping", [node("Pong", "v", "out", domain="ours")]))
    model.functions.append(_function("Pong", [node("Ping", "v", "out", domain="ours")]))
    return model


def no_finite_answer() -> ModelProto:
    """Nothing that comes out is finite, so halves cannot be compared with the whole."""
    return row_net([node("Div", "x zero", "y")], [constant("zero", np.float32(0))])


def shape_of_a_fixed_input() -> ModelProto:
    """What comes out is known without the input."""
    ends = [value("x", "3 4")], [value("y", "2", INT64)]
    return net([relu("x", "a"), node("Shape", "a", "b"), node("Identity", "b", "y")], *ends)


def output_of_any_rank() -> ModelProto:
    """One item comes out as a vector, several as a matrix."""
    nodes = [relu("x", "a"), node("Squeeze", "a", "b"), node("Tanh", "b", "y")]
    return net(nodes, [value("x", "N 1 8")], [value("y", None)])


def _function(name: str, nodes: list[NodeProto]) -> FunctionProto:
    from onnx import helper

    return helper.make_function(
        "ours", name, ["v"], ["out"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    )


TRAPS = (
    refused(string_input, "'x'"),
    refused(string_output, "'y'"),
    refused(sequence_output, "'y'", "sequence"),
    refused(sequence_input, "'x'", "sequence"),
    refused(optional_input, "'x'", "optional"),
    refused(map_output, "'y'"),
    refused(input_without_shape, "'x'", "shape"),
    refused(weights_missing, "'lost'", "product"),
    refused(weights_to_be_fed, "'w0'", "make_a"),
    refused(unsorted, "second", "'a'"),
    refused(circle, "first", "'b'"),
    refused(made_twice, "'a'"),
    refused(input_listed_twice, "'x'"),
    refused(output_listed_twice, "'y'"),
    refused(output_that_nothing_makes, "'ghost'"),
    refused(no_inputs, "inputs"),
    refused(no_nodes, "net.onnx", "nodes"),
    refused(unknown_operator, "Frobnicate", "odd"),
    refused(unknown_in_branch, "Frobnicate", "odd"),
    refused(old_opset, "opset", "6"),
    refused(opset_to_come, "opset", "9999"),
    refused(function_that_calls_itself, "Ping"),
    refused(no_finite_answer, "'y'"),
    refused(shape_of_a_fixed_input, "net.onnx", "input"),
    refused(output_of_any_rank, "'y'", "dimensions"),
)
