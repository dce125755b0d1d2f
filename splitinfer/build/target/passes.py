"""A walk over all nodes of a model, those in bodies too, that puts others in their place. Does not know which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from splitinfer.build.names import Names
from splitinfer.build.nodes import bodies, constant_of, label, normal
from splitinfer.build.schemas import schema_of
from splitinfer.build.shapes import infer
from splitinfer.errors import UnsupportedModel


class Pass(ABC):
    """A walk over all nodes of a model, with what is known of its tensors."""

    def __init__(self, model: onnx.ModelProto, now: Mapping[str, int], wanted: Mapping[str, int]) -> None:
        self.model = model
        self.now = now
        self.wanted = wanted
        self.names = Names(model.graph)
        self.types: dict[str, onnx.TypeProto] = {}
        self.constants: dict[str, TensorProto] = {}
        self.local = {(normal(function.domain), function.name) for function in model.functions}
        self.changed = False
        self._learn(infer(model, data_prop=True).graph)

    def run(self) -> bool:
        """Walks; true where something changed."""
        self._walk(self.model.graph)
        return self.changed

    @abstractmethod
    def written(self, node: NodeProto, new: defs.OpSchema, old: defs.OpSchema | None) -> list[NodeProto]:
        """The nodes that take the place of one whose operator is another in the older set."""

    def constant(self, name: str, value: np.ndarray) -> str:
        """A new weight; its name."""
        tensor = numpy_helper.from_array(value, self.names.fresh(name))
        self.model.graph.initializer.append(tensor)
        self.constants[tensor.name] = tensor
        return tensor.name

    def refuse(self, node: NodeProto, why: str) -> UnsupportedModel:
        """The error for a node."""
        domain = normal(node.domain)
        schema = schema_of(node.op_type, self.now[domain], domain)
        since = schema.since_version if schema else self.now[domain]
        return UnsupportedModel(
            f"{label(node)} (as of opset {since}) cannot be written in opset {self.wanted[domain]}: {why}; "
            f"export the model with opset {self.wanted[domain]}, or choose a newer target runtime"
        )

    def _walk(self, graph: onnx.GraphProto) -> None:
        nodes: list[NodeProto] = []
        for node in graph.node:
            for body in bodies(node):
                self._walk(body)
            new = self._written(node)
            self.changed |= len(new) != 1 or new[0] is not node
            nodes += new
        del graph.node[:]
        graph.node.extend(nodes)

    def _written(self, node: NodeProto) -> list[NodeProto]:
        domain = normal(node.domain)
        if domain not in self.wanted or (domain, node.op_type) in self.local:
            return [node]
        new = schema_of(node.op_type, self.now[domain], domain)
        old = schema_of(node.op_type, self.wanted[domain], domain)
        if new is None or (old is not None and new.since_version == old.since_version):
            return [node]
        return self.written(node, new, old)

    def _learn(self, graph: onnx.GraphProto) -> None:
        for value in (*graph.value_info, *graph.input, *graph.output):
            if value.type.WhichOneof("value"):
                self.types[value.name] = value.type
        for tensor in graph.initializer:
            self.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
            self.constants[tensor.name] = tensor
        for node in graph.node:
            constant = constant_of(node)
            if constant is not None:
                self.constants[node.output[0]] = constant
            for body in bodies(node):
                self._learn(body)
