"""Tiny bundles, written by hand: no build, no trained weights, the same bytes each time.

`tiny_bundle` is a net with everything that makes cutting hard:

    x -> conv1 -> relu -> a -> mean -> gate -> flatten -> early         an output that the head makes
    a -> conv2(w) -> relu -> b                                          gate passes by unread
    add(a, b) -> mul(gate) -> conv2(w) -> mean -> flatten -> matmul(fc) -> logits

One line is one segment; the weight w is used by two of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitinfer.bundle import INLINE_BYTES, Bundle, CutEntry, Draft, SegmentDraft, write
from splitinfer.model import Array, TensorSpec


@dataclass(frozen=True)
class Net:
    """A net that is cut already: nodes of each segment, tensors at each cut."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cuts: tuple[tuple[TensorSpec, ...], ...]
    segments: tuple[tuple[NodeProto, ...], ...]
    weights: Mapping[str, Array]

    def whole(self) -> bytes:
        """The uncut model, weights inside."""
        nodes = [node for segment in self.segments for node in segment]
        constants = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        return _model(nodes, self.inputs, self.outputs, constants).SerializeToString(deterministic=True)

    def draft(self, **changes: Any) -> Draft:
        """What `write` takes; `changes` are fields of the draft."""
        stored = {_sha256(array.tobytes()): array.tobytes() for array in self.weights.values() if array.nbytes > INLINE_BYTES}
        fields: dict[str, Any] = {
            "name": self.name,
            "version": "1",
            "inputs": self.inputs,
            "outputs": self.outputs,
            "cuts": tuple(self._cut(index) for index in range(len(self.cuts))),
            "segments": tuple(self._segment(index) for index in range(len(self.segments))),
            "weights": stored,
            "batches": True,
            "build_info": {"by": "tests/bundles.py"},
        }
        return Draft(**{**fields, **changes})

    def _cut(self, index: int) -> CutEntry:
        names = "+".join(spec.name for spec in self.cuts[index])
        return CutEntry(_sha256(f"{self.name}/{index}/{names}".encode())[:12], names or "end", self.cuts[index])

    def _segment(self, index: int) -> SegmentDraft:
        nodes = self.segments[index]
        read = {name for node in nodes for name in node.input}
        made = {name for node in nodes for name in node.output}
        inputs = [spec for spec in self.cuts[index] if spec.name in read]
        wanted = {spec.name: spec for spec in (*self.cuts[index + 1], *self.outputs) if spec.name in made}
        used = {name: self.weights[name] for name in sorted(read & self.weights.keys())}
        graph = _model(nodes, inputs, tuple(wanted.values()), [_initializer(name, array) for name, array in used.items()])
        return SegmentDraft(
            graph=graph.SerializeToString(deterministic=True),
            weights=tuple({_sha256(array.tobytes()) for array in used.values() if array.nbytes > INLINE_BYTES}),
            nodes=len(nodes),
            operations=1000 * len(nodes),
            inputs=tuple(spec.name for spec in inputs),
            outputs=tuple(wanted),
        )


def tiny_net(seed: int = 0) -> Net:
    """The net in the docstring of this module; batch dynamic, 3x8x8 in, 40 logits and 8 early features out."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    x, a, b = (_f32("x", None, 3, 8, 8), _f32("a", None, 8, 8, 8), _f32("b", None, 8, 8, 8))
    gate, early, logits = _f32("gate", None, 8, 1, 1), _f32("early", None, 8), _f32("logits", None, 40)
    head = (
        _node("Conv", ["x", "w1"], "c1", pads=[1, 1, 1, 1]),
        _node("Relu", ["c1"], "a"),
        _node("GlobalAveragePool", ["a"], "gate"),
        _node("Flatten", ["gate"], "early"),
    )
    middle = (_node("Conv", ["a", "w"], "c2", pads=[1, 1, 1, 1]), _node("Relu", ["c2"], "b"))
    tail = (
        _node("Add", ["a", "b"], "sum"),
        _node("Mul", ["sum", "gate"], "gated"),
        _node("Conv", ["gated", "w"], "c3", pads=[1, 1, 1, 1]),
        _node("GlobalAveragePool", ["c3"], "mean"),
        _node("Flatten", ["mean"], "flat"),
        _node("MatMul", ["flat", "fc"], "logits"),
    )
    weights = {"w1": weight(8, 3, 3, 3), "w": weight(8, 8, 3, 3), "fc": weight(8, 40)}
    return Net("tiny", (x,), (early, logits), ((x,), (a, gate), (a, gate, b), ()), (head, middle, tail), weights)


def long_net(nodes: int = 400, size: int = 512) -> Net:
    """A chain of matrix products that takes seconds, with a single segment and a single weight."""
    x, y = _f32("x", size, size), _f32("y", size, size)
    names = ["x", *(f"t{i}" for i in range(1, nodes)), "y"]
    chain = tuple(_node("MatMul", [names[i], "w"], names[i + 1]) for i in range(nodes))
    return Net("long", (x,), (y,), ((x,), ()), (chain,), {"w": np.eye(size, dtype=np.float32)})


def tiny_bundle(path: Path, **changes: Any) -> Bundle:
    """Writes the tiny net; `changes` are fields of the draft."""
    return write(path, tiny_net().draft(**changes))


def tiny_input(batch: int = 1, seed: int = 1) -> dict[str, Array]:
    """An input of the tiny net."""
    return {"x": np.random.default_rng(seed).normal(size=(batch, 3, 8, 8)).astype(np.float32)}


def _f32(name: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


def _node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _model(
    nodes: Sequence[NodeProto], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], constants: Sequence[TensorProto]
) -> ModelProto:
    graph = helper.make_graph(nodes, "tiny", [_info(spec) for spec in inputs], [_info(spec) for spec in outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")


def _info(spec: TensorSpec) -> Any:
    shape = ["N" if dim is None else dim for dim in spec.shape]
    return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, shape)


def _initializer(name: str, array: Array) -> TensorProto:
    if array.nbytes <= INLINE_BYTES:
        return numpy_helper.from_array(array, name)
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", _sha256(array.tobytes())), ("offset", "0"), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
