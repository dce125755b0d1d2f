"""Where weights may lie that are not in the model file: in ordinary files of its folder, inside their bounds.

ONNX lets a model name any file. One from a stranger could so read what it should not, and put it into a bundle. A link is
refused, since it leads out of the folder; a hard link too, since nothing tells where else it is. This looks once: keep the
folder to yourself while building.
"""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from splitinfer.build.gate import parts
from splitinfer.build.weights import nbytes_of
from splitinfer.errors import UnsupportedModel

_KEYS = frozenset({"location", "offset", "length", "checksum"})
_IN_MEMORY = "_ORT_MEM_ADDR_"  # the runtime takes the offset for an address of its own memory
_REPEATS_MAX = 8  # tied weights share bytes; a file that is read over and over is a bomb


@dataclass(frozen=True, slots=True)
class _Place:
    location: str
    offset: int
    length: int | None


def check(model: onnx.ModelProto, folder: Path) -> None:
    """Looks at every reference to a file.

    Raises:
        UnsupportedModel: names the tensor.
    """
    sizes: dict[str, int] = {}
    wanted: Counter[str] = Counter()
    for held in parts.tensors(model):
        if held.tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = _place(held)
        if place.location not in sizes:
            sizes[place.location] = _size(held.name, place.location, folder)
        _check_bounds(held, place, sizes[place.location])
        wanted[place.location] += nbytes_of(held.tensor)
    for location, nbytes in wanted.items():
        if nbytes > _REPEATS_MAX * sizes[location]:
            raise UnsupportedModel(
                f"the weights in {location!r} overlap: they need {nbytes} bytes of {sizes[location]}, export the model again"
            )


def _place(held: parts.Held) -> _Place:
    keys = [entry.key for entry in held.tensor.external_data]
    strange = next((key for key in keys if key not in _KEYS or keys.count(key) > 1), None)
    if strange is not None:
        raise UnsupportedModel(
            f"{held.name} says unknown or contradicting things of its file ({strange!r}): save it with onnx.save"
        )
    if held.tensor.data_type == onnx.TensorProto.STRING:
        raise UnsupportedModel(f"{held.name} is text and lies in another file, which ONNX forbids: store it inside the model")
    entries = {entry.key: entry.value for entry in held.tensor.external_data}
    location = entries.get("location", "")
    _check_location(held.name, location)
    offset = _number(held.name, "offset", entries.get("offset", "0"))
    length = _number(held.name, "length", entries["length"]) if "length" in entries else None
    return _Place(location, offset, length)


def _check_location(name: str, location: str) -> None:
    windows = PureWindowsPath(location)
    reason = None
    if not location:
        reason = "names no file"
    elif "\0" in location or "\\" in location or windows.drive or _IN_MEMORY in location:
        reason = f"lies in {location!r}, which is no plain relative path"
    elif windows.root or ".." in windows.parts:
        reason = f"lies in {location!r}, outside the folder of the model"
    if reason is not None:
        raise UnsupportedModel(f"{name} {reason}: put the file beside the model and save the model again with that name")


def _number(name: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnsupportedModel(
            f"{name} has the {key} {text[:40]!r} in its file, which is no count of bytes: export the model again"
        )
    return int(text)


def _size(name: str, location: str, folder: Path) -> int:
    """The bytes of a file, after a look at each step of the way to it."""
    at = folder
    for part in PurePosixPath(location).parts:
        at = at / part
        try:
            found = at.lstat()
        except OSError as error:
            raise UnsupportedModel(
                f"{name} lies in {location!r}, which is not there: copy that file beside the model"
            ) from error
        if stat.S_ISLNK(found.st_mode):
            raise UnsupportedModel(
                f"{name} lies in {location!r}, which is a symbolic link: put the file itself beside the model"
            )
    if at == folder or not stat.S_ISREG(found.st_mode):
        raise UnsupportedModel(f"{name} lies in {location!r}, which is no ordinary file: copy its weights beside the model")
    if found.st_nlink > 1:
        raise UnsupportedModel(f"{name} lies in {location!r}, which is a hard link: put a copy of the file beside the model")
    return found.st_size


def _check_bounds(held: parts.Held, place: _Place, size: int) -> None:
    needed = nbytes_of(held.tensor)
    if place.length not in (None, needed):
        raise UnsupportedModel(
            f"{held.name} takes {place.length} bytes of {place.location!r}, but its shape {list(held.tensor.dims)} "
            f"needs {needed}: export the model again"
        )
    if place.offset + needed > size:
        raise UnsupportedModel(
            f"{held.name} needs the bytes {place.offset} to {place.offset + needed} of {place.location!r}, which has {size}: "
            "copy the whole file, or export the model again"
        )
