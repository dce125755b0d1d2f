"""Whether tensors are as large as they say. Opens no file."""

from __future__ import annotations

from math import prod

import onnx
from onnx import TensorProto

from splitinfer.build.elem_types import BITS, packed_bytes
from splitinfer.build.gate import parts
from splitinfer.build.weights import nbytes_of
from splitinfer.errors import UnsupportedModel

DENSE_MAX_BYTES = 2 << 30
"""What a sparse tensor may need as an ordinary one."""

_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.STRING: "string_data",
}
"""Where elements lie that are not raw; those of other types lie in int32_data, of 4 or 2 bits several in one."""


def check(model: onnx.ModelProto) -> None:
    """Refuses tensors with impossible shapes, and those whose data does not fill their shape.

    Raises:
        UnsupportedModel: names the tensor.
    """
    for held in parts.tensors(model):
        _check_kind(held.name, held.tensor)
        if held.tensor.data_location != TensorProto.EXTERNAL:
            _check_data(held.name, held.tensor)
    for sparse in parts.sparse_tensors(model):
        _check_sparse(sparse)


def _check_kind(name: str, tensor: TensorProto) -> None:
    if min(tensor.dims, default=0) < 0:
        raise UnsupportedModel(
            f"{name} has the shape {list(tensor.dims)}: a stored tensor needs sizes of 0 or more, export it again"
        )
    if tensor.data_type not in BITS and tensor.data_type != TensorProto.STRING:
        raise UnsupportedModel(f"{name} is of the unknown type {tensor.data_type}: export the model again")
    if tensor.HasField("segment"):
        raise UnsupportedModel(f"{name} is stored in segments, which nothing reads: export the model again")


def _check_data(name: str, tensor: TensorProto) -> None:
    elements = prod(tensor.dims)
    if tensor.HasField("raw_data"):
        found, needed, unit = len(tensor.raw_data), nbytes_of(tensor), "bytes"
        if tensor.data_type == TensorProto.STRING:
            raise UnsupportedModel(f"{name} holds text as raw bytes, which ONNX forbids: export the model again")
    else:
        found, needed, unit = _typed(tensor), _entries(tensor.data_type, elements), "entries"
    if found != needed:
        raise UnsupportedModel(
            f"{name} holds {found} {unit}, but its shape {list(tensor.dims)} needs {needed}: export the model again"
        )


def _typed(tensor: TensorProto) -> int:
    return len(getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data")))


def _entries(elem_type: int, elements: int) -> int:
    """How many entries of its typed field so many elements take."""
    if elem_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * elements
    return packed_bytes(elem_type, elements) if BITS.get(elem_type) in (2, 4) else elements


def _check_sparse(held: parts.HeldSparse) -> None:
    dims = list(held.tensor.dims)
    if min(dims, default=0) < 0:
        raise UnsupportedModel(f"{held.name} has the shape {dims}: a stored tensor needs sizes of 0 or more, export it again")
    dense, stored = prod(dims), prod(held.tensor.values.dims)
    if stored > dense:
        raise UnsupportedModel(f"{held.name} has {stored} values for {dense} places: the file is damaged, export it again")
    if packed_bytes(held.tensor.values.data_type, dense) > DENSE_MAX_BYTES:
        raise UnsupportedModel(f"{held.name} of the shape {dims} is larger than 2 GiB as an ordinary tensor: store it dense")
