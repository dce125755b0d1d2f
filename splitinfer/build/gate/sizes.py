"""How many bytes a model makes of small inputs, told before it runs.

Shapes come from inference at batch 1, an open dimension counting 1. Operators whose output is as large as a number says
(Expand, ConstantOfShape, ...) are evaluated where inference says nothing. A lower bound: what only a run can tell is left to
the limits of the run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

import onnx
from onnx.inliner import inline_local_functions

from splitinfer.build.elem_types import packed_bytes
from splitinfer.build.nodes import first_line, label, reads
from splitinfer.build.shapes import infer
from splitinfer.build.shapes.made import at_batch_1, made_tensors
from splitinfer.errors import UnsupportedModel

TENSOR_MAX_BYTES = 2 << 30
"""Of one tensor at batch 1. A photo of 8 megapixels in float32 has 96 MB; what is twenty times that crosses no link."""

_TENSORS_ALIVE = 4  # so many times the limit of one, all tensors may need that are alive together, weights not counted


def check_bytes(model: onnx.ModelProto, limit_bytes: int = TENSOR_MAX_BYTES) -> None:
    """Refuses a model that makes a tensor larger than a limit, or keeps more than four times that alive.

    Args:
        model: in plain form (`load.simplify`); weights may lie in other files, which are not read.
        limit_bytes: of one tensor, at batch 1.

    Raises:
        UnsupportedModel: names the node, the shape and the bytes; or types and shapes contradict each other.
    """
    graph = infer(_written_out(model), data_prop=True).graph
    sizes = ((packed_bytes(made.elem_type, prod(made.shape)), made) for made in made_tensors(graph))
    nbytes, largest = max(sizes, key=lambda size: size[0], default=(0, None))
    if largest is not None and nbytes > limit_bytes:
        raise UnsupportedModel(
            f"{label(largest.node)} makes a tensor of the shape {list(largest.shape)}, {_gib(nbytes)}, "
            f"and {_gib(limit_bytes)} are the most: make it smaller, or compute it in parts"
        )
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    alive = _most_alive(graph, values, {tensor.name for tensor in model.graph.initializer})
    most = _TENSORS_ALIVE * limit_bytes
    if alive > most:
        raise UnsupportedModel(
            f"the model keeps {_gib(alive)} alive at batch 1, and {_gib(most)} are the most: make it smaller"
        )


def _written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """With every function in the place of its calls, those too that stay in the bundle."""
    if not model.functions:
        return model
    try:
        return inline_local_functions(infer(model))
    except RuntimeError as error:
        raise UnsupportedModel(
            f"a function cannot be followed, export the model without functions: {first_line(error)}"
        ) from error


def _most_alive(graph: onnx.GraphProto, values: Mapping[str, onnx.ValueInfoProto], weights: Collection[str]) -> int:
    """The largest sum of tensors that are needed at the same time, in the order of the nodes, outputs kept to the end."""
    needs = [reads(node) for node in graph.node]
    last = {name: at for at, names in enumerate(needs) for name in names}
    last |= {value.name: len(needs) for value in graph.output}
    sizes = {name: _nbytes(value) for name, value in values.items() if name not in weights}
    alive = {value.name: sizes.get(value.name, 0) for value in graph.input if value.name in last}
    total = most = sum(alive.values())
    for at, node in enumerate(graph.node):
        made = {name: sizes.get(name, 0) for name in node.output if name}
        alive |= made
        total += sum(made.values())
        most = max(most, total)
        for name in {*needs[at], *made}:
            if last.get(name, at) <= at:
                total -= alive.pop(name, 0)
    return most


def _nbytes(value: onnx.ValueInfoProto) -> int:
    shape = at_batch_1(value)
    return 0 if shape is None else packed_bytes(value.type.tensor_type.elem_type, prod(shape))


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.3g} GiB"
