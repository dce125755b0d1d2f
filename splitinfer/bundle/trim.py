"""A bundle for devices that cannot hold all of it: the first segments only, under the same digest.

The manifest stays as it is, so a trimmed device and a whole cloud are halves of one bundle. Knows no device: what fits is told
in bytes on disk or in segments.
"""

from __future__ import annotations

from pathlib import Path

from splitinfer.bundle import files
from splitinfer.bundle.reader import Bundle
from splitinfer.bundle.writer import place
from splitinfer.errors import InvalidCut, InvalidInput
from splitinfer.plan import megabytes

_RECORDS = ("manifest.json", "info.json", "scorecard.json", "profile.json")


def trim(bundle: Bundle, out: str | Path, segments: int, *, overwrite: bool = False) -> Bundle:
    """Copies a bundle without the segments past the first few.

    Args:
        bundle: what to copy.
        out: the folder to be.
        segments: how many to keep, from the first; see `longest_head`.
        overwrite: replace a bundle that is there.

    Returns:
        The copy, opened and verified. It has the digest, the tables and the records of the original.

    Raises:
        InvalidCut: it does not hold so many segments, or none are to be kept.
        FileExistsError: something is at `out`, and it is no bundle or `overwrite` is off.
        CorruptBundle: a file of the original was changed.
    """
    if not 1 <= segments <= bundle.model.n:
        raise InvalidCut(f"{segments} segments cannot be kept of {bundle.model.n}: keep at least 1 and at most all")
    if missing := bundle.model.missing(segments):
        raise InvalidCut(f"segment {missing[0]} is not held here, so {segments} cannot be kept: trim the whole bundle")
    return place(out, lambda folder: _copy(bundle, folder, segments), overwrite)


def head_bytes(bundle: Bundle) -> tuple[int, ...]:
    """For each cut, the bytes of the segments before it: graphs and weights, a shared weight counted once."""
    manifest, seen, sizes = bundle.manifest, set[str](), [0]
    for index in range(bundle.model.n):
        fresh = manifest.segment_blobs(index) - seen
        sizes.append(sizes[-1] + sum(manifest.blobs[name] for name in fresh))
        seen |= fresh
    return tuple(sizes)


def longest_head(bundle: Bundle, max_bytes: int) -> int:
    """How many of the first segments fit together; of a bundle that was trimmed before, at most those that are held.

    Raises:
        InvalidInput: not even the first one fits.
    """
    sizes = head_bytes(bundle)
    fitting = sum(nbytes <= max_bytes for nbytes in sizes[1:])
    if not fitting:
        raise InvalidInput(
            f"the smallest head, segment 0, has {megabytes(sizes[1])}, more than the {megabytes(max_bytes)} that are allowed: "
            "build with an earlier cut (--cuts all, or --cut NAME), or allow more"
        )
    return min(fitting, sum(not bundle.model.missing(cut) for cut in range(1, bundle.model.n + 1)))


def _copy(bundle: Bundle, folder: Path, segments: int) -> None:
    store = folder / "blobs"
    store.mkdir(parents=True)
    kept = {*bundle.manifest.tables.values()}.union(*(bundle.manifest.segment_blobs(i) for i in range(segments)))
    for name in sorted(kept):
        files.save(store / name, files.chunks_of(bundle.blobs / name))
    for name in _RECORDS:
        if files.size(bundle.path / name) is not None:
            files.save(folder / name, files.chunks_of(bundle.path / name))
    files.sync_folder(store)
    files.sync_folder(folder)
