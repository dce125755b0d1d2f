"""Replaces operators that an older operator set does not have by simpler ones. Knows nothing of runtimes and cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx.inliner
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from splitinfer.build.names import declared
from splitinfer.build.nodes import attribute, bodies, constant_of, integer, reads
from splitinfer.build.target.passes import Pass

_NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization"})
_FIRST_WITH_AXES_AS_INPUT = 18


class Expansion(Pass):
    """Replaces nodes whose operator the older set does not have. What takes their place is still of the newer set."""

    def written(self, node: NodeProto, new: defs.OpSchema, old: defs.OpSchema | None) -> list[NodeProto]:
        """One node, or what it is made of."""
        if old is not None and node.op_type == "Shape" and "start" not in old.attributes:
            return self._shape(node)
        if old is not None and node.op_type != "Attention":  # which got other inputs and other kinds of masks
            return [node]
        if node.op_type in _NORMALIZATIONS:
            simple = self._normalization(node)
            if simple:
                return simple
        return self._body(node)

    def _shape(self, node: NodeProto) -> list[NodeProto]:
        """Part of a shape: before opset 15 a Slice of the whole."""
        start, end = attribute(node, "start"), attribute(node, "end")
        if start is None and end is None:
            return [node]
        whole = self.names.fresh(f"{node.output[0]}/whole")
        ends = (start.i if start is not None else 0, end.i if end is not None else np.iinfo(np.int64).max)
        names = [
            self.constant(f"{node.output[0]}/{what}", np.array([at])) for what, at in zip(("start", "end"), ends, strict=True)
        ]
        return [helper.make_node("Shape", node.input, [whole]), helper.make_node("Slice", [whole, *names], node.output)]

    def _normalization(self, node: NodeProto) -> list[NodeProto] | None:
        """As exporters wrote it before it was an operator; None where that does not do.

        Runtimes know this pattern. What the standard writes instead loses digits where the mean is large against the deviation.
        """
        kind = self.types.get(node.input[0], onnx.TypeProto()).tensor_type
        axis = integer(node, "axis", -1)
        if kind.elem_type != TensorProto.FLOAT or (axis >= 0 and not kind.HasField("shape")) or any(node.output[1:]):
            return None
        axes = list(range(axis if axis < 0 else axis - len(kind.shape.dim), 0))
        epsilon = attribute(node, "epsilon")
        x, y = node.input[0], node.output[0]
        nodes: list[NodeProto] = []

        def apply(op_type: str, *inputs: str, part: str) -> str:
            name = self.names.fresh(f"{y}/{part}")
            nodes.append(helper.make_node(op_type, inputs, [name]))
            return name

        def mean(of: str, part: str) -> str:
            if self.now[""] >= _FIRST_WITH_AXES_AS_INPUT:
                return apply("ReduceMean", of, self.constant(f"{y}/axes", np.array(axes)), part=part)
            name = apply("ReduceMean", of, part=part)
            nodes[-1].attribute.append(helper.make_attribute("axes", axes))
            return name

        centred = apply("Sub", x, mean(x, "mean"), part="centred") if node.op_type == "LayerNormalization" else x
        two = self.constant(f"{y}/two", np.array(2, np.float32))
        small = self.constant(f"{y}/epsilon", np.array(epsilon.f if epsilon is not None else 1e-5, np.float32))
        variance = mean(apply("Pow", centred, two, part="square"), "variance")
        deviation = apply("Sqrt", apply("Add", variance, small, part="padded"), part="deviation")
        result = apply("Mul", apply("Div", centred, deviation, part="normal"), node.input[1], part="scaled")
        if len(node.input) > 2 and node.input[2]:
            apply("Add", result, node.input[2], part="shifted")
        nodes[-1].output[0] = y
        return nodes

    def _body(self, node: NodeProto) -> list[NodeProto]:
        """What the standard says the operator is made of."""
        needs = reads(node)
        unknown = next((name for name in needs if name not in self.types), None)
        if unknown is not None:
            raise self.refuse(node, f"it must be made of simpler operators, but the type of {unknown!r} is not known")
        alone = helper.make_model(
            helper.make_graph(
                [node],
                "alone",
                [helper.make_value_info(name, self.types[name]) for name in needs],
                [helper.make_value_info(name, self.types.get(name, onnx.TypeProto())) for name in node.output if name],
            ),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.now.items()],
        )
        which = [(node.domain, node.op_type)]
        try:
            graph = onnx.inliner.inline_selected_functions(alone, which, inline_schema_functions=True).graph
        except RuntimeError as error:
            raise self.refuse(node, "the standard's way of writing it does not fit this node") from error
        if any(new.op_type == node.op_type and new.domain == node.domain for new in graph.node):
            raise self.refuse(node, "the operator is newer, and the standard does not say what it is made of")
        known = {name: name for name in (*needs, *node.output)} | {"": ""}
        return list(self._renamed(graph.node, known, node.output[0]))

    def _renamed(self, nodes: Sequence[NodeProto], known: dict[str, str], prefix: str) -> Iterator[NodeProto]:
        """Nodes with names of ours, and their constants as weights."""

        def name(inner: str) -> str:
            if inner not in known:
                known[inner] = self.names.fresh(f"{prefix}/{inner.removesuffix('__1')}")
            return known[inner]

        for node in nodes:
            tensor = constant_of(node)
            if tensor is not None:
                known[node.output[0]] = self.constant(f"{prefix}/{node.output[0]}", numpy_helper.to_array(tensor))
                continue
            node.input[:] = [name(inner) for inner in node.input]
            node.output[:] = [name(inner) for inner in node.output]
            for body in bodies(node):
                for one in declared(body):
                    one.name = name(one.name)
                inner = list(self._renamed(body.node, known, prefix))
                del body.node[:]
                body.node.extend(inner)
            yield node
