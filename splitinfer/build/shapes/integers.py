"""Small integer tensors whose elements follow from weights and static shapes, element by element: an int, or unknown.

Shape sub-graphs are made of them. A rule that is not sure says nothing, and what overflows, divides by zero or makes no sense
is unknown. Knows no model file, no cut and no runtime.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from splitinfer.build.nodes import DEFAULT_DOMAINS, attribute, constant_of, dims_of, integer, integers

ELEMENTS_MAX = 64
"""What holds more elements is data, not a shape."""

FAR = (1 << 31) - 1
"""An end of a Slice from here on stands for "all there is"; backwards the standard and the runtime differ about it."""

_LIMITS: dict[int, np.iinfo[Any]] = {
    elem_type: np.iinfo(tensor_dtype_to_np_dtype(elem_type))
    for elem_type in (
        *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
        *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
    )
}

Dims = Mapping[str, tuple[int | None, ...]]
"""The static dimensions of tensors; None where one is open. A tensor of unknown rank is absent."""


def static_dims_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """As `dims_of`, but a dimension of 0 counts as open: some exporters mean that by it."""
    dims = dims_of(value.type)
    return None if dims is None else tuple(None if dim is None or dim <= 0 else dim for dim in dims)


@dataclass(frozen=True, slots=True)
class Integers:
    """A tensor of integers, known in part.

    Attributes:
        elem_type: ONNX's number of its type.
        values: an array of objects in the tensor's shape; each is an int, or None for unknown.
    """

    elem_type: int
    values: np.ndarray[Any, np.dtype[np.object_]]

    @property
    def elements(self) -> tuple[int | None, ...]:
        """The elements in order."""
        return tuple(self.values.reshape(-1).tolist())

    @property
    def whole(self) -> bool:
        """Whether every element is known."""
        return None not in self.elements

    def tensor(self, name: str) -> onnx.TensorProto:
        """The same as a weight; every element must be known."""
        dtype = tensor_dtype_to_np_dtype(self.elem_type)
        return onnx.numpy_helper.from_array(np.array(self.values.tolist(), dtype).reshape(self.values.shape), name)


Known = Mapping[str, Integers]
Rule = Callable[[onnx.NodeProto, "_Scope"], Integers | None]


def of_weights(tensors: Iterable[onnx.TensorProto]) -> dict[str, Integers]:
    """The weights that are small integer tensors; none that lie in another file."""
    found = {tensor.name: _of_tensor(tensor) for tensor in tensors}
    return {name: integers for name, integers in found.items() if integers is not None}


def follow(nodes: Iterable[onnx.NodeProto], known: Known, dims: Dims, redefined: Collection[str] = ()) -> dict[str, Integers]:
    """What nodes in order make of small integers.

    Args:
        nodes: of one graph.
        known: what is known before it: weights.
        dims: static dimensions.
        redefined: standard operators that the model defines otherwise; their outputs are unknown.

    Returns:
        The outputs of the nodes of which at least the shape is known.
    """
    followed: dict[str, Integers] = {}
    scope = _Scope(ChainMap(followed, dict(known)), dims)
    for node in nodes:
        rule = _RULES.get(node.op_type)
        if rule is None or not node.output or node.domain not in DEFAULT_DOMAINS or node.op_type in redefined:
            continue
        try:
            made = rule(node, scope)
        except (ValueError, IndexError, OverflowError):  # no such axis, index or value: the node makes no sense
            continue
        if made is not None and made.values.size <= ELEMENTS_MAX:
            followed[node.output[0]] = made
    return followed


@dataclass(frozen=True, slots=True)
class _Scope:
    known: Known
    dims: Dims

    def at(self, node: onnx.NodeProto, place: int) -> Integers | None:
        """What is known of an input."""
        return self.known.get(node.input[place]) if place < len(node.input) else None

    def whole(self, node: onnx.NodeProto, place: int, name: str = "") -> tuple[int, ...] | None:
        """The elements of an input (in older opsets of an attribute); None where it is absent or one is unknown."""
        if place >= len(node.input) or not node.input[place]:
            return integers(node, name)
        found = self.at(node, place)
        return None if found is None else _all(found.elements)


def _all(elements: Sequence[int | None]) -> tuple[int, ...] | None:
    whole = tuple(element for element in elements if element is not None)
    return whole if len(whole) == len(elements) else None


def _of_tensor(tensor: onnx.TensorProto) -> Integers | None:
    small = len(tensor.dims) <= ELEMENTS_MAX and min(tensor.dims, default=0) >= 0 and prod(tensor.dims) <= ELEMENTS_MAX
    if not small or tensor.data_type not in _LIMITS or tensor.data_location == TensorProto.EXTERNAL:
        return None
    return Integers(tensor.data_type, onnx.numpy_helper.to_array(tensor).astype(object))


def _array(elements: Sequence[int | None]) -> np.ndarray[Any, np.dtype[np.object_]]:
    made = np.empty(len(elements), object)
    made[:] = elements
    return made


def _constant(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    tensor = constant_of(node)
    return None if tensor is None else _of_tensor(tensor)


def _shape(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    dims = scope.dims.get(node.input[0])
    if dims is None:
        return None
    end = attribute(node, "end")
    return Integers(TensorProto.INT64, _array(dims[integer(node, "start", 0) : None if end is None else end.i]))


def _size(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    dims = scope.dims.get(node.input[0])
    whole = None if dims is None else _all(dims)
    return None if whole is None else Integers(TensorProto.INT64, np.asarray(prod(whole), object))


def _identity(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    return scope.at(node, 0)


def _gather(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data, places = scope.at(node, 0), scope.at(node, 1)
    if data is None or places is None or not places.whole:
        return None
    made = np.take(data.values, places.values.astype(np.int64), axis=integer(node, "axis", 0))
    return Integers(data.elem_type, np.asarray(made, object))


def _slice(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data = scope.at(node, 0)
    starts, ends = scope.whole(node, 1, "starts"), scope.whole(node, 2, "ends")
    if data is None or starts is None or ends is None:
        return None
    axes, steps = _optional(node, scope, 3, "axes"), _optional(node, scope, 4, "steps")
    if axes is None or steps is None:
        return None
    cuts = [slice(None)] * data.values.ndim
    parts = zip(starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True)
    for start, end, axis, step in parts:
        if step < 0 and (start < -data.values.shape[axis] or end >= FAR):
            return None  # numpy, the standard and the runtime differ here
        cuts[axis] = slice(start, end, step)
    return Integers(data.elem_type, data.values[tuple(cuts)])


def _optional(node: onnx.NodeProto, scope: _Scope, place: int, name: str) -> tuple[int, ...] | None:
    """Like `_Scope.whole`, but empty where the node has none; None only where it is there and unknown."""
    return () if _is_absent(node, place, name) else scope.whole(node, place, name)


def _is_absent(node: onnx.NodeProto, place: int, name: str) -> bool:
    return (place >= len(node.input) or not node.input[place]) and attribute(node, name) is None


def _concat(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    parts = [part for part in map(scope.known.get, node.input) if part is not None]
    if len(parts) != len(node.input) or attribute(node, "axis") is None:
        return None
    return Integers(parts[0].elem_type, np.concatenate([part.values for part in parts], axis=integer(node, "axis", 0)))


def _unsqueeze(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data, axes = scope.at(node, 0), scope.whole(node, 1, "axes")
    return None if data is None or axes is None else Integers(data.elem_type, np.expand_dims(data.values, axes))


def _squeeze(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data, axes = scope.at(node, 0), scope.whole(node, 1, "axes")
    if data is None or not (axes or _is_absent(node, 1, "axes")):
        return None
    return Integers(data.elem_type, np.squeeze(data.values, axes))


def _reshape(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data, target = scope.at(node, 0), scope.whole(node, 1)
    return None if data is None or target is None or 0 in target else Integers(data.elem_type, data.values.reshape(target))


def _cast(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
    data, to = scope.at(node, 0), integer(node, "to", 0)
    return None if data is None or to not in _LIMITS else _fit(to, data.values)


def _arithmetic(calculate: Callable[[int, int], int | None]) -> Rule:
    """A rule that computes element by element, with numpy's broadcasting, which is that of ONNX."""

    def each(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else calculate(a, b)

    def rule(node: onnx.NodeProto, scope: _Scope) -> Integers | None:
        first, second = scope.at(node, 0), scope.at(node, 1)
        if first is None or second is None or first.elem_type != second.elem_type or node.attribute:
            return None
        return _fit(first.elem_type, np.asarray(np.frompyfunc(each, 2, 1)(first.values, second.values), object))

    return rule


def _divide(a: int, b: int) -> int | None:
    """Towards zero, as the runtime does."""
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _fit(elem_type: int, values: np.ndarray[Any, Any]) -> Integers:
    """What lies outside the type is unknown: nobody promises how it wraps."""
    limits = _LIMITS[elem_type]

    def each(value: int | None) -> int | None:
        return value if value is not None and limits.min <= value <= limits.max else None

    return Integers(elem_type, np.asarray(np.frompyfunc(each, 1, 1)(values), object).reshape(values.shape))


_RULES: dict[str, Rule] = {
    "Constant": _constant,
    "Shape": _shape,
    "Size": _size,
    "Identity": _identity,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Cast": _cast,
    "Add": _arithmetic(lambda a, b: a + b),
    "Sub": _arithmetic(lambda a, b: a - b),
    "Mul": _arithmetic(lambda a, b: a * b),
    "Div": _arithmetic(_divide),
}
