"""What is known of shapes before a model runs, and how much of that is certain.

    integers    small integer tensors, element by element      made    how large the tensors are that nodes make

A dimension counts as static where an input declares it (the runtime enforces that) or where it follows from weights and
static dimensions. What an output or an inner tensor is declared to be counts for nothing. What is computed from static
dimensions alone becomes a weight, so that chains of Shape and Reshape over them never cross a cut. Dynamic dimensions stay
dynamic. Knows no cut and no runtime, but where the runtime thinks differently of a shape.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from splitinfer.build.nodes import DEFAULT_DOMAINS, bodies, first_line, integer, keep, reads, useful, with_inner
from splitinfer.build.shapes import integers
from splitinfer.build.shapes.made import made_tensors
from splitinfer.build.weights import skeleton
from splitinfer.errors import UnsupportedModel

_LONG = 1 << 20
_CONTRADICTIONS = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError)
"""What inference says of models that no checker has seen."""
_POOLING = frozenset({"MaxPool", "AveragePool", "LpPool"})


def fold_shapes(model: onnx.ModelProto) -> None:
    """Replaces small integer tensors that are known by weights, in place, and removes what nobody needs any more.

    Args:
        model: in plain form (`load.simplify`); weights may lie in other files, which are not read.
    """
    dims = static_dims(model)
    if dims is None:
        return
    graph = model.graph
    own = redefined(model)
    known = integers.follow(graph.node, integers.of_weights(graph.initializer), dims, own)
    outputs = {value.name for value in graph.output}

    def stays(node: onnx.NodeProto) -> bool:
        made = [known.get(name) for name in node.output if name]
        return not outputs.isdisjoint(node.output) or any(values is None or not values.whole for values in made)

    folded = {name: known[name] for node in graph.node if not stays(node) for name in node.output if name}
    if not folded:
        return
    keep(graph.node, stays)
    leading = useful(graph.node, outputs)
    graph.initializer.extend(values.tensor(name) for name, values in folded.items() if name in leading)
    keep(graph.node, lambda node: not leading.isdisjoint(node.output))
    keep(graph.initializer, lambda tensor: tensor.name in leading)


def infer(model: onnx.ModelProto, data_prop: bool = False) -> onnx.ModelProto:
    """A copy without the data of its weights, and with the types and shapes that follow from inputs and weights alone.

    Args:
        model: in plain form.
        data_prop: also follow the values of shapes; what comes out is likely, not certain.

    Raises:
        UnsupportedModel: types or shapes contradict each other.
    """
    bare = skeleton(model)
    _forget_claims(bare.graph)
    for node in with_inner((*bare.graph.node, *(node for function in bare.functions for node in function.node))):
        for body in bodies(node):
            _forget_claims(body)
            _forget_shapes(body.input)
    for function in bare.functions:
        function.ClearField("value_info")
    plain = _inferred(bare, data_prop=False)
    return _inferred(bare, data_prop=True) if data_prop and not _has_long_vectors(plain.graph) else plain


def _inferred(bare: onnx.ModelProto, data_prop: bool) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=data_prop)
    except _CONTRADICTIONS as error:
        raise UnsupportedModel(f"types or shapes contradict each other, export the model again: {first_line(error)}") from error


def static_dims(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]] | None:
    """The dimensions of the tensors of the main graph that are sure to be what they seem; None where inference fails."""
    try:
        inferred = infer(model).graph
    except UnsupportedModel:
        return None
    found = {value.name: integers.static_dims_of(value) for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    doubtful = unsure(model)
    sure = {name: dims for name, dims in found.items() if dims is not None and name not in doubtful}
    return sure | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def _has_long_vectors(graph: onnx.GraphProto) -> bool:
    """Whether a tensor has one, huge dimension: following values, onnx 1.23 allocates an object for each of its elements."""
    shapes = [*map(integers.static_dims_of, graph.input), *(made.shape for made in made_tensors(graph))]
    return any(len(shape) == 1 and (shape[0] or 0) > _LONG for shape in shapes if shape)


def redefined(model: onnx.ModelProto) -> frozenset[str]:
    """Operators of the standard that the model defines by functions of its own."""
    return frozenset(function.name for function in model.functions if function.domain in DEFAULT_DOMAINS)


def unsure(model: onnx.ModelProto) -> set[str]:
    """Tensors whose inferred shape depends on a node of which inference and runtime may think differently."""
    own = redefined(model)
    weights = integers.of_weights(model.graph.initializer)
    in_functions = any(_differs(node, {}) for function in model.functions for node in with_inner(function.node))
    calls = {(function.domain, function.name) for function in model.functions} if in_functions else set()
    found: set[str] = set()
    for node in model.graph.node:
        differs = any(
            _differs(inner, weights) or inner.op_type in own or (inner.domain, inner.op_type) in calls
            for inner in with_inner([node])
        )
        if differs or not found.isdisjoint(reads(node)):
            found.update(node.output)
    return found


def _differs(node: onnx.NodeProto, weights: integers.Known) -> bool:
    """Whether the runtime may make another shape than inference says.

    So it is (onnx 1.23, runtime 1.32) at pooling that rounds up, and where Slice goes backwards to a far end.
    """
    if node.op_type in _POOLING:
        return integer(node, "ceil_mode", 0) != 0
    if node.op_type != "Slice" or len(node.input) < 5 or not node.input[4]:
        return False
    ends, steps = weights.get(node.input[2]), weights.get(node.input[4])
    forwards = steps is not None and min((step or 0 for step in steps.elements), default=1) > 0
    near = ends is not None and max((end or 0 for end in ends.elements), default=0) < integers.FAR
    return not (forwards or near)


def _forget_claims(graph: onnx.GraphProto) -> None:
    graph.ClearField("value_info")
    _forget_shapes(graph.output)


def _forget_shapes(values: Iterable[onnx.ValueInfoProto]) -> None:
    for value in values:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
