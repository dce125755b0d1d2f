"""What is fuzzed: `Packer.unpack`, with payloads that bytes describe, for every codec and every kind of tensor.

    bytes = case (2), batch (1), tweak (1), chunks (1), lengths (2 each, of all chunks but the last), chunks

A case is a codec at a cut. A tweak says what else of the payload is not as it should be, and whether a chunk is compressed
before it is sent, so that what is inside a Zstandard frame can be changed without breaking the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from struct import Struct

import numpy as np
import zstandard

from splitinfer.codec import FAMILIES, codec, table_key
from splitinfer.errors import CodecError, CorruptBundle, DigestMismatch, InvalidCut, UnknownCodec
from splitinfer.model import Array, Cut, Digest, Model, Segment, TensorSpec
from splitinfer.payload import Packer, Part, Payload
from splitinfer.testing import specimens

SPECS = (
    TensorSpec("image", "uint8", (None, 16, 19, 3)),
    TensorSpec("map", "float32", (None, 4, 5, 6)),
    TensorSpec("rows", "float32", (None, 3, 7)),
    TensorSpec("bare", "float32", (None, 3, 7)),  # has no tables
    TensorSpec("halves", "float16", (None, 3, 7)),
    TensorSpec("tokens", "float32", (None, None, 6)),
    TensorSpec("vector", "float64", (1, 7)),
    TensorSpec("wave", "float32", (None, 33)),
    TensorSpec("ids", "int64", (None, 3, 7)),
    TensorSpec("lengths", "int64", (None, None)),
    TensorSpec("mask", "bool", (None, 3, 7)),
    TensorSpec("byte", "uint8", ()),
)
"""Some have the shapes of the golden payloads."""
LIMIT_BYTES = 1 << 16
DIGEST = Digest("ab" * 32)
ALLOWED = (CodecError, DigestMismatch, InvalidCut)
"""What `unpack` may raise, as it says."""

_HEAD = Struct("<HBBB")
_LENGTH = Struct("<H")
_COMPRESS = 0x80


@dataclass(frozen=True)
class Case:
    """A codec at a cut."""

    cut: int
    codec: str

    @property
    def spec(self) -> TensorSpec:
        return SPECS[self.cut]


def ids() -> Iterator[str]:
    """One of each family, and the same with a byte compressor behind, where there is one."""
    for family in FAMILIES:
        yield family.example
        try:
            yield codec(f"{family.example}+zstd1").id
        except UnknownCodec:
            continue


@cache
def cases() -> tuple[Case, ...]:
    """Every codec at every cut, also where it does not apply."""
    return tuple(Case(cut, id) for id in ids() for cut in range(len(SPECS)))


def samples(spec: TensorSpec) -> list[Array]:
    return [specimens.values(spec, 1, seed) for seed in range(8)]


@cache
def packer() -> Packer:
    """Of a model with one tensor at each cut, and tables for those codecs that need one."""
    cuts = tuple(Cut(i, f"{i:012}", spec.name, (spec,), i / 10) for i, spec in enumerate(SPECS))
    end = Cut(len(SPECS), "f" * 12, "end", (), 1.0)
    segments = tuple(Segment(i, "0" * 64, 1, 1, 1, (), ()) for i in range(len(SPECS)))
    model = Model(DIGEST, "m", "1", SPECS[:1], (), (*cuts, end), segments, frozenset(range(len(SPECS))), "image")
    tables: dict[str, bytes] = {}
    for case in cases():
        found = codec(case.codec)
        if found.needs_table and found.accepts(case.spec) and case.spec.name != "bare":
            table = found.calibrate(case.spec, samples(case.spec))
            assert table is not None
            tables[table_key(case.cut, case.spec.name, case.codec)] = table
    return Packer(model, tables, LIMIT_BYTES)


@cache
def used(case: Case) -> str:
    """What a tensor is coded with under the plan; integers keep a codec without loss."""
    try:
        packed = packer().pack(case.cut, case.codec, {case.spec.name: specimens.values(case.spec, 2, 0)})
    except CorruptBundle:  # no table
        return case.codec
    return packed.parts[0].codec


def describe(case: Case, batch: int, chunks: Sequence[bytes], tweak: int = 0) -> bytes:
    """The bytes that describe a payload."""
    lengths = b"".join(_LENGTH.pack(len(chunk)) for chunk in chunks[:-1])
    return _HEAD.pack(cases().index(case), batch, tweak, len(chunks)) + lengths + b"".join(chunks)


def payload_of(data: bytes) -> Payload | None:
    """The payload that bytes describe; None where they are too few."""
    if len(data) < _HEAD.size:
        return None
    index, batch, tweak, count = _HEAD.unpack_from(data)
    case = cases()[index % len(cases())]
    chunks = _chunks(data[_HEAD.size :], count % 8)
    if tweak & _COMPRESS:
        chunks = [zstandard.ZstdCompressor(1).compress(chunk) for chunk in chunks]
    part = Part(case.spec.name, case.spec.dtype, _shape(case.spec, batch), used(case), tuple(map(memoryview, chunks)))
    return _tweaked(Payload(DIGEST, case.cut, case.codec, (part,)), tweak & ~_COMPRESS)


def run(data: bytes) -> bool:
    """Unpacks what bytes describe, and says whether that worked.

    Raises:
        AssertionError: what came out is not what the payload says.
        Exception: one that `unpack` should not raise.
    """
    payload = payload_of(data)
    if payload is None:
        return False
    try:
        found = packer().unpack(payload)
    except ALLOWED:
        return False
    for part in payload.parts:
        array = found[part.name]
        assert array.shape == part.shape, f"{array.shape} instead of {part.shape}"
        assert array.dtype == np.dtype(part.dtype), f"{array.dtype} instead of {part.dtype}"
    return True


def _chunks(data: bytes, count: int) -> list[bytes]:
    if not count:
        return []
    chunks, at = [], _LENGTH.size * (count - 1)
    for i in range(count - 1):
        length = int.from_bytes(data[i * _LENGTH.size : (i + 1) * _LENGTH.size], "little")
        chunks.append(data[at : at + length])
        at += length
    return [*chunks, data[at:]]


def _shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """Three bits for the batch, the others for a length that is open, up to 248."""
    first = tuple(batch % 8 if dim is None else dim for dim in spec.shape[:1])
    return first + tuple(batch & 0xF8 or 4 if dim is None else dim for dim in spec.shape[1:])


def _tweaked(payload: Payload, tweak: int) -> Payload:
    """Most tweaks change nothing."""
    (part,) = payload.parts
    changed = {
        1: replace(part, dtype="float64"),
        2: replace(part, shape=(1 << 40, *part.shape[1:])),
        3: replace(part, shape=(*part.shape[:-1], -1)),
        4: replace(part, shape=(*part.shape, 1)),
        5: replace(part, codec="raw"),
        6: replace(part, codec="raw+zstd1"),
        7: replace(part, codec="int8+zstd1"),
        8: replace(part, name="other"),
    }.get(tweak)
    if changed is not None:
        return replace(payload, parts=(changed,))
    if tweak == 9:
        return replace(payload, parts=(part, part))
    if tweak == 10:
        return replace(payload, codec="none:1")
    return replace(payload, cut=len(SPECS)) if tweak == 11 else payload
