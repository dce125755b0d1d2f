"""Writes quantised activations as uint8 instead of int8 where ONNX Runtime computes them so anyway.

On x86 the runtime turns each QuantizeLinear of type int8 that leads to one DequantizeLinear, and nowhere else, into one of type
uint8 with a zero point 128 higher (its QDQS8ToU8Transformer), and only nodes whose quantised inputs and outputs have one type
are computed in integers. A cut parts such a pair, the halves would keep int8 there, and the node beside the cut would be
computed in float: sums at a tie come out one step off. With the pair written as uint8 first, halves and whole are the same
nodes, and so the same numbers. On other processors the runtime leaves int8 alone, and so does this.
"""

from __future__ import annotations

import platform
from collections import Counter

import numpy as np
import onnx

from splitinfer.build.names import Names
from splitinfer.build.nodes import reads

_UNSIGNING = frozenset({"x86_64", "AMD64", "i386", "i686"})
_ZERO_POINT = 2
_OFFSET = 128


def unsign(model: onnx.ModelProto, machine: str = "") -> None:
    """Rewrites the pairs, in place.

    Args:
        model: in plain form.
        machine: kind of processor; by default this one.
    """
    graph = model.graph
    if (machine or platform.machine()) not in _UNSIGNING:
        return
    edges = Counter(name for node in graph.node for name in (*node.input, *(set(reads(node)) - set(node.input))))
    edges.update(value.name for value in graph.output)
    makers = {name: node for node in graph.node for name in node.output}
    points = {tensor.name: tensor for tensor in graph.initializer if _is_zero_point(tensor)}
    unsigned = _Unsigned(graph)
    for back in graph.node:
        there = makers.get(back.input[0]) if back.op_type == "DequantizeLinear" else None
        if there is None or there.op_type != "QuantizeLinear" or edges[there.output[0]] != 1 or edges[back.output[0]] != 1:
            continue
        if len(there.input) == len(back.input) == _ZERO_POINT + 1:
            old, same = (points.get(node.input[_ZERO_POINT]) for node in (there, back))
            if old is not None and same is not None and _value(old) == _value(same):
                _rewrite((there, back), unsigned.name(old))


def _is_zero_point(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_type == onnx.TensorProto.INT8 and list(tensor.dims) in ([], [1]))


def _value(tensor: onnx.TensorProto) -> int:
    return int(onnx.numpy_helper.to_array(tensor).reshape(-1)[0])


class _Unsigned:
    """Zero points as uint8, each made at first use."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._names = Names(graph)
        self._made: dict[str, str] = {}

    def name(self, old: onnx.TensorProto) -> str:
        """What the zero point is called that stands for an old one."""
        if old.name not in self._made:
            self._made[old.name] = self._names.fresh(f"{old.name}/unsigned")
            point = np.full(tuple(old.dims), _value(old) + _OFFSET, np.uint8)
            self._graph.initializer.append(onnx.numpy_helper.from_array(point, self._made[old.name]))
        return self._made[old.name]


def _rewrite(pair: tuple[onnx.NodeProto, onnx.NodeProto], zero_point: str) -> None:
    for node in pair:
        node.input[_ZERO_POINT] = zero_point
        for attribute in node.attribute:
            if attribute.name == "output_dtype" and attribute.i == onnx.TensorProto.INT8:
                attribute.i = onnx.TensorProto.UINT8
