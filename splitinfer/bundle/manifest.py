"""The identity of a bundle: a value, its canonical bytes, and the checks that a manifest from a stranger must pass.

Knows no file. Canonical means: sorted keys, no spaces, ASCII, no floats, no line break at the end. A manifest is accepted only
if writing what was read gives the same bytes, so a wrong type, a float, a key that is unknown or comes twice cannot slip in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from splitinfer.errors import CorruptBundle
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec

FORMAT = 2
"""Version of the on-disk form that is written."""
FORMATS_READ = (1, 2)
"""Format 1 does not say whether the model takes several items at once (`Manifest.batches`)."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DTYPES = frozenset(
    ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64"]
)


@dataclass(frozen=True, slots=True)
class CutEntry:
    """A cut as it is written down: without what follows from its place.

    Attributes:
        id: 12 hex digits over the model and the live set.
        name: a friendly one.
        tensors: what crosses.
    """

    id: str
    name: str
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment as it is written down: its graph and its weights are names of blobs."""

    sha256: str
    weights: tuple[str, ...]
    nodes: int
    operations: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The identity part of a bundle.

    Attributes:
        inputs: of the uncut model.
        outputs: of the uncut model.
        cuts: cut 0 to cut n.
        segments: segment 0 to segment n-1.
        blobs: name -> size in bytes, everything that belongs to the bundle.
        tables: key -> blob; the keys are the codecs' business.
        image_input: name of the uint8 NHWC input, or None.
        preprocessing: what was folded into segment 0 for it, in integers and text.
        batches: whether the model takes several items along axis 0; None = unknown, which only format 1 may say.
        format: version of the on-disk form. It is part of the identity: an old manifest is written as it was read.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cuts: tuple[CutEntry, ...]
    segments: tuple[SegmentEntry, ...]
    blobs: Mapping[str, int]
    tables: Mapping[str, str]
    image_input: str | None
    preprocessing: Mapping[str, int | str]
    batches: bool | None
    format: int = FORMAT

    def encode(self) -> bytes:
        """The canonical bytes."""
        image = {"name": self.image_input, "preprocessing": dict(self.preprocessing)}
        data: dict[str, Any] = {
            "format": self.format,
            "inputs": [_spec_data(spec) for spec in self.inputs],
            "outputs": [_spec_data(spec) for spec in self.outputs],
            "cuts": [{"id": c.id, "name": c.name, "tensors": [_spec_data(t) for t in c.tensors]} for c in self.cuts],
            "segments": [_segment_data(segment) for segment in self.segments],
            "blobs": dict(self.blobs),
            "tables": dict(self.tables),
            "image_input": None if self.image_input is None else image,
        }
        if self.format > 1:
            data["batches"] = self.batches
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Reads and checks a manifest.

        Raises:
            CorruptBundle: it is not a canonical manifest of this format, or it contradicts itself.
        """
        raw = _parse(data)
        try:
            manifest = _manifest(raw)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CorruptBundle(
                "manifest.json lacks a field or has one of another type: build or copy the bundle again"
            ) from error
        if manifest.encode() != data:
            raise CorruptBundle("manifest.json is not in canonical form, so it was changed: build or copy the bundle again")
        manifest.check()
        return manifest

    def check(self) -> None:
        """Refuses a manifest that contradicts itself.

        Raises:
            CorruptBundle: names the first contradiction.
        """
        for objection in _objections(self):
            raise CorruptBundle(f"manifest.json contradicts itself: {objection}")

    def model(self, digest: Digest, name: str, version: str, holds: frozenset[int]) -> Model:
        """The model that it describes. The depth of a cut is its head's share of the operations."""
        done = list(accumulate((s.operations for s in self.segments), initial=0))
        depths = [ops / done[-1] for ops in done] if done[-1] else [i / len(self.segments) for i in range(len(done))]
        return Model(
            digest=digest,
            name=name,
            version=version,
            inputs=self.inputs,
            outputs=self.outputs,
            cuts=tuple(Cut(i, c.id, c.name, c.tensors, d) for i, (c, d) in enumerate(zip(self.cuts, depths, strict=True))),
            segments=tuple(self._segment(i, s) for i, s in enumerate(self.segments)),
            holds=holds,
            image_input=self.image_input,
            batches=self.batches,
        )

    def segment_blobs(self, index: int) -> frozenset[str]:
        """Graph and weights of a segment."""
        segment = self.segments[index]
        return frozenset((segment.sha256, *segment.weights))

    def _segment(self, index: int, entry: SegmentEntry) -> Segment:
        nbytes = sum(self.blobs[blob] for blob in self.segment_blobs(index))
        return Segment(index, entry.sha256, nbytes, entry.nodes, entry.operations, entry.inputs, entry.outputs)


