"""Bodies of If, Loop and Scan read tensors and weights from outside, at any depth. Nothing is cut inside a body."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    CHANNELS,
    IMAGES,
    INT64,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    branch,
    constant,
    conv,
    feeds,
    graph,
    image_net,
    net,
    node,
    normal,
    relu,
    row_net,
    value,
    weight,
)
from splitinfer.bench.traps.trap import cut

SIGNS = feeds(
    *({"x": sign * normal(n, 3, 8, 8) + np.float32(sign)} for n in (1, 2) for sign in (1, -1)),
)
"""Images whose sum is above and below zero, so that each branch is taken."""


def if_captures_tensor() -> ModelProto:
    """The branches of an If read a tensor of the head that is no input of the node."""
    return image_net(_decided("yes", branch([node("Mul", "b b", "t1")]), branch([node("Neg", "b", "e1")])), [_zero()])


def if_captures_weight() -> ModelProto:
    """A weight is read by the branches of an If alone, as a capture."""
    then, otherwise = branch([node("Add", "b bias", "t1")]), branch([node("Sub", "b bias", "e1")])
    return image_net(_decided("yes", then, otherwise), [_zero(), weight("bias", CHANNELS, 1, 1)])


def if_captures_late() -> ModelProto:
    """What a branch captures was made long before the If, so it crosses every cut between."""
    middle = [conv("b", "p", "w2"), relu("p", "q"), conv("q", "r", "w2"), relu("r", "s")]
    middle += _decided("yes", branch([node("Add", "b s", "t1")]), branch([node("Sub", "s b", "e1")]))
    return image_net(middle, [_zero(), weight("w2", CHANNELS, CHANNELS, 3, 3)])


def branches_share_names() -> ModelProto:
    """Two Ifs whose branches use the same inner names, with weights and Constant nodes of their own."""

    def scaled(factor: float) -> GraphProto:
        inner = [node("Constant", "", "two", value=constant("", [2.0])), node("Mul", "b two", "inner")]
        return branch([*inner, node("Mul", "inner factor", "result")], [constant("factor", [factor])])

    first = node("If", "yes", "p", then_branch=scaled(0.5), else_branch=scaled(0.25))
    second = node("If", "yes", "q", then_branch=scaled(-1.0), else_branch=scaled(3.0))
    return image_net([*_positive("yes"), first, second, node("Add", "p q", "m")], [_zero()])


def branches_share_weight_names() -> ModelProto:
    """Large weights of two branches have one name and different values."""

    def convolved(seed: str, y: str) -> GraphProto:
        kernel = weight(seed, CHANNELS, CHANNELS, 3, 3)
        kernel.name = "k"
        return branch([conv("b", y, "k")], [kernel])

    return image_net(_decided("yes", convolved("one", "t1"), convolved("two", "e1")), [_zero()])


def shape_in_branch() -> ModelProto:
    """A branch reads a big tensor of the head for its shape alone."""
    then = branch([node("Shape", "b", "sizes"), node("Expand", "q sizes", "t1")])
    otherwise = branch([node("Shape", "b", "sizes2"), node("ConstantOfShape", "sizes2", "e1")])
    middle = [node("ReduceMean", "b", "p", axes=[2, 3]), relu("p", "q")]
    return image_net([*middle, *_decided("yes", then, otherwise)], [_zero()])


def if_in_loop() -> ModelProto:
    """An If in a Loop captures a weight and a tensor of the head two levels up."""
    inner = node(
        "If", "odd", "next", then_branch=branch([node("Add", "v a", "t1")]), else_branch=branch([node("Mul", "v bias", "e1")])
    )
    body = _loop_body([node("Mod", "i two", "rest"), node("Cast", "rest", "odd", to=BOOL), inner])
    weights = [constant("times", np.int64(3)), constant("on", np.bool_(True)), constant("two", np.int64(2)), _bias()]
    return image_net([node("Loop", "times on b", "m", body=body)], weights)


def loop_captures_tensor() -> ModelProto:
    """The body of a Loop reads a tensor of the head, and the shape of what comes out cannot be inferred."""
    body = _loop_body([node("Add", "v a", "next")])
    return image_net(
        [node("Loop", "times on b", "m", body=body)], [constant("times", np.int64(3)), constant("on", np.bool_(True))]
    )


def loop_counts_the_input() -> ModelProto:
    """How often a Loop runs, and so the size of what it collects, is an input."""
    body = graph(
        "body",
        [node("Add", "v h", "next"), node("ReduceMean", "next", "kept", axes=[0], keepdims=0), node("Identity", "go", "still")],
        [value("i", "", INT64), value("go", "", BOOL), value("v", None)],
        [value("still", None, BOOL), value("next", None), value("kept", None)],
    )
    nodes = [node("MatMul", "x w", "h"), node("Loop", ["times", "", "h"], "last rows", body=body)]
    nodes += [relu("rows", "kept_rows"), node("MatMul", "kept_rows w", "y"), node("Tanh", "last", "z")]
    ends = [value("x", "N 8"), value("times", "", INT64)], [value("y", "T 8"), value("z", "N 8")]
    return net(nodes, *ends, [weight("w", 8, 8)])


def scan_captures() -> ModelProto:
    """A Scan over an open length, whose body reads a weight and a tensor from outside."""
    body = graph(
        "step",
        [
            node("MatMul", "state r", "moved"),
            node("Add", "moved item", "sum"),
            node("Add", "sum offset", "off"),
            node("Tanh", "off", "new"),
            node("Identity", "new", "seen"),
        ],
        [value("state", "N 8"), value("item", "N 8")],
        [value("new", "N 8"), value("seen", "N 8")],
    )
    nodes = [node("MatMul", "x w", "items"), node("ReduceMean", "x", "offset", axes=[0], keepdims=0), relu("offset", "start")]
    nodes += [node("Scan", "start items", "last all", body=body, num_scan_inputs=1), node("MatMul", "all r", "y")]
    return net(
        nodes, [value("x", "T N 8")], [value("y", "T N 8"), value("last", "N 8")], [weight("w", 8, 8), weight("r", 8, 8)]
    )


def if_is_everything() -> ModelProto:
    """The whole network lies in the branches of one If: there is nothing to cut between first and last."""
    nodes = [node("If", "flag", "y", then_branch=_layers("t", "w0"), else_branch=_layers("e", "w1"))]
    return net(
        nodes, [value("x", "N 8"), value("flag", "", BOOL)], [value("y", "N 8")], [weight("w0", 8, 8), weight("w1", 8, 8)]
    )


def branches_of_other_rank() -> ModelProto:
    """What an If gives has two dimensions or three, as the input will have it; one run shows only one of them."""
    then, otherwise = branch([node("Identity", "h", "t1")]), branch([node("Unsqueeze", "h last", "e1")])
    nodes = [node("MatMul", "x w", "h"), node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", "yes")]
    nodes += [node("If", "yes", "p", then_branch=then, else_branch=otherwise), relu("p", "q")]
    nodes += [node("Flatten", "q", "flat", axis=1), node("MatMul", "flat w", "y")]
    weights = [weight("w", 8, 8), _zero(), constant("last", [2])]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8")], weights)


def branches_name_like_copies() -> ModelProto:
    """A branch has a tensor named as a copy of what it captures could be."""
    then = branch([node("Relu", "c", "c/1"), node("Add", "c/1 c", "t")])
    otherwise = branch([node("Tanh", "c", "c/2"), node("Sub", "c/2 c", "e")])
    nodes = [node("Mul", "w w", "c"), relu("x", "a"), node("Add", "a c", "b"), *_positive("yes")]
    nodes += [node("If", "yes", "p", then_branch=then, else_branch=otherwise), node("Add", "b p", "q"), node("Mul", "q c", "y")]
    return row_net(nodes, [weight("w", 8), _zero()])


def condition_known() -> ModelProto:
    """The condition of an If is a weight, and the branch that is not taken could not run."""
    then = branch([node("Mul", "b bias", "t1")])
    otherwise = branch([node("Reshape", "b impossible", "e1")], [constant("impossible", [-1, 7, 11])])
    return image_net(
        [node("If", "yes", "m", then_branch=then, else_branch=otherwise)], [constant("yes", np.bool_(True)), _bias()]
    )


def branches_nested_deep() -> ModelProto:
    """Two dozen branches inside each other; the innermost reads a tensor of the head."""
    inner = branch([node("Neg", "b", "n0")])
    for at in range(1, 24):
        inner = branch([node("If", "yes", f"n{at}", then_branch=inner, else_branch=branch([node("Exp", "b", f"e{at}")]))])
    return image_net(_decided("yes", inner, branch([node("Exp", "b", "e")])), [_zero()])


def _decided(flag: str, then: GraphProto, otherwise: GraphProto) -> list[NodeProto]:
    return [*_positive(flag), node("If", flag, "m", then_branch=then, else_branch=otherwise)]


def _positive(flag: str) -> list[NodeProto]:
    return [node("ReduceSum", "x", "total", keepdims=0), node("Greater", "total zero", flag)]


def _loop_body(nodes: list[NodeProto]) -> GraphProto:
    """A body that carries v and makes next."""
    inputs = [value("i", "", INT64), value("go", "", BOOL), value("v", None)]
    return graph("body", [*nodes, node("Identity", "go", "still")], inputs, [value("still", "", BOOL), value("next", None)])


def _layers(mark: str, w: str) -> GraphProto:
    return branch(
        [node("MatMul", f"x {w}", f"{mark}1"), relu(f"{mark}1", f"{mark}2"), node("MatMul", f"{mark}2 {w}", f"{mark}3")]
    )


def _zero() -> TensorProto:
    return constant("zero", np.float32(0))


def _bias() -> TensorProto:
    return weight("bias", CHANNELS, 1, 1)


_ROWS_BOTH = feeds(*({"x": normal(n, 8) + np.float32(sign)} for n in (1, 2, 3) for sign in (3, -3)))
_FLAGS = feeds(*({"x": (n, 8), "flag": np.array(on)} for n in (1, 2) for on in (True, False)))
_COUNTS = feeds(*({"x": (n, 8), "times": np.array(times, np.int64)} for n, times in ((1, 1), (1, 4), (3, 2))))
_LENGTHS = feeds(*({"x": (t, n, 8)} for t, n in ((4, 1), (7, 2), (1, 3))))

TRAPS = (
    cut(if_captures_tensor, SIGNS, "b", "m", "d"),
    cut(if_captures_weight, SIGNS, "b", "m", "d"),
    cut(if_captures_late, SIGNS, {"b", "s"}, "m"),
    cut(branches_share_names, SIGNS, "b", {"b", "p"}, "m"),
    cut(branches_share_weight_names, SIGNS, "b", "m"),
    cut(shape_in_branch, SIGNS, "b", "m"),
    cut(if_in_loop, IMAGES, {"a", "b"}, "m"),
    cut(loop_captures_tensor, IMAGES, {"a", "b"}, "m"),
    cut(loop_counts_the_input, _COUNTS, {"h", "times"}, {"rows", "last"}),
    cut(scan_captures, _LENGTHS, {"items", "start", "offset"}, "all"),
    cut(if_is_everything, _FLAGS),
    cut(branches_name_like_copies, _ROWS_BOTH, "b", "q"),
    cut(condition_known, IMAGES, "b", "d"),
    cut(branches_nested_deep, SIGNS, "b", "m"),
    cut(branches_of_other_rank, _ROWS_BOTH, "h", "flat"),
)
