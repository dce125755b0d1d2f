"""Writes nodes in the words of an older operator set.

A node whose operator has not changed since stays as it is. One whose operator only learnt something that the node does not use
loses the attributes that say so. A few are written in the older way (axes as an attribute, ...). An operator that is new is
replaced by simpler ones: its body in the ONNX standard. Everything else is refused: nothing changes its meaning silently.

`onnx.version_converter` is not used: it has no way down for Split, Pad, LayerNormalization and others (onnx 1.23), and does not
look at the attributes that it drops. Knows nothing of runtimes and cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, defs, helper, numpy_helper

from splitinfer.build.elem_types import type_name
from splitinfer.build.nodes import attribute, bodies, dims_of, label, normal
from splitinfer.build.schemas import schema_of
from splitinfer.build.target.expand import Expansion
from splitinfer.build.target.passes import Pass
from splitinfer.errors import UnsupportedModel

_Formal = defs.OpSchema.FormalParameter

_PASSES_MAX = 8
_NEW_WORDS: dict[tuple[str, str], tuple[int, frozenset[str]]] = {
    ("Pad", "mode"): (19, frozenset({"wrap"})),
    ("Resize", "coordinate_transformation_mode"): (19, frozenset({"half_pixel_symmetric"})),
    ("ScatterElements", "reduction"): (18, frozenset({"max", "min"})),
    ("ScatterND", "reduction"): (18, frozenset({"max", "min"})),
}
"""Values of an attribute, and the operator set they came with."""
_OLD_MEANING = {("RoiAlign", "coordinate_transformation_mode"): b"output_half_pixel"}
"""What an operator did before it had the attribute, where that is not the attribute's default."""


def lower(model: onnx.ModelProto, opsets: Mapping[str, int]) -> None:
    """Lowers the operator sets of a model, in place. Weights are not touched.

    Args:
        model: with functions written out as far as they can be.
        opsets: domain -> newest version wanted; a set that is old enough, or not named here, stays.

    Raises:
        UnsupportedModel: a node cannot be written in the older set; says which, and what would help.
    """
    newer = [opset for opset in model.opset_import if opset.version > opsets.get(normal(opset.domain), opset.version)]
    if not newer:
        return
    now = {normal(opset.domain): opset.version for opset in model.opset_import}
    wanted = {normal(opset.domain): opsets[normal(opset.domain)] for opset in newer}
    _refuse_functions(model, wanted)
    for _ in range(_PASSES_MAX):
        if not Expansion(model, now, wanted).run():
            break
    _Lowering(model, now, wanted).run()
    for opset in newer:
        opset.version = wanted[normal(opset.domain)]


class _Lowering(Pass):
    """Writes each node so that it means in the older set what it meant in the newer one."""

    def written(self, node: NodeProto, new: defs.OpSchema, old: defs.OpSchema | None) -> list[NodeProto]:
        if old is None:
            raise self.refuse(node, "the older set has no such operator")
        before = node.SerializeToString()
        rewrite = _REWRITES.get(node.op_type)
        if rewrite:
            rewrite(self, node, old)
        _check_ends(self, node, old)
        _drop_attributes(self, node, new, old)
        self.changed |= node.SerializeToString() != before
        return [node]

    def values(self, name: str, node: NodeProto) -> list[int]:
        """The integers of a constant."""
        if name not in self.constants:
            raise self.refuse(node, f"{name!r} is computed, or stored outside the model, but must be a number there")
        return [int(value) for value in numpy_helper.to_array(self.constants[name]).reshape(-1)]

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The dimensions of a tensor, None for an open one; None where nothing is known."""
        return dims_of(self.types.get(name, onnx.TypeProto()))


def _check_ends(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Refuses inputs, outputs and types that the older operator does not take."""
    while node.input and not node.input[-1]:
        del node.input[-1]
    if len(node.input) > old.max_input:
        raise lowering.refuse(node, f"it has the input {node.input[old.max_input]!r}, which came later")
    if len(node.output) > old.max_output:
        raise lowering.refuse(node, f"it has the output {node.output[old.max_output]!r}, which came later")
    if len(node.input) < old.min_input:
        raise lowering.refuse(node, f"it needs {old.min_input} inputs there")
    for name, end in (*_ends(node.input, old.inputs), *_ends(node.output, old.outputs)):
        kind = lowering.types.get(name, onnx.TypeProto()).tensor_type.elem_type
        if kind and f"tensor({type_name(kind)})" not in end.types:
            raise lowering.refuse(node, f"{name!r} is {type_name(kind)}, which it does not take there")


def _ends(names: Sequence[str], formal: Sequence[_Formal]) -> Iterator[tuple[str, _Formal]]:
    for index, name in enumerate(names):
        if name:
            yield name, formal[min(index, len(formal) - 1)]  # the last one may stand for many


def _drop_attributes(lowering: _Lowering, node: NodeProto, new: defs.OpSchema, old: defs.OpSchema) -> None:
    """Takes away what the older operator does by itself; refuses what it cannot do."""
    given = {one.name: one for one in node.attribute}
    for name in new.attributes.keys() - old.attributes.keys():
        default = new.attributes[name].default_value
        usual = helper.get_attribute_value(default) if default.type else None
        value = helper.get_attribute_value(given[name]) if name in given else usual
        meant = [1] * len(value or ()) if name == "dilations" else _OLD_MEANING.get((node.op_type, name), usual)
        if value != meant and value is not None:
            raise lowering.refuse(node, f"it has {name}={_shown(value)}, which came later")
        if name in given:
            node.attribute.remove(given[name])
    for name in old.attributes.keys() & new.attributes.keys() - given.keys():
        default = new.attributes[name].default_value
        if default.type and default != old.attributes[name].default_value:
            node.attribute.append(default)
    for kept in node.attribute:
        since, words = _NEW_WORDS.get((node.op_type, kept.name), (0, frozenset()))
        if old.since_version < since and kept.s.decode() in words:
            raise lowering.refuse(node, f"it has {kept.name}={kept.s.decode()}, which came later")


