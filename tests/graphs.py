"""Networks in small, each with the way of branching that a family is known for; large enough for cuts to pay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import model


class Net:
    """A graph that grows node by node. A tensor is called like the node that makes it."""

    def __init__(self, channels: int, side: int) -> None:
        self.input = {"x": (TensorProto.FLOAT, ["N", channels, side, side])}
        self.channels = {"x": channels}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def conv(self, x: str, channels: int, stride: int = 1, size: int = 3, depthwise: bool = False, active: bool = True) -> str:
        """Convolution, then ReLU unless it is linear."""
        name = f"t{len(self.nodes)}"
        groups = channels if depthwise else 1
        kernel = np.zeros((channels, self.channels[x] // groups, size, size), np.float32)
        self.weights.append(numpy_helper.from_array(kernel, f"{name}.w"))
        attributes = {"strides": [stride] * 2, "pads": [size // 2] * 4, "group": groups}
        y = self._add("Conv", [x, f"{name}.w"], name, channels, **attributes)
        return self._add("Relu", [y], f"{name}.relu", channels) if active else y

    def join(self, op: str, parts: Sequence[str]) -> str:
        """Add or Concat."""
        counts = [self.channels[part] for part in parts]
        attributes = {"axis": 1} if op == "Concat" else {}
        return self._add(op, parts, f"t{len(self.nodes)}", sum(counts) if op == "Concat" else counts[0], **attributes)

    def pool(self, x: str) -> str:
        """Half the side."""
        return self._add("MaxPool", [x], f"t{len(self.nodes)}", self.channels[x], kernel_shape=[2, 2], strides=[2, 2])

    def grow(self, x: str, channels: int) -> str:
        """Twice the side."""
        name = f"t{len(self.nodes)}"
        kernel = np.zeros((self.channels[x], channels, 2, 2), np.float32)
        self.weights.append(numpy_helper.from_array(kernel, f"{name}.w"))
        return self._add("ConvTranspose", [x, f"{name}.w"], name, channels, strides=[2, 2], kernel_shape=[2, 2])

    def done(self, x: str, classes: int = 10) -> onnx.ModelProto:
        """With a classifier behind."""
        self.weights.append(numpy_helper.from_array(np.zeros((classes, self.channels[x]), np.float32), "fc"))
        self.nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"]))
        self.nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        self.nodes.append(helper.make_node("Gemm", ["flat", "fc"], ["y"], transB=1))
        return model(self.nodes, self.input, {"y": (TensorProto.FLOAT, ["N", classes])}, self.weights)

    def map(self, x: str) -> onnx.ModelProto:
        """With a map as the answer."""
        y = self.conv(x, 1, size=1, active=False)
        return model(self.nodes, self.input, {y: (TensorProto.FLOAT, None)}, self.weights)

    def _add(self, op: str, inputs: Sequence[str], name: str, channels: int, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.channels[name] = channels
        return name


def inverted_residuals() -> onnx.ModelProto:
    """As in MobileNetV2 and EfficientNet: wide inside a block, narrow between blocks."""
    net = Net(3, 96)
    x = net.conv("x", 16, stride=2)
    for channels, stride, repeats in ((16, 2, 2), (24, 2, 3), (48, 2, 3), (80, 1, 2)):
        for index in range(repeats):
            y = net.conv(x, net.channels[x] * 6, size=1)
            y = net.conv(y, net.channels[y], stride=stride if index == 0 else 1, depthwise=True)
            y = net.conv(y, channels, size=1, active=False)
            x = net.join("Add", [x, y]) if index else y
    return net.done(x)


def inception() -> onnx.ModelProto:
    """Four branches, written one after the other, then Concat."""
    net = Net(3, 96)
    x = net.pool(net.conv("x", 32, stride=2))
    for width in (8, 16, 24):
        one = net.conv(x, width, size=1)
        three = net.conv(net.conv(x, width, size=1), width * 2)
        five = net.conv(net.conv(x, width // 2, size=1), width, size=5)
        narrow = net.conv(x, width, size=1)
        x = net.pool(net.join("Concat", [one, three, five, narrow]))
    return net.done(x)


def u_net() -> onnx.ModelProto:
    """Three long skips from the way down to the way up; many bands in, so that the skips are the smaller load."""
    net = Net(24, 64)
    skips, x = [], "x"
    for channels in (4, 8, 16):
        x = net.conv(net.conv(x, channels), channels)
        skips.append(x)
        x = net.pool(x)
    x = net.conv(net.conv(x, 192), 192)
    for skip in reversed(skips):
        x = net.join("Concat", [net.grow(x, net.channels[skip]), skip])
        x = net.conv(x, net.channels[skip])
    return net.map(x)


def residuals() -> onnx.ModelProto:
    """As in ResNet: blocks of two convolutions with a skip, a projection where the side is halved."""
    net = Net(3, 96)
    x = net.pool(net.conv("x", 16, stride=2))
    for channels in (16, 32, 64):
        stride = 1 if channels == 16 else 2
        y = net.conv(net.conv(x, channels, stride=stride), channels, active=False)
        x = net.join("Add", [net.conv(x, channels, stride=stride, size=1, active=False), y])
        y = net.conv(net.conv(x, channels), channels, active=False)
        x = net.join("Add", [x, y])
    return net.done(x)


def two_rivers() -> onnx.ModelProto:
    """Two inputs with chains of their own that meet late: prefixes of one order leave the other chain untouched."""
    net = Net(3, 64)
    net.input["z"] = (TensorProto.FLOAT, ["N", 3, 64, 64])
    net.channels["z"] = 3
    ends = []
    for x in ("x", "z"):
        for channels in (16, 24, 32):
            x = net.conv(x, channels, stride=2)
        ends.append(net.conv(x, 32))
    return net.done(net.conv(net.join("Concat", ends), 64))
