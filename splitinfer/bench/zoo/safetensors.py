"""Reads the safetensors format: the length of a header, a JSON header, then the elements of all tensors. Knows no network."""

from __future__ import annotations

import json

import numpy as np

from splitinfer.errors import ModelError
from splitinfer.model import Array

_LENGTH_BYTES = 8
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read(data: bytes) -> dict[str, Array]:
    """Tensors by name, as views of the data.

    Raises:
        ModelError: it is not of this format, or holds a type that numpy does not have.
    """
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        header = json.loads(data[_LENGTH_BYTES:start])
        return {name: _tensor(data, start, **entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"this is not a file of safetensors, or it is damaged: {error}") from error


def _tensor(data: bytes, start: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]) -> Array:
    begin, end = data_offsets
    if not 0 <= begin <= end <= len(data) - start:
        raise ValueError("a tensor reaches beyond the end")
    return np.frombuffer(data[start + begin : start + end], _DTYPES[dtype]).reshape(shape)