def digest_of(data: bytes) -> Digest:
    """Digest of a manifest's bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


def _spec_data(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _segment_data(entry: SegmentEntry) -> dict[str, Any]:
    return {
        "sha256": entry.sha256,
        "weights": list(entry.weights),
        "nodes": entry.nodes,
        "operations": entry.operations,
        "inputs": list(entry.inputs),
        "outputs": list(entry.outputs),
    }


def _parse(data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptBundle("manifest.json is not JSON: build or copy the bundle again") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if type(version) is not int:
        raise CorruptBundle("manifest.json is not the manifest of a bundle")
    if version not in FORMATS_READ:
        what = "upgrade splitinfer" if version > FORMAT else "build the bundle again"
        known = " and ".join(map(str, FORMATS_READ))
        raise CorruptBundle(f"the bundle has format {version}, this splitinfer reads {known}: {what}")
    return dict(raw)


# The readers below convert freely (int("5"), str(5)): `decode` sees what needed it, for that does not come out as it went in.


def _manifest(raw: dict[str, Any]) -> Manifest:
    image = raw["image_input"]
    return Manifest(
        inputs=tuple(_spec(item) for item in raw["inputs"]),
        outputs=tuple(_spec(item) for item in raw["outputs"]),
        cuts=tuple(CutEntry(str(c["id"]), str(c["name"]), tuple(_spec(t) for t in c["tensors"])) for c in raw["cuts"]),
        segments=tuple(_segment(item) for item in raw["segments"]),
        blobs={str(name): int(nbytes) for name, nbytes in raw["blobs"].items()},
        tables={str(key): str(blob) for key, blob in raw["tables"].items()},
        image_input=None if image is None else str(image["name"]),
        preprocessing={} if image is None else {k: _plain(v) for k, v in image["preprocessing"].items()},
        batches=bool(raw["batches"]) if raw["format"] > 1 else None,
        format=raw["format"],
    )


def _spec(item: dict[str, Any]) -> TensorSpec:
    return TensorSpec(str(item["name"]), str(item["dtype"]), tuple(None if d is None else int(d) for d in item["shape"]))


def _segment(item: dict[str, Any]) -> SegmentEntry:
    return SegmentEntry(
        sha256=str(item["sha256"]),
        weights=tuple(str(name) for name in item["weights"]),
        nodes=int(item["nodes"]),
        operations=int(item["operations"]),
        inputs=tuple(str(name) for name in item["inputs"]),
        outputs=tuple(str(name) for name in item["outputs"]),
    )


def _plain(value: object) -> int | str:
    return value if isinstance(value, str) else int(str(value))


def _objections(manifest: Manifest) -> Iterator[str]:
    yield from _blob_objections(manifest)
    yield from _spec_objections(manifest)
    if (manifest.batches is None) != (manifest.format == 1):
        yield "from format 2 on, and only then, it says whether the model takes several items at once"
    if not manifest.segments or len(manifest.cuts) != len(manifest.segments) + 1:
        yield "n segments need n + 1 cuts"
        return
    yield from _chain_objections(manifest)


def _blob_objections(manifest: Manifest) -> Iterator[str]:
    named = {name for s in manifest.segments for name in (s.sha256, *s.weights)} | set(manifest.tables.values())
    if named != manifest.blobs.keys():
        yield "the blobs that are listed are not those that are used"
    if not all(_SHA256.fullmatch(name) for name in manifest.blobs):
        yield "the name of a blob is not a SHA-256"
    if any(len(set(s.weights)) < len(s.weights) or s.sha256 in s.weights for s in manifest.segments):
        yield "a segment names a blob twice"
    numbers = [n for s in manifest.segments for n in (s.nodes, s.operations)]
    if min([*manifest.blobs.values(), *numbers], default=0) < 0:
        yield "a size is negative"


def _spec_objections(manifest: Manifest) -> Iterator[str]:
    for group in (manifest.inputs, manifest.outputs, *(cut.tensors for cut in manifest.cuts)):
        if len({spec.name for spec in group}) < len(group):
            yield "a tensor comes twice"
        for spec in group:
            if spec.dtype not in _DTYPES:
                yield f"tensor {spec.name!r} has the unknown type {spec.dtype!r}"
            if any(d is not None and d < 0 for d in spec.shape):
                yield f"tensor {spec.name!r} has a negative dimension"


def _chain_objections(manifest: Manifest) -> Iterator[str]:
    names = [{t.name for t in cut.tensors} for cut in manifest.cuts]
    outputs = {spec.name for spec in manifest.outputs}
    if manifest.cuts[0].tensors != manifest.inputs or names[-1]:
        yield "cut 0 must send the inputs and the last cut nothing"
    if len({cut.id for cut in manifest.cuts}) < len(manifest.cuts):
        yield "two cuts have the same id"
    if manifest.image_input is not None and manifest.image_input not in names[0]:
        yield f"the image input {manifest.image_input!r} is not an input"
    for index, ((before, after), segment) in enumerate(zip(pairwise(names), manifest.segments, strict=True)):
        made = set(segment.outputs)
        if not set(segment.inputs) <= before or not after <= before | made or not made <= after | outputs:
            yield f"segment {index} does not lead from cut {index} to cut {index + 1}"
    if not outputs <= {name for segment in manifest.segments for name in segment.outputs}:
        yield "an output is made by no segment"
