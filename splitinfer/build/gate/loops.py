"""Loops that obviously never end: no number of turns, and a condition that nothing changes.

Obviously: followed through Identity, Cast and constants. What only a run can tell is left to the limits of the run.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable
from math import prod

import onnx
from onnx import TensorProto

from splitinfer.build.nodes import DEFAULT_DOMAINS, bodies, label
from splitinfer.errors import UnsupportedModel

TURNS_MAX = 1 << 31
"""A larger number of turns is none: exporters write 2**63 - 1 where they mean "until the condition is false"."""

_Known = ChainMap[str, int]

_SCALARS = frozenset({TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64})


def check(model: onnx.ModelProto) -> None:
    """Refuses a Loop that cannot end, wherever it stands.

    Raises:
        UnsupportedModel: names the loop.
    """
    _follow(model.graph, ChainMap())
    for function in model.functions:
        _follow_nodes(function.node, ChainMap())


def _follow(graph: onnx.GraphProto, outer: _Known) -> _Known:
    """The tensors of one element that are known in a graph; what is known outside it is seen inside."""
    known = outer.new_child()
    for tensor in graph.initializer:
        known.update(_value(tensor.name, tensor))
    return _follow_nodes(graph.node, known)


def _follow_nodes(nodes: Iterable[onnx.NodeProto], known: _Known) -> _Known:
    for node in nodes:
        standard = node.domain in DEFAULT_DOMAINS
        source, made = (next(iter(names), "") for names in (node.input, node.output))
        if standard and node.op_type == "Constant":
            for found in node.attribute:
                known.update(_value(made, found.t) if found.HasField("t") else {})
        elif standard and node.op_type in ("Identity", "Cast") and source in known:
            known[made] = known[source]
        for body in bodies(node):
            if standard and node.op_type == "Loop":
                _check_loop(node, body, known)
            else:
                _follow(body, known)
    return known


def _check_loop(node: onnx.NodeProto, body: onnx.GraphProto, known: _Known) -> None:
    turns, condition = (*node.input, "", "")[:2]
    endless = known.get(turns, 0) >= TURNS_MAX if turns else True
    begins = bool(known.get(condition)) if condition else True
    given = {body.input[1].name: 1} if begins and len(body.input) > 1 else {}
    inner = _follow(body, known.new_child(given))
    if endless and begins and body.output and inner.get(body.output[0].name):
        raise UnsupportedModel(
            f"{label(node)} never ends: it has no number of turns, and its condition is always true: give it one of them"
        )


def _value(name: str, tensor: TensorProto) -> dict[str, int]:
    """The element of a tensor that has one and holds it itself."""
    if tensor.data_type not in _SCALARS or prod(tensor.dims) != 1 or tensor.data_location == TensorProto.EXTERNAL:
        return {}
    return {name: int(onnx.numpy_helper.to_array(tensor).item())}
