"""The graph that is cut: steps in order, what each reads and makes, and what is known of the tensors between them.

Weights never cross, and neither does what is computed from weights alone (*floating* nodes): each side that needs it has
its own. Knows no cut and no runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import onnx

from splitinfer.build.load import reads
from splitinfer.errors import UnsupportedModel
from splitinfer.model import TensorSpec

DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
    onnx.TensorProto.BOOL: "bool",
}
"""The element types that can cross. Strings, bfloat16, float8 and int4 stay inside a segment."""

ELEM_TYPES: dict[str, int] = {name: number for number, name in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        node: as in the model.
        reads: tensors it needs, those its bodies capture included; weights and what depends on weights alone left out.
        makes: tensors it gives.
    """

    node: onnx.NodeProto
    reads: tuple[str, ...]
    makes: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A model in plain form, analysed.

    Attributes:
        model: the ONNX model; not to be changed.
        steps: nodes that depend on an input, in the model's (topological) order.
        floating: nodes that depend on weights alone, in order.
        inputs: names.
        outputs: names.
        values: what shape inference says of each tensor it knows.
        sizes: shapes seen when the model ran at batch 1; filled where inference left something open.
        learnt: element types seen in that run.
    """

    model: onnx.ModelProto
    steps: tuple[Step, ...]
    floating: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, onnx.ValueInfoProto]
    sizes: Mapping[str, tuple[int, ...]]
    learnt: Mapping[str, str]

    @classmethod
    def of(
        cls, model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]] | None = None, learnt: Mapping[str, str] | None = None
    ) -> Graph:
        """Analyses a model in plain form (`load.normalise`)."""
        graph = model.graph
        constant = {tensor.name for tensor in graph.initializer}
        steps: list[Step] = []
        floating: list[Step] = []
        for node in graph.node:
            step = Step(node, tuple(name for name in reads(node) if name not in constant), tuple(filter(None, node.output)))
            (steps if step.reads else floating).append(step)
            if not step.reads:
                constant.update(step.makes)
        return cls(
            model=model,
            steps=tuple(steps),
            floating=tuple(floating),
            inputs=tuple(value.name for value in graph.input),
            outputs=tuple(value.name for value in graph.output),
            values=_inferred(model),
            sizes=sizes or {},
            learnt=learnt or {},
        )

    @cached_property
    def weights(self) -> Mapping[str, onnx.TensorProto]:
        """Weights by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def afloat(self) -> Mapping[str, Step]:
        """The floating node behind each tensor that depends on weights alone."""
        return {name: step for step in self.floating for name in step.makes}

    def spec(self, name: str) -> TensorSpec | None:
        """What is known of a tensor; None where it cannot cross (unknown, or of a type that arrays do not carry)."""
        value = self.values.get(name)
        dtype = self.learnt.get(name) if value is None else DTYPES.get(value.type.tensor_type.elem_type)
        if dtype is None:
            return None
        dims = None if value is None else dims_of(value)
        if dims is None:
            if name not in self.sizes:
                return None
            dims = (None,) * len(self.sizes[name])
        return TensorSpec(name, dtype, dims)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor at batch 1; None where it is not known."""
        if name in self.sizes:
            return self.sizes[name]
        weight = self.weights.get(name)
        if weight is not None:
            return tuple(weight.dims)
        value = self.values.get(name)
        dims = None if value is None else dims_of(value)
        return None if dims is None else tuple(1 if dim is None else dim for dim in dims)

    def nbytes(self, name: str) -> int:
        """Bytes of a tensor at batch 1; 0 where they are not known."""
        spec, shape = self.spec(name), self.shape(name)
        return 0 if spec is None or shape is None else prod(shape) * np.dtype(spec.dtype).itemsize

    def open_questions(self) -> tuple[str, ...]:
        """Tensors that could cross, but whose type or shape (besides the batch) inference could not tell."""
        return tuple(name for step in self.steps for name in step.makes if self._is_open(name))

    def _is_open(self, name: str) -> bool:
        value = self.values.get(name)
        if value is None:
            return True
        if value.type.HasField("tensor_type"):
            dims = dims_of(value)
            return dims is None or None in dims[1:]
        return False


def dims_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The dimensions of a tensor; None for an open one, None altogether where not even their number is known."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)


def operations(graph: Graph, step: Step) -> int:
    """Estimated multiply-adds of a node at batch 1.

    Convolutions and matrix products are counted; anything else costs one for each element it makes.
    """
    node = step.node
    elements = sum(prod(graph.shape(name) or ()) for name in step.makes)
    weight = graph.shape(node.input[1]) if len(node.input) > 1 else None
    first = graph.shape(node.input[0]) if node.input else None
    if node.op_type in ("Conv", "FusedConv", "ConvInteger") and weight:
        return elements * prod(weight[1:])
    if node.op_type == "QLinearConv" and len(node.input) > 3:
        return elements * prod((graph.shape(node.input[3]) or ())[1:])
    if node.op_type == "ConvTranspose" and weight and first:
        return prod(first) * prod(weight[1:])
    if node.op_type in ("MatMul", "Gemm", "MatMulInteger", "FusedMatMul", "MatMulNBits") and first:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return elements * (first[0] if transposed else first[-1])
    return elements


def typed(graph: Graph, names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    """Declarations of tensors as inputs or outputs of a sub-graph; symbolic dimensions keep their names."""
    made = []
    for name in names:
        value = graph.values.get(name)
        if value is None:
            spec = graph.spec(name)
            assert spec is not None, name
            value = onnx.helper.make_tensor_value_info(name, ELEM_TYPES[spec.dtype], list(spec.shape))
        made.append(value)
    return made


def _inferred(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise UnsupportedModel(f"the types or shapes of the model contradict each other: {error}") from error
    return {value.name: value for value in (*inferred.value_info, *inferred.input, *inferred.output)}