def _reduce(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Axes were an attribute before opset 18."""
    if "axes" not in old.attributes or attribute(node, "axes"):
        return
    axes = lowering.values(node.input[1], node) if len(node.input) > 1 and node.input[1] else []
    keep = attribute(node, "noop_with_empty_axes")
    if not axes and keep is not None and keep.i:
        raise lowering.refuse(node, "it has noop_with_empty_axes and no axes")
    if keep is not None:
        node.attribute.remove(keep)
    del node.input[1:]
    if axes:
        node.attribute.append(helper.make_attribute("axes", axes))


def _split(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Before opset 18 a split into equal parts must divide the dimension."""
    parts = attribute(node, "num_outputs")
    if parts is None or "num_outputs" in old.attributes:
        return
    axis = attribute(node, "axis")
    shape = lowering.shape(node.input[0])
    total = shape[axis.i if axis is not None else 0] if shape else None
    if total is None:
        raise lowering.refuse(node, "it splits a dimension that is not known into a number of parts")
    size = -(-total // parts.i)
    sizes = [max(0, min(size, total - size * part)) for part in range(parts.i)]
    node.input[:] = [node.input[0], lowering.constant(f"{node.output[0]}/split", np.array(sizes, np.int64))]
    node.attribute.remove(parts)


def _pad(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Before opset 18 pads are given for all axes."""
    if old.max_input > 3 or len(node.input) < 4 or not node.input[3]:
        return
    shape = lowering.shape(node.input[0])
    if shape is None:
        raise lowering.refuse(node, f"it pads some axes of {node.input[0]!r}, whose number of dimensions is not known")
    pads, rank = lowering.values(node.input[1], node), len(shape)
    axes = [axis % rank for axis in lowering.values(node.input[3], node)]
    whole = np.zeros((2, rank), np.int64)
    whole[:, axes] = np.reshape(pads, (2, -1))
    node.input[1] = lowering.constant(f"{node.output[0]}/pads", whole.reshape(-1))
    del node.input[3]


def _quantize(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Before opset 21 only the zero point says what type the result has."""
    kind = attribute(node, "output_dtype")
    if kind is None or "output_dtype" in old.attributes:
        return
    if kind.i and not (len(node.input) > 2 and node.input[2]):
        shape = lowering.shape(node.input[1])
        if shape is None or None in shape:
            raise lowering.refuse(node, f"it needs a zero point there, and the shape of {node.input[1]!r} is not known")
        zero = np.zeros([size or 0 for size in shape], helper.tensor_dtype_to_np_dtype(kind.i))
        name = lowering.constant(f"{node.output[0]}/zero_point", zero)
        node.input[:] = [*node.input[:2], name]
    node.attribute.remove(kind)


def _grid_sample(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """Modes had other names before opset 20, and three dimensions came with it."""
    if old.since_version >= 20:
        return
    mode = attribute(node, "mode")
    name = mode.s.decode() if mode is not None else "linear"
    if mode is not None:
        node.attribute.remove(mode)
    node.attribute.append(helper.make_attribute("mode", {"linear": "bilinear", "cubic": "bicubic"}.get(name, name)))
    if len(lowering.shape(node.input[0]) or [None] * 4) != 4:
        raise lowering.refuse(node, f"{node.input[0]!r} has not four dimensions")


def _dft(lowering: _Lowering, node: NodeProto, old: defs.OpSchema) -> None:
    """The axis was an attribute before opset 20, and another one by default."""
    if old.since_version >= 20:
        return
    axis = lowering.values(node.input[2], node)[0] if len(node.input) > 2 and node.input[2] else -2
    shape = lowering.shape(node.input[0])
    if axis < 0 and shape is None:
        raise lowering.refuse(node, f"the number of dimensions of {node.input[0]!r} is not known")
    del node.input[2:]
    node.attribute.append(helper.make_attribute("axis", axis + len(shape or ()) if axis < 0 else axis))


_Rewrite = Callable[[_Lowering, NodeProto, defs.OpSchema], None]
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_REWRITES: dict[str, _Rewrite] = {
    **{f"Reduce{kind}": _reduce for kind in _REDUCTIONS},
    "Split": _split,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "GridSample": _grid_sample,
    "DFT": _dft,
}


def _refuse_functions(model: onnx.ModelProto, wanted: Mapping[str, int]) -> None:
    """A function that could not be written out is kept, if each of its operators is the same in the older set."""
    for function in model.functions:
        for opset in function.opset_import:
            domain = normal(opset.domain)
            if opset.version <= wanted.get(domain, opset.version):
                continue
            for node in function.node:
                if normal(node.domain) == domain and not _unchanged(node, opset.version, wanted[domain], domain):
                    raise UnsupportedModel(
                        f"{label(node)} in the function {function.name!r} is of opset {opset.version}, "
                        f"newer than {wanted[domain]}: export the model with opset {wanted[domain]}, or without functions"
                    )
            opset.version = wanted[domain]


def _unchanged(node: NodeProto, now: int, wanted: int, domain: str) -> bool:
    new, old = schema_of(node.op_type, now, domain), schema_of(node.op_type, wanted, domain)
    return new is not None and old is not None and new.since_version == old.since_version and not any(bodies(node))


def _shown(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
