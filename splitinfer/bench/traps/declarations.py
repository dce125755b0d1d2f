"""What a file says of itself: names, shapes, domains, opsets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitinfer.bench.traps.parts import (
    CHANNELS,
    IMAGES,
    ROWS,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfo,
    branch,
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
from splitinfer.bench.traps.trap import cut

OPSETS = (7, 8, 9, 10, 11, 13, 17, 21, 23, 26)


def names_left_out() -> ModelProto:
    """Nodes have no names, in the graph and in its branches."""
    return _renamed(_with_branches(), lambda _at: "")


def names_repeated() -> ModelProto:
    """All nodes have the same name, which ONNX allows and ONNX Runtime does not."""
    return _renamed(_with_branches(), lambda _at: "node")


def names_that_are_odd() -> ModelProto:
    """Tensors are called like paths, sentences, numbers, cuts, and the end."""
    tensors = ["x", "end", "a b", "../../etc", "größe/температура/尺寸", "0", "x+end", "cut:0", 'say "so"\\', "y"]
    nodes = [node("MatMul", [tensors[at], "w"], [tensors[at + 1]]) for at in range(len(tensors) - 1)]
    nodes += [node("Add", ["end", "0"], ["z"])]
    return net(nodes, [value("x", "N 8")], [value("y", "N 8"), value("z", "N 8")], [weight("w", 8, 8)])


def names_that_collide() -> ModelProto:
    """One tensor is called as two others joined by a plus."""
    nodes = [
        node("MatMul", "x w", "p"),
        node("Tanh", "p", "q"),
        node("Sub", "p q", "p+q"),
        relu("p+q", "r"),
        node("Concat", "r x", "y", axis=1),
    ]
    return net(nodes, [value("x", "N 8")], [value("y", "N 16")], [weight("w", 8, 8)])


def declared_wrongly() -> ModelProto:
    """The file says wrong shapes of tensors between the nodes, and of the output."""
    model = image_net([relu("b", "m")])
    model.graph.value_info.extend([value("b", "N 4 8 8"), value("c", f"N {CHANNELS} 7 7"), value("y_pooled", "3 8 1 1")])
    model.graph.output[0].CopyFrom(value("y", "5 10"))
    return model


def declared_scarcely() -> ModelProto:
    """The output has no shape, and the batch of the input is -1."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *classifier("b")]
    return net(nodes, [value("x", "-1 3 8 8")], [value("y", None)], image_weights())


def output_of_other_rank() -> ModelProto:
    """The declared output has a dimension too many, which ONNX Runtime only warns of."""
    model = image_net([relu("b", "m")])
    model.graph.output[0].CopyFrom(value("y", "N 10 1 1"))
    return model


def sizes_that_are_odd() -> ModelProto:
    """Open dimensions are named with digits and signs that only look like sums."""
    nodes = [node("Concat", "x z", "a", axis=1), relu("a", "b"), node("Tanh", "b", "y")]
    return net(nodes, [value("x", ["N", "W+\u00b2"]), value("z", ["N", "+"])], [value("y", ["N", "2*(W+1)"])])


def domains_and_notes() -> ModelProto:
    """Several operator domains, one unused, "ai.onnx" written out, and notes on model, graph, nodes and tensors."""
    nodes = [node("Gelu", "b", "p", domain="com.microsoft"), node("Flatten", "p", "q")]
    nodes += [node("Normalizer", "q", "r", domain="ai.onnx.ml", norm="L2"), node("Reshape", "r back", "m")]
    model = image_net(nodes, [constant("back", [-1, CHANNELS, 8, 8])], com_microsoft=1, ai_onnx_ml=3, nobody_uses=7)
    model.opset_import[0].domain = "ai.onnx"
    model.metadata_props.add(key="classes", value="cat,dog")
    model.graph.node[0].metadata_props.add(key="source", value="line 1")
    model.graph.doc_string = model.doc_string = "notes"
    model.graph.value_info.add(name="a").metadata_props.add(key="seen", value="here")
    return model


def of_opset(version: int) -> Callable[[], ModelProto]:
    """The same network as an exporter of that opset writes it."""

    def model() -> ModelProto:
        from onnx import helper

        made = net(_aged(version), *_image_ends(), _aged_weights(version), version)
        made.ir_version = max(4, helper.find_min_ir_version_for(made.opset_import))
        return made

    model.__name__ = f"opset_{version}"
    model.__doc__ = f"Attributes, inputs and meanings as they were in opset {version}."
    return model


