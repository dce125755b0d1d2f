"""Reads the tensors of a `.pth` state dict in torch's legacy format, without torch.

The format is five pickles (magic number, protocol, system, state dict, storage keys) and then, for each key, an int64 element
count and the raw little-endian elements. Pickles can run code, and nothing that comes over a network is ever unpickled here:
this is for a file of an installed package, and even there only the names that a state dict needs may be looked up. Knows no
model.
"""

from __future__ import annotations

import pickle  # restricted below
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from splitinfer.errors import ModelError
from splitinfer.model import Array

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
}


@dataclass(frozen=True, slots=True)
class _Storage:
    """Elements in the file that tensors are views of."""

    dtype: str
    key: str
    count: int


class _View:
    """What `torch._utils._rebuild_tensor_v2` would make: a strided view of a storage. Counted in elements."""

    def __init__(self, storage: _Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    def array(self, elements: Array) -> Array:
        """The tensor, copied out of its storage."""
        if not isinstance(self.storage, _Storage) or len(self.shape) != len(self.strides):
            raise ModelError("a tensor of the state dict is not a view of a storage")
        if min((self.offset, *self.shape, *self.strides)) < 0:
            raise ModelError("a tensor of the state dict has a negative size")
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last >= elements.size:
            raise ModelError("a tensor of the state dict reaches beyond its storage")
        step = elements.itemsize
        view = np.lib.stride_tricks.as_strided(elements[self.offset :], self.shape, [s * step for s in self.strides])
        return view.copy()


class _StateDictUnpickler(pickle.Unpickler):
    """Finds the names of a state dict and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _View
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ("storage", type, key, device, count, ...)."""
        _, kind, key, _, count, *_ = pid
        return _Storage(_DTYPES[kind], str(key), int(count))


def read(path: Path) -> dict[str, Array]:
    """Name -> tensor.

    Args:
        path: a state dict that `torch.save(..., _use_new_zipfile_serialization=False)` or a torch before 1.6 wrote.

    Raises:
        ModelError: it is not one.
    """
    with path.open("rb") as file:
        try:
            if _load(file) != _MAGIC or _load(file) != _PROTOCOL:
                raise ModelError(f"{path.name} is not a state dict in torch's legacy format")
            _load(file)
            state, keys = _load(file), _load(file)
            views = _views(state)
            storages = {view.storage.key: view.storage for view in views.values()}
            elements = {key: _elements(file, storages[key]) for key in keys}
            return {name: view.array(elements[view.storage.key]) for name, view in views.items()}
        # What unpickling bytes that are not a pickle, or a pickle of something else, ends in.
        except (
            pickle.UnpicklingError,
            EOFError,
            AttributeError,
            ImportError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise ModelError(f"{path.name} is not a plain state dict in torch's legacy format") from error


def _load(file: IO[bytes]) -> Any:
    return _StateDictUnpickler(file).load()


def _views(state: Any) -> Mapping[str, _View]:
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, _View) for k, v in state.items()):
        raise ModelError("the file holds something else than names and tensors")
    return state


def _elements(file: IO[bytes], storage: _Storage) -> Array:
    """The next storage of the file: an element count, then the elements."""
    count = int.from_bytes(file.read(8), "little", signed=True)
    size = np.dtype(storage.dtype).itemsize
    if count != storage.count or count < 0:
        raise ModelError("a storage of the state dict has another size than it says")
    data = file.read(count * size)
    if len(data) != count * size:
        raise ModelError("the state dict ends in the middle of a tensor")
    return np.frombuffer(data, storage.dtype)
