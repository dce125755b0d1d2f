"""Bundles to measure on: well-known networks, and a toy whose tensors and work have chosen sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from splitinfer.bench.models import efficientnet_lite0, light
from splitinfer.build import BuildOptions, build
from splitinfer.bundle import Bundle

LITE0 = "efficientnet_lite0"


def save(name: str, folder: Path) -> Path:
    """Writes a network of `bench.models` as an ONNX file: `efficientnet_lite0`, or one of `LIGHT` with "light_" before it."""
    path = folder / f"{name}.onnx"
    onnx.save(efficientnet_lite0() if name == LITE0 else light(name), path)
    return path


def build_named(name: str, folder: Path, cuts: str | tuple[str, ...] = "frontier") -> Bundle:
    """A bundle of a network of `bench.models`, with lossless codecs."""
    return build(save(name, folder), folder / f"{name}.bundle", BuildOptions(name=name, cuts=cuts, overwrite=True))


def toy(folder: Path, sizes: tuple[int, ...] = (1000, 500), work: int = 0) -> Bundle:
    """A chain that halves nothing and learns nothing: tensors of these many floats, each the start of the one before, doubled.

    Args:
        folder: where to write.
        sizes: float32 values of the input, of each inner tensor, and of the output, each at most the one before.
        work: matrix products of 256 x 256 in a segment of their own at the end, so that it takes time.

    Returns:
        A bundle with a cut at the input and at each inner tensor (with `work`, at the last one as well).
    """
    nodes, weights = [], [numpy_helper.from_array(np.full(1, 2, np.float32), "two"), _indices("zero", 0), _indices("axis", 1)]
    for index, size in enumerate(sizes[1:], start=1):
        weights.append(_indices(f"size{index}", size))
        nodes.append(helper.make_node("Slice", [f"t{index - 1}", "zero", f"size{index}", "axis"], [f"s{index}"]))
        nodes.append(helper.make_node("Mul", [f"s{index}", "two"], [f"t{index}"]))
    last = f"t{len(sizes) - 1}"
    if work:
        nodes += _work(last, work)
        weights.append(numpy_helper.from_array(np.full((256, 256), 1 / 256, np.float32), "square"))
        last = "out"
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("t0", sizes[0]), (last, sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "toy", infos[:1], infos[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "toy.onnx")
    inner = tuple(f"t{index}" for index in range(1, len(sizes) - (0 if work else 1)))
    return build(folder / "toy.onnx", folder / "toy.bundle", BuildOptions(name="toy", cuts=inner, overwrite=True))


def _work(source: str, products: int) -> list[onnx.NodeProto]:
    """Makes out = source + mean of a product of matrices that grows from the source's mean."""
    nodes = [
        helper.make_node("ReduceMean", [source], ["w.mean"], axes=[0, 1]),
        helper.make_node("Add", ["w.mean", "square"], ["w0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"w{i}", "square"], [f"w{i + 1}"]) for i in range(products)]
    nodes.append(helper.make_node("ReduceMean", [f"w{products}"], ["w.end"], axes=[0, 1]))
    nodes.append(helper.make_node("Add", [source, "w.end"], ["out"]))
    return nodes


def _indices(name: str, value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(1, value, np.int64), name)
