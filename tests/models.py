"""Tiny ONNX models, each with one thing that makes cutting hard. Weights are seeded: the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
CHANNELS = 8


def weight(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    random = np.random.default_rng([seed, *name.encode()])
    fan_in = max(1, int(np.prod(shape[1:])))
    return numpy_helper.from_array((random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    outputs: Mapping[str, tuple[int, Sequence[int | str]]],
    weights: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    **fields: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, **fields)


def save(proto: onnx.ModelProto, folder: Path, name: str = "net") -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(proto, str(path))
    return path


def conv(x: str, y: str, w: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, w], [y], name=f"{y}_conv", pads=[1, 1, 1, 1], **attributes)


def relu(x: str, y: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [x], [y], name=f"{y}_relu")


def classifier(x: str, y: str = "y") -> list[onnx.NodeProto]:
    return [
        helper.make_node("GlobalAveragePool", [x], [f"{y}_pooled"]),
        helper.make_node("Flatten", [f"{y}_pooled"], [f"{y}_flat"]),
        helper.make_node("Gemm", [f"{y}_flat", "fc"], [y], transB=1),
    ]


IMAGE = {"x": (FLOAT, ["N", 3, 16, 16])}
LOGITS = {"y": (FLOAT, ["N", 10])}
FC = weight("fc", 10, CHANNELS)
W0, W1, W2 = weight("w0", CHANNELS, 3, 3, 3), weight("w1", CHANNELS, CHANNELS, 3, 3), weight("w2", CHANNELS, CHANNELS, 3, 3)


def chain(batch: int | str = "N") -> onnx.ModelProto:
    nodes = [conv("x", "a", "w0"), relu("a", "b"), conv("b", "c", "w1", strides=[2, 2]), relu("c", "d"), *classifier("d")]
    return model(nodes, {"x": (FLOAT, [batch, 3, 16, 16])}, {"y": (FLOAT, [batch, 10])}, [W0, W1, FC])


def nhwc_chain() -> onnx.ModelProto:
    proto = chain()
    proto.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", FLOAT, ["N", 16, 16, 3]))
    return proto


def residual() -> onnx.ModelProto:
    nodes = [conv("x", "a", "w0"), relu("a", "b"), conv("b", "c", "w1"), relu("c", "d"), conv("d", "e", "w2")]
    nodes += [helper.make_node("Add", ["b", "e"], ["f"]), relu("f", "g"), *classifier("g")]
    return model(nodes, IMAGE, LOGITS, [W0, W1, W2, FC])


def branching() -> onnx.ModelProto:
    """Three branches that are written breadth first."""
    nodes = [conv("x", "a", "w0"), conv("a", "p1", "w1"), conv("a", "q1", "w2"), conv("a", "r1", "w1")]
    nodes += [relu("p1", "p2"), relu("q1", "q2"), relu("r1", "r2")]
    nodes += [helper.make_node("Sum", ["p2", "q2", "r2"], ["s"]), *classifier("s")]
    return model(nodes, IMAGE, LOGITS, [W0, W1, W2, FC])


def skip_from_input() -> onnx.ModelProto:
    nodes = [conv("x", "a", "w0"), relu("a", "b"), helper.make_node("Concat", ["b", "x"], ["c"], axis=1)]
    nodes += [conv("c", "d", "w3"), relu("d", "e"), *classifier("e")]
    return model(nodes, IMAGE, LOGITS, [W0, weight("w3", CHANNELS, CHANNELS + 3, 3, 3), FC])


def early_output() -> onnx.ModelProto:
    """An exit that hangs on b, a tensor that is an output and goes on (d), and the late answer."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), conv("b", "c", "w1"), relu("c", "d"), *classifier("b", "exit")]
    nodes += [conv("d", "e", "w2"), relu("e", "f"), *classifier("f")]
    outputs = {"exit": (FLOAT, ["N", 10]), "d": (FLOAT, ["N", CHANNELS, 16, 16]), **LOGITS}
    return model(nodes, IMAGE, outputs, [W0, W1, W2, FC])


def shared_weight() -> onnx.ModelProto:
    nodes = [conv("x", "a", "w0"), relu("a", "b"), conv("b", "c", "w1"), relu("c", "d"), conv("d", "e", "w1"), relu("e", "f")]
    return model([*nodes, *classifier("f")], IMAGE, LOGITS, [W0, W1, FC])


