"""Opening a bundle: everything that is read was checked against its hash, and only regular files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from splitinfer.bundle import files, records
from splitinfer.bundle.boundaries import BoundaryEntry, decode_boundaries
from splitinfer.bundle.manifest import Manifest, digest_of
from splitinfer.errors import CorruptBundle, InvalidCut
from splitinfer.model import Digest, Model
from splitinfer.plan import Profile, Scorecard

_RECORD_BYTES_MAX = 64 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened. Immutable; make one with `Bundle.open` or `write`.

    Attributes:
        path: the folder.
        model: what it holds, with labels.
        manifest: the identity as it is written.
        tables: codec tables by key.
        info: labels and build information.
        scorecard: None where nothing was measured.
        profile: reference times; None where nothing was measured.
    """

    path: Path
    model: Model
    manifest: Manifest = field(repr=False)
    tables: Mapping[str, bytes] = field(repr=False)
    info: records.Info
    scorecard: Scorecard | None = field(default=None, repr=False)
    profile: Profile | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bundle:
        """Opens a bundle.

        A segment whose graph or weights are missing is not held (`Model.holds`); a blob that is there must be right.

        Args:
            path: the folder.
            verify: hash the weights too. Without it only their sizes are checked; all else is hashed anyway.

        Raises:
            CorruptBundle: this is no bundle, one of a newer format, or a file of it is missing or was changed.
        """
        folder = Path(path)
        data = files.read(folder / "manifest.json", _RECORD_BYTES_MAX)
        manifest, digest = Manifest.decode(data), digest_of(data)
        info = records.decode_info(files.read(folder / "info.json", _RECORD_BYTES_MAX))
        holds = _holds(folder / "blobs", manifest, verify)
        scorecard = _record(folder / "scorecard.json")
        profile = _record(folder / "profile.json")
        return cls(
            path=folder,
            model=manifest.model(digest, info.name, info.version, holds),
            manifest=manifest,
            tables={k: files.checked(folder / "blobs" / b, manifest.blobs[b]) for k, b in manifest.tables.items()},
            info=info,
            scorecard=None if scorecard is None else records.decode_scorecard(scorecard, digest),
            profile=None if profile is None else records.decode_profile(profile, digest),
        )

    @property
    def digest(self) -> Digest:
        """Its identity."""
        return self.model.digest

    @property
    def blobs(self) -> Path:
        """The folder that graphs find their weights in."""
        return self.path / "blobs"

    @property
    def preprocessing(self) -> Mapping[str, int | str]:
        """What was folded into segment 0 for the image input."""
        return self.manifest.preprocessing

    @property
    def nbytes(self) -> int:
        """Bytes of the segments that are held (a shared weight counts once) and of the tables."""
        held = {blob for i in self.model.holds for blob in self.manifest.segment_blobs(i)}
        return sum(self.manifest.blobs[blob] for blob in held | set(self.manifest.tables.values()))

    def graph(self, index: int) -> bytes:
        """The graph of a segment: an ONNX ModelProto whose large weights lie in `blobs`. Hashed at every call.

        Raises:
            InvalidCut: the segment is not held.
            CorruptBundle: the file was changed since.
        """
        if index not in self.model.holds:
            raise InvalidCut(f"segment {index} is not held here: copy the whole bundle, or choose an earlier cut")
        name = self.manifest.segments[index].sha256
        return files.checked(self.blobs / name, self.manifest.blobs[name])

    def weights(self, index: int) -> Mapping[str, int]:
        """Name and size of the weights that the graph of a segment may refer to."""
        return {name: self.manifest.blobs[name] for name in self.manifest.segments[index].weights}

    def boundaries(self) -> tuple[BoundaryEntry, ...]:
        """Where the model could have been cut, and why it was or was not; read at every call, empty where it was not written.

        Raises:
            CorruptBundle: the file was changed.
        """
        data = _record(self.path / "boundaries.json")
        return () if data is None else decode_boundaries(data)

    def save_scorecard(self, scorecard: Scorecard) -> Bundle:
        """Replaces the scorecard on disk.

        Returns:
            The bundle with it.

        Raises:
            CorruptBundle: it is for another bundle.
        """
        data = records.encode_scorecard(scorecard)
        fresh = replace(self, scorecard=records.decode_scorecard(data, self.digest))
        files.replace(self.path / "scorecard.json", data)
        return fresh

    def save_profile(self, profile: Profile) -> Bundle:
        """Replaces the reference profile on disk.

        Returns:
            The bundle with it.

        Raises:
            CorruptBundle: it is for another bundle.
        """
        data = records.encode_profile(profile)
        fresh = replace(self, profile=records.decode_profile(data, self.digest))
        files.replace(self.path / "profile.json", data)
        return fresh


def _record(path: Path) -> bytes | None:
    return None if files.size(path) is None else files.read(path, _RECORD_BYTES_MAX)


def _holds(folder: Path, manifest: Manifest, verify: bool) -> frozenset[int]:
    graphs = {segment.sha256 for segment in manifest.segments}
    present: set[str] = set()
    for name, nbytes in manifest.blobs.items():
        found = files.size(folder / name)
        if found is None:
            continue
        if verify or name in graphs:
            files.verify(folder / name, nbytes)
        elif found != nbytes:
            raise CorruptBundle(f"blob {name} has {found} bytes instead of {nbytes}: copy the bundle again")
        present.add(name)
    holds = frozenset(i for i in range(len(manifest.segments)) if present >= manifest.segment_blobs(i))
    if not holds:
        raise CorruptBundle("no segment of the bundle is complete: copy it again")
    return holds
