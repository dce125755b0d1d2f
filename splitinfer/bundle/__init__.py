"""The bundle on disk: a cut model as a folder of files that are addressed by content.

    manifest.json    the identity: canonical JSON, one line, no line break at the end; its SHA-256 is the digest
    blobs/SHA256     segment graphs, weights above 1 KiB and codec tables, each under the SHA-256 of its bytes
    info.json        labels and build information; outside the identity, like those below
    scorecard.json   what each plan does to bytes and answers; names the digest that it is for
    profile.json     reference times; names the digest that it is for
    boundaries.json  where the model could have been cut, and why it was or was not; for people

A graph names its weights as ONNX external data whose `location` is the plain name of a blob. Nothing else is read from disk, so
a path out of the folder cannot be written down. Knows no ONNX and no runtime: graphs are bytes here.
"""

from splitinfer.bundle.boundaries import FRONTIER_GRID, BoundaryEntry, frontier_loss
from splitinfer.bundle.manifest import FORMAT, CutEntry
from splitinfer.bundle.reader import Bundle
from splitinfer.bundle.records import decode_profile, decode_scorecard, encode_profile, encode_scorecard
from splitinfer.bundle.trim import head_bytes, longest_head, trim
from splitinfer.bundle.writer import INLINE_BYTES, Blob, Draft, SegmentDraft, publish, write

__all__ = [
    "FORMAT",
    "FRONTIER_GRID",
    "INLINE_BYTES",
    "Blob",
    "BoundaryEntry",
    "Bundle",
    "CutEntry",
    "Draft",
    "SegmentDraft",
    "decode_profile",
    "decode_scorecard",
    "encode_profile",
    "encode_scorecard",
    "frontier_loss",
    "head_bytes",
    "longest_head",
    "publish",
    "trim",
    "write",
]
