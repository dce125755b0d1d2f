"""The element types of ONNX: how large an element is, what numpy calls it, and as what it crosses. Knows no model.

A type is its number in `TensorProto.DataType`.
"""

from __future__ import annotations

from onnx import TensorProto

DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
}
"""The types that arrays carry. Text stays inside a segment."""

ELEM_TYPES: dict[str, int] = {name: number for number, name in DTYPES.items()}

CARRIERS: dict[int, int] = {
    TensorProto.FLOAT16: TensorProto.FLOAT,
    TensorProto.BFLOAT16: TensorProto.FLOAT,
    TensorProto.FLOAT8E4M3FN: TensorProto.FLOAT,
    TensorProto.FLOAT8E5M2: TensorProto.FLOAT,
    TensorProto.INT4: TensorProto.INT8,
    TensorProto.UINT4: TensorProto.UINT8,
}
"""Types that cross as another one, by a Cast on each side. No value is lost. float16 is here although arrays carry it: the
runtime computes such nodes in float32 on a CPU and drops the casts between them, so only float32 at the cut gives the uncut
model's answer (measured on six convolutions: error 0 instead of 6e-4)."""

_NAMES = {
    128: "COMPLEX128",
    64: "DOUBLE INT64 UINT64 COMPLEX64",
    32: "FLOAT INT32 UINT32",
    16: "FLOAT16 BFLOAT16 INT16 UINT16",
    8: "INT8 UINT8 BOOL FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0",
    6: "FLOAT6E2M3 FLOAT6E3M2",
    4: "INT4 UINT4 FLOAT4E2M1",
    2: "INT2 UINT2",
}
_NUMBERS = dict(TensorProto.DataType.items())

BITS: dict[int, int] = {
    _NUMBERS[name]: bits
    for bits, names in _NAMES.items()
    for name in names.split()
    if name in _NUMBERS  # as onnx has them
}
"""Bits of one element. Text has none."""


def packed_bytes(elem_type: int, elements: int) -> int:
    """Bytes of so many elements; those smaller than a byte are packed. Text counts nothing."""
    return (elements * BITS.get(elem_type, 0) + 7) // 8


def type_name(elem_type: int) -> str:
    """How messages name a type: "float16"."""
    name: str = TensorProto.DataType.Name(elem_type).lower()
    return name
