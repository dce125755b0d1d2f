"""Quantised models: what crosses is the quantised tensor, once, and the answer is that of the uncut file to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitinfer.bench.traps.parts import (
    CHANNELS,
    FLOAT,
    IMAGES,
    INT4,
    ROWS,
    SIDE,
    UINT4,
    UINT8,
    ModelProto,
    NodeProto,
    TensorProto,
    classifier,
    constant,
    conv,
    feeds,
    image_net,
    net,
    node,
    relu,
    value,
    weight,
    whole,
)
from splitinfer.bench.traps.trap import cut


def qdq_uint8() -> ModelProto:
    """QuantizeLinear and DequantizeLinear around everything, uint8, one scale a tensor."""
    nodes = [
        *_both("x", "xq", "xf"),
        *_weight("w0"),
        conv("xf", "a", "w0"),
        relu("a", "b"),
        *_both("b", "bq", "bf", zero="low"),
    ]
    nodes += [*_weight("w1"), conv("bf", "c", "w1"), relu("c", "d"), *_both("d", "dq", "df", zero="low"), *classifier("df")]
    return _qdq_net(nodes, [*_stored("w0", 3), *_stored("w1")])


def qdq_int8_per_channel() -> ModelProto:
    """int8 activations, and int8 weights with one scale a channel."""
    nodes = [*_both("x", "xq", "xf", zero="zero8"), _weight("w0", axis=0)[0], conv("xf", "a", "w0"), relu("a", "b")]
    nodes += [
        *_both("b", "bq", "bf", zero="zero8"),
        _weight("w1", axis=0)[0],
        conv("bf", "c", "w1"),
        *_both("c", "cq", "cf", zero="zero8"),
    ]
    weights = [*_stored("w0", 3, channels=True), *_stored("w1", channels=True), constant("zero8", np.int8(0))]
    return _qdq_net([*nodes, relu("cf", "d"), *classifier("d")], weights)


def rounding_at_ties() -> ModelProto:
    """Many sums lie half-way between two integers: a unit of DequantizeLinear, Conv and QuantizeLinear must stay whole."""
    nodes = [
        *_both("x", "xq", "xf", "tenth"),
        *_weight("w0"),
        conv("xf", "a", "w0"),
        relu("a", "b"),
        *_both("b", "bq", "bf", "hundredth", "low"),
    ]
    scales = [constant("tenth", np.float32(0.1)), constant("hundredth", np.float32(0.01))]
    return _qdq_net([*nodes, *classifier("bf")], [*_stored("w0", 3), *scales])


def qdq_int4_weights() -> ModelProto:
    """Weights of four bits in blocks of sixteen, behind a DequantizeLinear of their own."""
    from onnx import helper

    values = whole(32, 16, below=15).ravel() - 7
    packed = helper.make_tensor("w4", INT4, [32, 16], values.tolist())
    scales = constant("w4_scale", (0.02 + 0.01 * np.arange(32).reshape(2, 16)).astype(np.float32))
    nodes = [node("MatMul", "x up", "a"), relu("a", "b"), node("DequantizeLinear", "w4 w4_scale", "w", axis=0, block_size=16)]
    nodes += [node("MatMul", "b w", "c"), relu("c", "d"), node("MatMul", "d down", "y")]
    ends = [value("x", "N 8")], [value("y", "N 8")]
    return net(nodes, *ends, [packed, scales, weight("up", 8, 32), weight("down", 16, 8)], opset=21)


def dequantised_twice() -> ModelProto:
    """One DequantizeLinear is read by the head and, around a residual, by the tail: each makes its own from what crosses."""
    nodes = [conv("x", "a", "w0"), relu("a", "b"), *_both("b", "bq", "bf"), *_weight("w1"), conv("bf", "c", "w1")]
    nodes += [*_both("c", "cq", "cf"), node("Add", "bf cf", "s"), *_both("s", "sq", "sf"), relu("sf", "d"), *classifier("d")]
    return _qdq_net(nodes, [weight("w0", CHANNELS, 3, 3, 3), *_stored("w1")])


def qlinear_conv() -> ModelProto:
    """Operators on quantised tensors (QLinearConv, QLinearMatMul), which no float stands between."""
    nodes = [node("QuantizeLinear", "x scale zero", "xq"), _qconv("xq", "aq", "w0"), _qconv("aq", "bq", "w1")]
    nodes += [node("MaxPool", "bq", "pq", kernel_shape=[2, 2], strides=[2, 2]), node("DequantizeLinear", "pq scale zero", "d")]
    return _qdq_net([*nodes, *classifier("d")], [*_stored("w0", 3), *_stored("w1")])


def qdq_uint4() -> ModelProto:
    """Activations of four bits between QuantizeLinear and DequantizeLinear: they cross as eight."""
    nodes = [node("QuantizeLinear", "b coarse zero4", "bq"), node("DequantizeLinear", "bq coarse zero4", "bf"), relu("bf", "m")]
    from onnx import helper

    return image_net(nodes, [constant("coarse", np.float32(0.2)), helper.make_tensor("zero4", UINT4, [], [0])], opset=21)


def scale_of_the_head() -> ModelProto:
    """What a DequantizeLinear reads besides the integers is computed by the head: to be made again, it must cross, too."""
    nodes = [node("DynamicQuantizeLinear", "b", "bq bs bz"), node("DequantizeLinear", "bq bs bz", "bf"), conv("bf", "p", "w2")]
    return image_net([*nodes, relu("p", "m")], [weight("w2", CHANNELS, CHANNELS, 3, 3)])


def dynamic_quantisation() -> ModelProto:
    """DynamicQuantizeLinear and MatMulInteger: scale and zero point are computed, and cross beside the integers."""
    nodes = [node("MatMul", "x up", "a"), relu("a", "b"), node("DynamicQuantizeLinear", "b", "bq bs bz")]
    nodes += [node("MatMulInteger", "bq wq bz wz", "c"), node("Cast", "c", "real", to=1), node("Mul", "bs ws", "factor")]
    nodes += [node("Mul", "real factor", "d"), node("Relu", "d", "y")]
    weights = [
        weight("up", 8, 64),
        constant("wq", (whole(64, 16, below=255) - 127).astype(np.int8)),
        constant("wz", np.int8(0)),
    ]
    return net(nodes, [value("x", "N 8")], [value("y", "N 16")], [*weights, constant("ws", np.float32(0.01))])


def qdq_of_the_runtime() -> ModelProto:
    """QuantizeLinear and DequantizeLinear of the domain com.microsoft, sixteen bits wide, which ONNX cannot infer."""
    domain = {"domain": "com.microsoft"}
    nodes = [
        node("QuantizeLinear", "b scale16 zero16", "bq", **domain),
        node("DequantizeLinear", "bq scale16 zero16", "bf", **domain),
    ]
    weights = [constant("scale16", np.float32(0.0005)), constant("zero16", np.uint16(32768))]
    return image_net([*nodes, relu("bf", "m")], weights, com_microsoft=1)


def integer_input() -> ModelProto:
    """The input is uint8, and the runtime quantises a float kernel because its unit ends in QuantizeLinear."""
    nodes = [node("DequantizeLinear", "x scale zero", "xf"), conv("xf", "a", "w0"), relu("a", "b"), *_both("b", "bq", "bf")]
    return _qdq_net([*nodes, *classifier("bf")], [weight("w0", CHANNELS, 3, 3, 3)], UINT8)


def quantised_output() -> ModelProto:
    """What a DequantizeLinear makes is an output, and the quantised tensor is another."""
    nodes = [node("MatMul", "x w", "a"), *_both("a", "aq", "y"), relu("y", "b"), node("MatMul", "b w", "z")]
    outputs = [value("y", "N 8"), value("aq", "N 8", UINT8), value("z", "N 8")]
    return net(nodes, [value("x", "N 8")], outputs, [*_scales(), weight("w", 8, 8)])


def annotated() -> ModelProto:
    """The graph carries quantization_annotation, which names tensors that a half may not have."""
    model = qdq_uint8()
    annotation = model.graph.quantization_annotation.add(tensor_name="bq")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    annotation.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="zero")
    return model


def _qdq_net(nodes: list[NodeProto], weights: list[TensorProto], kind: int = FLOAT) -> ModelProto:
    """From an image to logits."""
    return net(
        nodes,
        [value("x", f"N 3 {SIDE} {SIDE}", kind)],
        [value("y", "N 10")],
        [*_scales(), *weights, weight("fc", 10, CHANNELS)],
    )


def _both(x: str, q: str, y: str, scale: str = "scale", zero: str = "zero") -> list[NodeProto]:
    return [node("QuantizeLinear", [x, scale, zero], q), node("DequantizeLinear", [q, scale, zero], y)]


def _weight(name: str, **attributes: Any) -> list[NodeProto]:
    return [node("DequantizeLinear", f"{name}_q {name}_scale {name}_zero", name, **attributes)]


def _stored(name: str, inputs: int = CHANNELS, channels: bool = False) -> list[TensorProto]:
    """An int8 kernel with its scale, or its scales, and zero points."""
    kernel = (whole(CHANNELS, inputs, 3, 3, below=255) - 127).astype(np.int8)
    scale = (0.001 + 0.0003 * np.arange(CHANNELS)).astype(np.float32) if channels else np.float32(0.002)
    zero = np.zeros(np.shape(scale), np.int8)
    return [constant(f"{name}_q", kernel), constant(f"{name}_scale", scale), constant(f"{name}_zero", zero)]


def _scales() -> list[TensorProto]:
    """With a zero point in the middle, and one for what a Relu has left."""
    return [constant("scale", np.float32(0.03)), constant("zero", np.uint8(128)), constant("low", np.uint8(0))]


def _qconv(x: str, y: str, w: str) -> NodeProto:
    inputs = f"{x} scale zero {w}_q {w}_scale {w}_zero scale zero"
    return node("QLinearConv", inputs, y, pads=[1, 1, 1, 1])


_BYTES = feeds(*({"x": whole(n, 3, SIDE, SIDE, below=256, kind="uint8")} for n in (1, 2, 3)))

TRAPS = (
    cut(qdq_uint8, IMAGES, "xq", "bq", "dq", never={"xf", "bf", "df"}, exact=True),
    cut(qdq_int8_per_channel, IMAGES, "xq", "bq", "cq", never={"xf", "bf", "cf"}, exact=True),
    cut(rounding_at_ties, IMAGES, "xq", "bq", never={"xf", "a", "b", "bf"}, exact=True),
    cut(qdq_int4_weights, ROWS, "b"),
    cut(dequantised_twice, IMAGES, "bq", {"bq", "cq"}, "sq", never={"bf", "cf", "sf"}, exact=True),
    cut(qlinear_conv, IMAGES, "xq", "aq", "bq", "pq", exact=True),
    cut(qdq_uint4, IMAGES, "bq", "m", never={"bf"}),
    cut(scale_of_the_head, IMAGES, "bq", "m", never={"bf"}),
    cut(dynamic_quantisation, ROWS, "b", "bq", exact=True),
    cut(qdq_of_the_runtime, IMAGES, "bq", "m", never={"bf"}),
    cut(integer_input, _BYTES, "x", "bq", never={"xf", "bf"}),
    cut(quantised_output, ROWS, "aq", "b", exact=True),
    cut(annotated, IMAGES, "xq", "bq", "dq", never={"xf", "bf", "df"}, exact=True),
)
