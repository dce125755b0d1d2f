"""The bytes of weights, wherever they lie: in the model, in its typed fields, or in a file beside it.

A file is mapped, never loaded: its pages come and go with the system's cache, so a model may be larger than the memory.
Whether a place may be read at all is the business of `gate`. Knows no graph.
"""

from __future__ import annotations

import hashlib
import mmap
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from splitinfer.build.elem_types import DTYPES, packed_bytes
from splitinfer.bundle import INLINE_BYTES
from splitinfer.errors import UnsupportedModel


class Weights:
    """Where the weights of one model are.

    Args:
        folder: of the model; None where all weights are inside it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._files: dict[str, memoryview] = {}
        self._hashes: dict[str, str] = {}

    def data(self, tensor: TensorProto) -> bytes | memoryview | None:
        """The little-endian bytes of a weight, not copied where they are bytes already; None where it has none (text)."""
        if is_outside(tensor):
            return self._outside(tensor)
        if tensor.HasField("raw_data"):
            return tensor.raw_data
        if tensor.data_type not in DTYPES:
            return None
        array = onnx.numpy_helper.to_array(tensor)
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()

    def sha256(self, tensor: TensorProto) -> str | None:
        """Of the bytes of a named weight; each is hashed once."""
        if tensor.name not in self._hashes:
            data = self.data(tensor)
            if data is None:
                return None
            self._hashes[tensor.name] = hashlib.sha256(data).hexdigest()
        return self._hashes[tensor.name]

    def bring_in(self, tensor: TensorProto) -> None:
        """Puts the bytes of a weight that lies outside into the model."""
        if is_outside(tensor):
            data = bytes(self._outside(tensor))
            tensor.ClearField("external_data")
            tensor.raw_data = data
        if tensor.HasField("data_location"):
            tensor.ClearField("data_location")  # a weight that is inside says nothing of files

    def _outside(self, tensor: TensorProto) -> memoryview:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        place, start = entries.get("location", ""), int(entries.get("offset") or 0)
        nbytes = nbytes_of(tensor)
        if not nbytes:
            return memoryview(b"")
        data = self._file(place)[start : start + nbytes]
        if len(data) != nbytes:
            raise UnsupportedModel(f"the file {place!r} ends within the weight {tensor.name!r}: copy or export the model again")
        return data

    def _file(self, place: str) -> memoryview:
        if place not in self._files:
            if self.folder is None:
                raise UnsupportedModel(f"weights lie in {place!r}, but the model is not in a folder: give its path")
            try:
                with (self.folder / place).open("rb") as file:
                    self._files[place] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:
                raise UnsupportedModel(f"the file {place!r} with weights cannot be read: copy it beside the model") from error
        return self._files[place]


def is_outside(tensor: TensorProto) -> bool:
    """Whether the bytes of a weight lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def nbytes_of(tensor: TensorProto) -> int:
    """Bytes of a weight, by its type and shape. Text counts nothing."""
    return packed_bytes(tensor.data_type, prod(tensor.dims))


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """A light copy for checks and inference: a weight that is not small is declared as an input instead.

    Nothing that depends on types and shapes alone can tell the difference, and no gigabytes are copied.
    """
    light = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            continue
        if isinstance(value, int | str):
            setattr(light, field.name, value)
        else:
            getattr(light, field.name).MergeFrom(value)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    for tensor in source.initializer:
        if is_outside(tensor) or tensor.ByteSize() > 2 * INLINE_BYTES:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    return light
