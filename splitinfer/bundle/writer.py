"""Writing a bundle: a draft in, a folder that appears at once and whole."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splitinfer.bundle import files, records
from splitinfer.bundle.boundaries import BoundaryEntry, encode_boundaries
from splitinfer.bundle.manifest import CutEntry, Manifest, SegmentEntry
from splitinfer.bundle.reader import Bundle
from splitinfer.model import TensorSpec

INLINE_BYTES = 1024
"""Weights up to this size stay inside the graph; larger ones are blobs of their own."""

Blob = bytes | memoryview | Path
"""Content, or a file to copy it from."""


@dataclass(frozen=True)
class SegmentDraft:
    """A segment to be written.

    Attributes:
        graph: an ONNX ModelProto; each weight above `INLINE_BYTES` is external data with `location` = its SHA-256 and offset 0.
        weights: SHA-256 of the weights that the graph refers to.
        nodes: number of nodes.
        operations: estimated multiply-adds at batch 1.
        inputs: names it reads, a subset of the cut before.
        outputs: names it makes: those of the cut after that it computes, and outputs of the model.
    """

    graph: bytes
    weights: tuple[str, ...]
    nodes: int
    operations: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """All that a bundle is made of.

    Attributes:
        name: label.
        version: label.
        inputs: of the uncut model.
        outputs: of the uncut model.
        cuts: cut 0 (the inputs) to cut n (nothing).
        segments: segment i leads from cut i to cut i + 1.
        weights: SHA-256 -> raw little-endian bytes of one initializer.
        batches: whether the model takes several items along axis 0 and answers each as alone.
        tables: codec tables by key.
        image_input: name of the uint8 NHWC input, or None.
        preprocessing: what was folded into segment 0 for it, in integers and text.
        build_info: anything that JSON can hold; outside the identity.
        boundaries: where the model could have been cut, and why it was or was not; outside the identity.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cuts: tuple[CutEntry, ...]
    segments: tuple[SegmentDraft, ...]
    weights: Mapping[str, Blob]
    batches: bool
    tables: Mapping[str, bytes] = field(default_factory=dict)
    image_input: str | None = None
    preprocessing: Mapping[str, int | str] = field(default_factory=dict)
    build_info: Mapping[str, Any] = field(default_factory=dict)
    boundaries: tuple[BoundaryEntry, ...] = ()


def write(path: str | Path, draft: Draft, *, overwrite: bool = False) -> Bundle:
    """Writes a bundle beside `path` and renames it there, so that a reader sees all of it or nothing.

    Args:
        path: the folder to be.
        draft: what to write.
        overwrite: replace a bundle that is there.

    Returns:
        The bundle, opened and verified.

    Raises:
        FileExistsError: something is there, and it is no bundle or `overwrite` is off.
        CorruptBundle: the draft contradicts itself.
        ValueError: a weight is missing or not what its SHA-256 says.
    """
    return place(path, lambda folder: _fill(folder, draft), overwrite)


def place(path: str | Path, fill: Callable[[Path], None], overwrite: bool) -> Bundle:
    """Makes a bundle beside `path` and renames it there, so that a reader sees all of it or nothing.

    Args:
        path: the folder to be.
        fill: makes the folder that it is given, and all that is in it.
        overwrite: replace a bundle that is there.

    Returns:
        The bundle, opened and verified.

    Raises:
        FileExistsError: something is there, and it is no bundle or `overwrite` is off.
        CorruptBundle: what was made is no bundle.
    """
    folder = Path(path).absolute()
    _check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch, "new")
        fill(fresh)
        Bundle.open(fresh)
        _swap(fresh, folder, Path(scratch, "old"))
    files.sync_folder(folder.parent)
    return Bundle.open(folder, verify=False)


def publish(bundle: Bundle, path: str | Path, *, overwrite: bool = False) -> Bundle:
    """Moves a bundle to where it is to be, at once and with all that was written beside it.

    Args:
        bundle: somewhere on the same file system.
        path: the folder to be; the one above it is there.
        overwrite: replace a bundle that is there.

    Raises:
        FileExistsError: something is there, and it is no bundle or `overwrite` is off.
    """
    folder = Path(path).absolute()
    _check_free(folder, overwrite)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        _swap(bundle.path, folder, Path(scratch, "old"))
    files.sync_folder(folder.parent)
    return Bundle.open(folder, verify=False)


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists: choose another place, or overwrite it explicitly")
    if folder.is_symlink() or not (folder / "manifest.json").is_file():
        raise FileExistsError(f"{folder} exists and is no bundle: choose another place, or remove it yourself")


def _fill(folder: Path, draft: Draft) -> None:
    store = folder / "blobs"
    store.mkdir(parents=True)
    sizes = {_sha256(s.graph): files.save(store / _sha256(s.graph), [s.graph]) for s in _distinct(draft.segments)}
    for name in sorted({name for segment in draft.segments for name in segment.weights}):
        if name not in draft.weights:
            raise ValueError(f"a segment refers to the weight {name}, but the draft has none")
        sizes[name] = files.save(store / name, _chunks(draft.weights[name]), sha256=name)
    for table in draft.tables.values():
        if (name := _sha256(table)) not in sizes:
            sizes[name] = files.save(store / name, [table])
    manifest = _manifest(draft, sizes)
    manifest.check()
    info = records.Info(draft.name, draft.version, draft.build_info)
    files.save(folder / "manifest.json", [manifest.encode()])
    files.save(folder / "info.json", [records.encode_info(info)])
    if draft.boundaries:
        files.save(folder / "boundaries.json", [encode_boundaries(draft.boundaries)])
    files.sync_folder(store)
    files.sync_folder(folder)


def _manifest(draft: Draft, sizes: Mapping[str, int]) -> Manifest:
    return Manifest(
        inputs=draft.inputs,
        outputs=draft.outputs,
        cuts=draft.cuts,
        segments=tuple(_entry(segment) for segment in draft.segments),
        blobs=sizes,
        tables={key: _sha256(table) for key, table in draft.tables.items()},
        image_input=draft.image_input,
        preprocessing=draft.preprocessing,
        batches=draft.batches,
    )


def _entry(segment: SegmentDraft) -> SegmentEntry:
    return SegmentEntry(
        sha256=_sha256(segment.graph),
        weights=tuple(sorted(segment.weights)),
        nodes=segment.nodes,
        operations=segment.operations,
        inputs=segment.inputs,
        outputs=segment.outputs,
    )


def _distinct(segments: Iterable[SegmentDraft]) -> Iterable[SegmentDraft]:
    return {segment.graph: segment for segment in segments}.values()


def _chunks(blob: Blob) -> Iterable[bytes | memoryview]:
    return files.chunks_of(blob) if isinstance(blob, Path) else [blob]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _swap(fresh: Path, folder: Path, aside: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)
