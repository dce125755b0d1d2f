"""Model-local functions: nodes that are graphs. They are cut like the nodes they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    FLOAT,
    IMAGES,
    ROWS,
    FunctionProto,
    ModelProto,
    NodeProto,
    branch,
    constant,
    conv,
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


def function_called_twice() -> ModelProto:
    """A function is called in the head and in the tail."""
    model = image_net([_call("Swish", "b", "p"), conv("p", "q", "w1"), _call("Swish", "q", "m")], ours=1)
    model.functions.append(_function("Swish", "v", "out", [node("Sigmoid", "v", "s"), node("Mul", "v s", "out")]))
    return model


def functions_in_functions() -> ModelProto:
    """A function calls a function that calls a function, all with the same inner names."""
    model = image_net([_call("Outer", "b", "m")], ours=1)
    inner = _function("Inner", "v", "out", [node("Neg", "v", "t"), node("Exp", "t", "out")])
    middle = _function("Middle", "v", "out", [_call("Inner", "v", "t"), node("Add", "t v", "out")])
    outer = _function("Outer", "v", "out", [_call("Middle", "v", "t"), _call("Inner", "t", "u"), node("Sub", "t u", "out")])
    model.functions.extend([outer, middle, inner])
    return model


def function_with_attributes() -> ModelProto:
    """A function hands its attributes on to its nodes; one has a default."""
    from onnx import AttributeProto, helper

    leaky, elu = node("LeakyRelu", "v", "s"), node("Elu", "s", "out")
    for step, name in ((leaky, "slope"), (elu, "alpha")):
        step.attribute.add(name="alpha", ref_attr_name=name, type=AttributeProto.FLOAT)
    function = _function("Bend", "v", "out", [leaky, elu], attributes=["slope"])
    function.attribute_proto.append(helper.make_attribute("alpha", 0.5))
    first, second = _call("Bend", "b", "p", slope=0.3), _call("Bend", "p", "m", slope=-0.2, alpha=2.0)
    model = image_net([first, second], ours=1)
    model.functions.append(function)
    return model


def function_of_everything() -> ModelProto:
    """The whole network is one call: to be cut, it must be opened."""
    layers = [
        node("MatMul", "v k0", "a"),
        relu("a", "b"),
        node("MatMul", "b k1", "c"),
        node("Tanh", "c", "d"),
        node("MatMul", "d k0", "out"),
    ]
    model = net(
        [_call("Net", "x w0 w1", "y")],
        [value("x", "N 8")],
        [value("y", "N 8")],
        [weight("w0", 8, 8), weight("w1", 8, 8)],
        ours=1,
    )
    model.functions.append(_function("Net", "v k0 k1", "out", layers))
    return model


def function_with_body() -> ModelProto:
    """A function holds an If whose branches capture its inputs, and a weight as a Constant node."""
    then, otherwise = branch([node("Mul", "v two", "t1")]), branch([node("Sub", "v two", "e1")])
    nodes = [node("Constant", "", "two", value=constant("", np.float32(2))), node("Cast", "flag", "on", to=BOOL)]
    nodes += [node("If", "on", "out", then_branch=then, else_branch=otherwise)]
    model = net(
        [
            node("MatMul", "x w", "a"),
            _call("Choose", "a flag", "b"),
            node("MatMul", "b w", "c"),
            _call("Choose", "c flag", "y"),
        ],
        [value("x", "N 8"), value("flag", "", FLOAT)],
        [value("y", "N 8")],
        [weight("w", 8, 8)],
        ours=1,
    )
    model.functions.append(_function("Choose", "v flag", "out", nodes))
    return model


def function_names_collide() -> ModelProto:
    """The model calls its own tensors as the function calls those inside."""
    nodes = [node("Tanh", "b", "s"), _call("Swish", "s", "v"), node("Sub", "v s", "out"), _call("Swish", "out", "m")]
    model = image_net(nodes, ours=1)
    model.functions.append(_function("Swish", "v", "out", [node("Sigmoid", "v", "s"), node("Mul", "v s", "out")]))
    return model


def function_of_other_opset() -> ModelProto:
    """A function imports an older opset than the model, in which its operators are the same."""
    model = image_net([_call("Spread", "b", "p"), relu("p", "m")], opset=17, ours=1)
    nodes = [node("Relu", "v", "t"), node("Exp", "t", "s"), node("Sub", "v s", "out")]
    model.functions.append(_function("Spread", "v", "out", nodes, opset=15))
    return model


def function_overloads() -> ModelProto:
    """Two functions have the same name and differ in their overload."""
    first, second = _call("Bend", "b", "p"), _call("Bend", "p", "m")
    first.overload, second.overload = "soft", "hard"
    model = image_net([first, second], ours=1)
    for overload, op in (("soft", "Softplus"), ("hard", "HardSigmoid")):
        function = _function("Bend", "v", "out", [node(op, "v", "t"), node("Sub", "t v", "out")])
        function.overload = overload
        model.functions.append(function)
    return model


def function_in_body() -> ModelProto:
    """A function is called in the branches of an If alone."""
    then, otherwise = branch([_call("Twice", "b", "t1")]), branch([_call("Twice", "p", "e1")])
    nodes = [node("Tanh", "b", "p"), node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", "yes")]
    nodes += [node("If", "yes", "m", then_branch=then, else_branch=otherwise)]
    model = image_net(nodes, [constant("zero", np.float32(0))], ours=1)
    model.functions.append(_function("Twice", "v", "out", [node("Add", "v v", "out")]))
    return model


def function_with_optional_ends() -> ModelProto:
    """A function is called without its last input and with an output that nobody reads."""
    clip = _function("Bound", "v low high", "out seen", [node("Clip", "v low high", "out"), node("Exp", "v", "seen")])
    nodes = [
        node("Bound", ["b", "zero", ""], ["p", "unused"], domain="ours"),
        node("Bound", "p zero one", "m other", domain="ours"),
    ]
    model = image_net(nodes, [constant("zero", np.float32(0.1)), constant("one", np.float32(0.9))], ours=1)
    model.functions.append(clip)
    return model


def _call(function: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return node(function, inputs, outputs, domain="ours", **attributes)


def _function(
    name: str, inputs: str, outputs: str, nodes: list[NodeProto], attributes: list[str] | None = None, opset: int = 17
) -> FunctionProto:
    from onnx import helper

    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ours", 1)]
    return helper.make_function("ours", name, inputs.split(), outputs.split(), nodes, opsets, attributes)


_SIGNS = feeds(*({"x": sign * (normal(n, 3, 8, 8) + 1)} for n in (1, 2) for sign in (1, -1)))
_FLAGS = feeds(*({"x": (n, 8), "flag": np.array(on, np.float32)} for n in (1, 2) for on in (0, 1)))

TRAPS = (
    cut(function_called_twice, IMAGES, "b", "p", "q", "m"),
    cut(functions_in_functions, IMAGES, "b", "m"),
    cut(function_with_attributes, IMAGES, "b", "p", "m"),
    cut(function_of_everything, ROWS, cuts_min=6),
    cut(function_with_body, _FLAGS, {"a", "flag"}, {"c", "flag"}),
    cut(function_names_collide, IMAGES, "s", {"s", "v"}, "out", "m"),
    cut(function_of_other_opset, IMAGES, "b", "p", "m"),
    cut(function_overloads, IMAGES, "b", "p", "m"),
    cut(function_in_body, _SIGNS, {"b", "p"}, "m"),
    cut(function_with_optional_ends, IMAGES, "b", "p", "m"),
)