def _aged(version: int) -> list[NodeProto]:
    """Operators whose form changed: what was an attribute became an input."""
    nodes = [conv("x", "a", "w0"), node("BatchNormalization", "a scale shift mean var", "n")]
    nodes.append(node("Clip", "n low high", "b") if version >= 11 else node("Clip", "n", "b", min=0.0, max=6.0))
    if version >= 10:
        nodes.append(node("Resize", "b region scales" if version >= 11 else "b scales", "up"))
    else:
        nodes.append(
            node("Upsample", "b scales", "up") if version >= 9 else node("Upsample", "b", "up", scales=[1.0, 1.0, 2.0, 2.0])
        )
    nodes.append(
        node("Slice", "up from to", "s")
        if version >= 10
        else node("Slice", "up", "s", starts=[0, 0, 1, 1], ends=[99, 99, 15, 15])
    )
    nodes.append(node("Unsqueeze", "s one", "u") if version >= 13 else node("Unsqueeze", "s", "u", axes=[1]))
    nodes.append(node("Squeeze", "u one", "q") if version >= 13 else node("Squeeze", "u", "q", axes=[1]))
    nodes.append(node("Dropout", "q", "r") if version >= 12 else node("Dropout", "q", "r", ratio=0.3))
    nodes.append(node("ReduceMean", "r sides", "f") if version >= 18 else node("ReduceMean", "r", "f", axes=[2, 3]))
    return [*nodes, node("Flatten", "f", "flat"), node("Gemm", "flat fc bias", "z", transB=1), node("Softmax", "z", "y")]


def _aged_weights(version: int) -> list[TensorProto]:
    ones = {name: constant(name, 1 + 0.1 * np.arange(CHANNELS, dtype=np.float32)) for name in ("scale", "shift", "mean", "var")}
    stored = [*image_weights(), *ones.values(), weight("bias", 10)]
    numbers: list[tuple[int, TensorProto]] = [
        (9, constant("scales", [1.0, 1.0, 2.0, 2.0])),
        (10, constant("from", [0, 0, 1, 1])),
        (10, constant("to", [99, 99, 15, 15])),
        (11, constant("region", np.zeros(0, np.float32))),
        (11, constant("low", np.float32(0))),
        (11, constant("high", np.float32(6))),
        (13, constant("one", [1])),
        (18, constant("sides", [2, 3])),
    ]
    return [*(w for w in stored if w.name != "w1"), *(w for since, w in numbers if version >= since)]


def _with_branches() -> ModelProto:
    nodes = [node("ReduceSum", "x", "total", keepdims=0), node("Cast", "total", "yes", to=9)]
    then, otherwise = branch([node("Tanh", "b", "t1"), relu("t1", "t2")]), branch([node("Exp", "b", "e1"), relu("e1", "e2")])
    return image_net([*nodes, node("If", "yes", "m", then_branch=then, else_branch=otherwise)])


def _renamed(model: ModelProto, name: Callable[[int], str]) -> ModelProto:
    """Names all nodes anew, by their place."""
    for at, step in enumerate(model.graph.node):
        step.name = name(at)
        for inner in (inner for attribute in step.attribute for inner in attribute.g.node):
            inner.name = name(at)
    return model


def _image_ends() -> tuple[list[ValueInfo], list[ValueInfo]]:
    return [value("x", "N 3 8 8")], [value("y", "N 10")]


_SUMS = feeds(*({"x": (n, w), "z": (n, w + 1)} for n, w in ((1, 4), (2, 7), (1, 1))))

TRAPS = (
    cut(names_left_out, IMAGES, "b", "m"),
    cut(names_repeated, IMAGES, "b", "m", same_as=names_left_out),
    cut(names_that_are_odd, ROWS, "a b", "../../etc"),
    cut(names_that_collide, ROWS, {"p", "q", "x"}, {"p+q", "x"}),
    cut(declared_wrongly, IMAGES, "b", "c", "d"),
    cut(declared_scarcely, IMAGES, "b", "y_pooled"),
    cut(output_of_other_rank, IMAGES, "b", "m"),
    cut(sizes_that_are_odd, _SUMS, "a", "b"),
    cut(domains_and_notes, IMAGES, "p", "r"),
    *(cut(of_opset(version), IMAGES, "b", "up", "s", "f") for version in OPSETS),
)