def constants() -> onnx.ModelProto:
    """Weights as Constant and ConstantOfShape nodes, and one that is computed from weights and used at two places."""
    shape = numpy_helper.from_array(np.array([CHANNELS, CHANNELS, 3, 3], np.int64), "shape")
    tenth = numpy_helper.from_array(np.array([0.1], np.float32), "")
    nodes = [
        helper.make_node("Constant", [], ["w0"], value=W0),
        helper.make_node("ConstantOfShape", ["shape"], ["flat"], value=tenth),
        helper.make_node("Mul", ["flat", "w1"], ["scaled"]),
        conv("x", "a", "w0"),
        relu("a", "b"),
        conv("b", "c", "scaled"),
        relu("c", "d"),
        conv("d", "e", "scaled"),
        relu("e", "f"),
        *classifier("f"),
    ]
    return model(nodes, IMAGE, LOGITS, [shape, W1, FC])


def weights_as_inputs() -> onnx.ModelProto:
    proto = chain()
    proto.ir_version = 3
    proto.opset_import[0].version = 8
    proto.graph.node[-1].input.append("bias")
    proto.graph.initializer.append(weight("bias", 10))
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, FLOAT, list(tensor.dims)))
    return proto


def two_inputs() -> onnx.ModelProto:
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *classifier("b", "seen"), helper.make_node("MatMul", ["z", "u"], ["said"])]
    nodes += [helper.make_node("Add", ["seen", "said"], ["sum"]), helper.make_node("Softmax", ["sum"], ["y"])]
    nodes += [helper.make_node("ArgMax", ["sum"], ["best"], axis=1, keepdims=0)]
    inputs = {**IMAGE, "z": (FLOAT, ["N", 5])}
    return model(nodes, inputs, {"best": (TensorProto.INT64, ["N"]), **LOGITS}, [W0, FC, weight("u", 5, 10)])


def captured() -> onnx.ModelProto:
    """The branches of an If read a tensor and a weight from outside, and a second If stands inside one of them."""

    def branch(name: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)])

    inner = helper.make_node(
        "If",
        ["yes"],
        ["t"],
        then_branch=branch("tt", [helper.make_node("Add", ["b", "bias"], ["tt1"])]),
        else_branch=branch("te", [helper.make_node("Sub", ["b", "bias"], ["te1"])]),
    )
    outer = helper.make_node(
        "If",
        ["yes"],
        ["c"],
        then_branch=branch("then", [inner]),
        else_branch=branch("else", [helper.make_node("Mul", ["b", "bias"], ["e1"])]),
    )
    nodes = [conv("x", "a", "w0"), relu("a", "b"), helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)]
    nodes += [helper.make_node("Greater", ["total", "zero"], ["yes"]), conv("b", "m", "w1"), outer]
    nodes += [helper.make_node("Add", ["c", "m"], ["d"]), relu("d", "e"), *classifier("e")]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    return model(nodes, IMAGE, LOGITS, [W0, W1, FC, weight("bias", CHANNELS, 1, 1), zero])


