"""The graph that is cut: steps in order, what each reads and makes, and what is known of the tensors between them.

Weights never cross. Nor does what each side can make for itself (*recomputed* nodes): what depends on weights alone, the
float tensor behind a DequantizeLinear (the quantised one crosses), and small integers behind a Shape where the caller wants
it. Each segment that needs such a node has its own. Knows no cut and no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import onnx
from onnx import TensorProto

from splitinfer.build.elem_types import CARRIERS, DTYPES, ELEM_TYPES
from splitinfer.build.nodes import attribute, dims_of, reads
from splitinfer.build.shapes import infer, unsure
from splitinfer.build.shapes.integers import ELEMENTS_MAX
from splitinfer.build.weights import Weights
from splitinfer.model import TensorSpec

DEQUANTISE = "DequantizeLinear"
INTEGER_ARITHMETIC = frozenset(
    "Gather Slice Concat Unsqueeze Squeeze Cast Identity Add Sub Mul Div Neg Min Max ReduceProd Reshape".split()  # noqa: SIM905
)
_SAYS_RANK = {"If": 0, "Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""The input that decides how many dimensions a node gives."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node. Two steps are the same only if they are one.

    Attributes:
        node: as in the model.
        reads: tensors it needs, those its bodies capture included, weights left out; instead of a recomputed tensor, what
            that is computed from.
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
        weights: where the bytes of its weights are.
        steps: nodes that depend on an input, in the model's (topological) order, recomputed ones left out.
        recomputed: nodes that each segment computes for itself where it needs them, in order.
        inputs: names.
        outputs: names.
        values: what shape inference says of each tensor it knows.
        sizes: shapes seen when the model ran at batch 1; filled where inference left something open.
        learnt: element types seen in that run.
    """

    model: onnx.ModelProto
    weights: Weights
    steps: tuple[Step, ...]
    recomputed: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, onnx.ValueInfoProto]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    learnt: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: onnx.ModelProto, weights: Weights | None = None) -> Graph:
        """Analyses a model in plain form (`load.simplify`)."""
        inputs = tuple(value.name for value in model.graph.input)
        outputs = tuple(value.name for value in model.graph.output)
        bare = cls(model, weights or Weights(), (), (), inputs, outputs, _inferred(model))
        return bare._sorted(lambda node, _: node.op_type == DEQUANTISE)

    def with_learnt(self, sizes: Mapping[str, tuple[int, ...]], learnt: Mapping[str, str]) -> Graph:
        """The same graph, and what a run told about it."""
        return replace(self, sizes=sizes, learnt=learnt)

    def with_shapes_recomputed(self) -> Graph | None:
        """The same graph, where each segment computes small integers from what `Shape` gave; None where there are none.

        So the dimensions cross, and not the many tensors that may be made of them. Which is smaller depends on the model.
        """
        shapes: set[str] = set()

        def recompute(node: onnx.NodeProto, needs: tuple[str, ...]) -> bool:
            if node.op_type == DEQUANTISE:
                return True
            if node.op_type == "Shape":
                shapes.update(node.output)
                return False
            if node.op_type in INTEGER_ARITHMETIC and shapes.issuperset(needs) and all(map(self._is_small, node.output)):
                shapes.update(node.output)
                return True
            return False

        other = self._sorted(recompute)
        return other if len(other.recomputed) > len(self.recomputed) else None

    def _sorted(self, recompute: Callable[[onnx.NodeProto, tuple[str, ...]], bool]) -> Graph:
        """Steps and recomputed nodes, told apart. The callable decides for a node and what it reads besides weights."""
        sources: dict[str, tuple[str, ...]] = dict.fromkeys(self.initializers, ())
        steps: list[Step] = []
        recomputed: list[Step] = []
        ends = set(self.outputs)
        for node in self.model.graph.node:
            needs = tuple(name for name in reads(node) if sources.get(name) != ())
            origins = tuple(dict.fromkeys(origin for name in needs for origin in sources.get(name, (name,))))
            step = Step(node, origins, tuple(filter(None, node.output)))
            if not needs or (ends.isdisjoint(step.makes) and recompute(node, needs)):
                recomputed.append(step)
                sources.update(dict.fromkeys(step.makes, origins))
            else:
                steps.append(step)
        return replace(self, steps=tuple(steps), recomputed=tuple(recomputed))

    @cached_property
    def initializers(self) -> Mapping[str, TensorProto]:
        """Weights by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def made_anew(self) -> Mapping[str, Step]:
        """The recomputed node behind each tensor that never crosses."""
        return {name: step for step in self.recomputed for name in step.makes}

    @cached_property
    def _unsure(self) -> frozenset[str]:
        """Tensors whose inferred shape the runtime may not agree with."""
        return frozenset(unsure(self.model))

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """Tensors that may have more or fewer dimensions from run to run, and what is made of them.

        An If gives such a tensor, a Squeeze that takes away whatever is 1, and a shape that is computed from data.
        """
        found: set[str] = set()
        fixed = {*self.initializers, *(name for name, step in self.made_anew.items() if not step.reads)}
        of_shapes = set(fixed)
        for node in self.model.graph.node:
            if node.op_type == "Shape" or of_shapes.issuperset(reads(node)):
                of_shapes.update(node.output)
            decides = self._decides_rank(node, fixed if node.op_type == "If" else of_shapes)
            if decides or (node.op_type != "Flatten" and not found.isdisjoint(reads(node))):
                found.update(name for name in node.output if name not in self.values or dims_of(self.values[name].type) is None)
        return frozenset(found)

    def _decides_rank(self, node: onnx.NodeProto, settled: Collection[str]) -> bool:
        """Whether the number of dimensions that a node gives depends on a tensor that is none of these."""
        if node.op_type == "Squeeze":
            return not any(node.input[1:]) and attribute(node, "axes") is None and node.input[0] not in settled
        at = _SAYS_RANK.get(node.op_type)
        if at is None or at >= len(node.input) or node.input[at] in settled:
            return False
        return node.op_type == "If" or self.dims(node.input[at]) in (None, (None,))

    def elem_type(self, name: str) -> int | None:
        """ONNX's number of a tensor's type; None where it is unknown, or no tensor at all."""
        value = self.values.get(name)
        if value is not None and value.type.tensor_type.elem_type:
            return int(value.type.tensor_type.elem_type)
        return ELEM_TYPES.get(self.learnt.get(name, ""))

    def carrier(self, name: str) -> int | None:
        """The type that a tensor crosses in, where that is not its own: a Cast is needed on each side."""
        if name in self.inputs or name in self.outputs:
            return None
        return CARRIERS.get(self.elem_type(name) or 0)

    def spec(self, name: str) -> TensorSpec | None:
        """How a tensor crosses; None where it cannot (unknown, or of a type that arrays do not carry)."""
        dtype = DTYPES.get(self.carrier(name) or self.elem_type(name) or 0)
        dims = self.dims(name)
        if dtype is None or dims is None or name in self.unsettled:
            return None
        return TensorSpec(name, dtype, dims)

    def dims(self, name: str) -> tuple[int | None, ...] | None:
        """The dimensions of a tensor, None for an open one; what a run has shown to be otherwise is open, too."""
        value, seen = self.values.get(name), self.sizes.get(name)
        dims = None if value is None else dims_of(value.type)
        if seen is None:
            return dims
        if dims is None or len(dims) != len(seen):
            return (None,) * len(seen)
        return tuple(None if dim != size else dim for dim, size in zip(dims, seen, strict=True))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor at batch 1; None where it is not known."""
        if name in self.sizes:
            return self.sizes[name]
        weight = self.initializers.get(name)
        if weight is not None:
            return tuple(weight.dims)
        dims = self.dims(name)
        return None if dims is None else tuple(1 if dim is None else dim for dim in dims)

    def nbytes(self, name: str) -> int:
        """Bytes of a tensor as it crosses, at batch 1; 0 where they are not known."""
        spec, shape = self.spec(name), self.shape(name)
        return 0 if spec is None or shape is None else spec.nbytes(shape)

    def open_questions(self) -> tuple[str, ...]:
        """Tensors that could cross, but whose type or shape (besides the batch) inference could not tell; and all outputs."""
        inner = (name for step in self.steps for name in step.makes if self._is_open(name))
        return tuple(dict.fromkeys((*inner, *self.outputs)))

    @cached_property
    def _batch_names(self) -> frozenset[str]:
        """What axis 0 of the inputs is called where it is open."""
        firsts = [dims[0] for name in self.inputs if (dims := self.values[name].type.tensor_type.shape.dim)]
        return frozenset(dim.dim_param for dim in firsts if dim.dim_param)

    def _is_open(self, name: str) -> bool:
        value = self.values.get(name)
        if value is None or name in self._unsure:
            return True
        if not value.type.HasField("tensor_type"):
            return False
        dims = dims_of(value.type)
        if not dims:
            return dims is None
        counted = dims[0] is None and value.type.tensor_type.shape.dim[0].dim_param not in self._batch_names
        return counted or None in dims[1:]

    def _is_small(self, name: str) -> bool:
        dims, kind = self.dims(name), DTYPES.get(self.elem_type(name) or 0, "")
        if dims is None or len(dims) > 1 or "int" not in kind:
            return False
        return None not in dims and prod(dim or 0 for dim in dims) <= ELEMENTS_MAX


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
        spec = graph.spec(name)
        assert spec is not None, name
        value = onnx.helper.make_tensor_value_info(name, ELEM_TYPES[spec.dtype], list(spec.shape))
        known = graph.values.get(name)
        if known is not None and dims_of(known.type) == spec.shape:
            value.type.tensor_type.shape.CopyFrom(known.type.tensor_type.shape)
        made.append(value)
    return made


def _inferred(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """What inference says; of an output that it cannot tell, what the model says."""
    inferred = infer(model, data_prop=True).graph
    declared = {value.name: value for value in model.graph.output}
    found = {value.name: value for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    for name, value in declared.items():
        if dims_of(found[name].type) is None:
            found[name] = value
    return found
