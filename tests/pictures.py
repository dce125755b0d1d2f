"""A small net for small pictures, and pictures for it: what tests of the command line and of the demo run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from PIL import Image

from tests.models import model, weight

SIDE = 32


def picture_net() -> onnx.ModelProto:
    """Three convolutions with a skip, ten classes, for 32x32 pictures: x -> y."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["r1", "c2"], ["a"]),
        helper.make_node("Relu", ["a"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w4"], ["y"], transB=1),
    ]
    weights = [weight("w1", 16, 3, 3, 3), weight("w2", 16, 16, 3, 3), weight("w3", 32, 16, 3, 3), weight("w4", 10, 32)]
    inputs = {"x": (TensorProto.FLOAT, ["N", 3, SIDE, SIDE])}
    return model(nodes, inputs, {"y": (TensorProto.FLOAT, ["N", 10])}, weights)


def pictures(n: int) -> npt.NDArray[np.uint8]:
    """Smooth random pictures, uint8 [n, 32, 32, 3]."""
    coarse = np.random.default_rng(3).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in coarse])