def shape_arithmetic() -> onnx.ModelProto:
    """Shape -> Slice -> Concat -> Reshape: an integer tensor that crosses; everything but the channels is dynamic."""
    start, stop, minus = (
        numpy_helper.from_array(np.array([v], np.int64), n) for n, v in (("at0", 0), ("at2", 2), ("minus", -1))
    )
    nodes = [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Slice", ["shape", "at0", "at2"], ["front"])]
    nodes += [helper.make_node("Concat", ["front", "minus"], ["target"], axis=0), relu("x", "r")]
    nodes += [helper.make_node("Mul", ["r", "r"], ["s"]), helper.make_node("Reshape", ["s", "target"], ["t"])]
    nodes += [helper.make_node("ReduceMean", ["t"], ["y"], axes=[2], keepdims=0)]
    return model(nodes, {"x": (FLOAT, ["N", 3, "H", "W"])}, {"y": (FLOAT, ["N", 3])}, [start, stop, minus])


def contrib_operator() -> onnx.ModelProto:
    """An operator of the runtime that shape inference does not know, in the middle."""
    nodes = [conv("x", "a", "w0"), helper.make_node("Gelu", ["a"], ["b"], domain="com.microsoft")]
    nodes += [conv("b", "c", "w1"), relu("c", "d"), *classifier("d")]
    proto = model(nodes, IMAGE, LOGITS, [W0, W1, FC])
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def local_function() -> onnx.ModelProto:
    body = [helper.make_node("Sigmoid", ["v"], ["s"]), helper.make_node("Mul", ["v", "s"], ["out"])]
    function = helper.make_function("ours", "Swish", ["v"], ["out"], body, [helper.make_opsetid("", 17)])
    nodes = [conv("x", "a", "w0"), helper.make_node("Swish", ["a"], ["b"], domain="ours"), conv("b", "c", "w1")]
    nodes += [helper.make_node("Swish", ["c"], ["d"], domain="ours"), *classifier("d")]
    proto = model(nodes, IMAGE, LOGITS, [W0, W1, FC], functions=[function])
    proto.opset_import.append(helper.make_opsetid("ours", 1))
    return proto


def literal_one() -> onnx.ModelProto:
    """The batch is declared open, but a Reshape says 1."""
    proto = chain()
    flatten = next(node for node in proto.graph.node if node.op_type == "Flatten")
    flatten.op_type = "Reshape"
    flatten.input.append("one_row")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, CHANNELS], np.int64), "one_row"))
    return proto


def sequence_and_half_types() -> onnx.ModelProto:
    """A sequence and a bfloat16 tensor, which no array carries: nothing is cut there."""
    nodes = [conv("x", "a", "w0"), helper.make_node("SplitToSequence", ["a"], ["parts"], axis=1)]
    nodes += [helper.make_node("ConcatFromSequence", ["parts"], ["b"], axis=1), relu("b", "c")]
    nodes += [helper.make_node("Cast", ["c"], ["narrow"], to=TensorProto.BFLOAT16)]
    nodes += [helper.make_node("Cast", ["narrow"], ["d"], to=FLOAT), *classifier("d")]
    return model(nodes, IMAGE, LOGITS, [W0, FC])


def quantised() -> onnx.ModelProto:
    """Two convolutions between QuantizeLinear and DequantizeLinear; the int8 weight of both is the same."""

    def scalar(name: str, value: float, dtype: type) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype), name)

    def both(x: str, y: str) -> list[onnx.NodeProto]:
        quantise = helper.make_node("QuantizeLinear", [x, "scale", "zero"], [f"{y}q"])
        return [quantise, helper.make_node("DequantizeLinear", [f"{y}q", "scale", "zero"], [y])]

    integers = np.random.default_rng(4).integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)
    nodes = [helper.make_node("DequantizeLinear", ["wq", "wscale", "wzero"], ["w"]), conv("x", "a", "w0"), *both("a", "b")]
    nodes += [conv("b", "c", "w"), relu("c", "d"), *both("d", "e"), conv("e", "f", "w"), *classifier("f")]
    weights = [scalar("scale", 0.05, np.float32), scalar("zero", 128, np.uint8), scalar("wscale", 0.002, np.float32)]
    weights += [scalar("wzero", 0, np.int8), numpy_helper.from_array(integers, "wq"), W0, FC]
    return model(nodes, IMAGE, LOGITS, weights)


def loop() -> onnx.ModelProto:
    """The body of a Loop reads a tensor from outside; what the loop gives has a shape that inference cannot tell."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "a"], ["next"]), helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), helper.make_tensor_value_info("next", FLOAT, None)],
    )
    nodes = [conv("x", "a", "w0"), relu("a", "b"), helper.make_node("Loop", ["times", "yes", "b"], ["c"], body=body)]
    times = numpy_helper.from_array(np.array(3, np.int64), "times")
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model([*nodes, relu("c", "d"), *classifier("d")], IMAGE, LOGITS, [W0, FC, times, yes])


def constant_output() -> onnx.ModelProto:
    """One output depends on weights alone."""
    proto = chain()
    proto.graph.node.append(helper.make_node("Mul", ["fc", "fc"], ["squares"]))
    proto.graph.output.append(helper.make_tensor_value_info("squares", FLOAT, [10, CHANNELS]))
    return proto
