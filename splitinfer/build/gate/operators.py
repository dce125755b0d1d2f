"""Which operators may run: those that the runtime itself defines, and functions of the model that end in them.

What brings code of its own, compiled blobs, or more nodes than anybody trains is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import onnx

from splitinfer.backends.ort import operators
from splitinfer.build.gate import parts
from splitinfer.build.nodes import Key, bodies, called, key_of, label, normal
from splitinfer.errors import UnsupportedModel

NODES_MAX = 200_000
"""Of a model, every call of a function counted with what it calls."""

BODIES_MAX = 4_000
"""Of a model. Shape inference takes longer with the square of their number: about a second for as many."""

DEPTH_MAX = 28
"""Bodies within bodies, and functions that call functions."""

_BLOBS = frozenset({"EPContext", "Snpe"})
_CODE = frozenset({"PyOp", "PythonOp", "PythonOpGrad", "TritonOp", "ATen", "ExternOp"})
_ONE_PROCESSOR = frozenset({"com.ms.internal.nhwc", "com.microsoft.nchwc"})
_EXTENSIONS = frozenset({"ai.onnx.contrib", "com.microsoft.extensions"})
_TRAINING = frozenset({"ai.onnx.training", "ai.onnx.preview.training"})


def check(model: onnx.ModelProto) -> None:
    """Refuses nodes that must not run, and more of them than can be.

    Raises:
        UnsupportedModel: names the node or the function.
    """
    _Calls(model).check()
    own = {(normal(function.domain), function.name) for function in model.functions}
    known = operators() | own
    domains = {domain for domain, _ in known}
    for node in parts.nodes(model):
        reason = _objection(node, domains)
        if reason is None and (normal(node.domain), node.op_type) not in known:
            reason = "is no operator that onnxruntime knows: export with an older opset, or upgrade onnxruntime"
        if reason is not None:
            raise UnsupportedModel(f"{label(node)} {reason}")


def _objection(node: onnx.NodeProto, domains: Iterable[str]) -> str | None:
    domain = normal(node.domain)
    if node.op_type in _BLOBS:
        return "holds a blob compiled for one processor, which cannot be cut: give the model it was compiled from"
    if node.op_type in _CODE:
        return "runs code that is not in the model: replace it by standard operators"
    if domain in _ONE_PROCESSOR:
        return "stands in a copy that onnxruntime optimised for one processor: give the original model"
    if domain in _EXTENSIONS:
        return f"is of the domain {domain!r}, which needs the library onnxruntime-extensions: do that step outside the model"
    if domain in _TRAINING:
        return f"is of the domain {domain!r}, which is for training: export the model for inference"
    if domain not in domains and domain.startswith("ai.onnx"):
        return f"is of the domain {domain!r}, which this onnxruntime does not know: upgrade it, or export without that operator"
    if domain not in domains:
        return (
            f"is of the domain {domain!r}, which needs a library of custom operators, and none is loaded: "
            "replace it by standard operators, or define it as a function in the model"
        )
    return None


@dataclass(frozen=True, slots=True)
class _Extent:
    """How many nodes and bodies something comes to, and how deep calls nest in it."""

    nodes: int = 0
    bodies: int = 0
    depth: int = 0

    def beside(self, other: _Extent) -> _Extent:
        return _Extent(self.nodes + other.nodes, self.bodies + other.bodies, max(self.depth, other.depth))


class _Calls:
    """Measures a model as if every call of a function were written out: a small file can come to 2**50 nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._functions: dict[Key, onnx.FunctionProto] = {}
        self._extents: dict[Key, _Extent] = {}
        for function in model.functions:
            key = key_of(function)
            if key in self._functions:
                raise UnsupportedModel(f"the function {function.name!r} is defined twice: export the model again")
            self._functions[key] = function

    def check(self) -> None:
        """Raises UnsupportedModel where functions call themselves, or the model is too deep or too large."""
        for key in self._functions:
            self._function(key, ())
        whole = self._nodes(self._graph.node, 0, ())
        for count, limit, what in (
            (whole.nodes, NODES_MAX, "nodes"),
            (whole.bodies, BODIES_MAX, "bodies of If, Loop and Scan"),
        ):
            if count > limit:
                raise UnsupportedModel(f"functions written out, it has {count} {what}, more than {limit}: simplify the model")

    def _function(self, key: Key, path: tuple[Key, ...]) -> _Extent:
        if key in path:
            raise UnsupportedModel(f"the function {key[1]!r} calls itself, which never ends: export the model again")
        if key not in self._extents:
            too_deep = len(path) > DEPTH_MAX
            if not too_deep:
                body = self._nodes(self._functions[key].node, 0, (*path, key))
                self._extents[key] = replace(body, depth=body.depth + 1)
                too_deep = body.depth >= DEPTH_MAX
            if too_deep:
                raise UnsupportedModel(f"from {key[1]!r} functions call each other over {DEPTH_MAX} deep: simplify the model")
        return self._extents[key]

    def _nodes(self, nodes: Iterable[onnx.NodeProto], depth: int, path: tuple[Key, ...]) -> _Extent:
        extent = _Extent()
        for node in nodes:
            extent = extent.beside(_Extent(nodes=1))
            key = called(node)
            if key in self._functions:
                extent = extent.beside(self._function(key, path))
            for body in bodies(node):
                if depth == DEPTH_MAX:
                    raise UnsupportedModel(
                        f"{label(node)} stands {depth} bodies deep, the most that may nest: simplify the model"
                    )
                extent = extent.beside(_Extent(bodies=1)).beside(self._nodes(body.node, depth + 1, path))
        return extent
