"""What strangers send: bytes that are cut short, changed, from elsewhere, or that claim to be huge.

They decode to an array of the right kind, or are refused with `CorruptPayload` or `PayloadTooLarge`. No other error, and never
more memory than twice what the shape asks for.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product

import numpy as np
import zstandard

from splitinfer.codec import Chunk, Coder
from splitinfer.model import TensorSpec
from splitinfer.testing.subject import REFUSALS, Subject, refuses, survives

_SPARE_BYTES = 256 << 10
"""What a decoder may need whatever the size: tables, buffers of a library."""
_MOST_PLACES = 48
_HEADER_BYTES = 48


class Strangers(Subject):
    """Tests."""

    def test_another_number_of_chunks_is_refused(self) -> None:
        """None, one too few, twice as many."""
        for spec, coder, array in self.tried():
            chunks = coder.encode(array)
            for other in ([], chunks[:-1], chunks + chunks):
                assert refuses(REFUSALS, coder.decode, other, array.shape), f"{spec}: {len(other)} for {len(chunks)} chunks"

    def test_another_length_decodes_or_is_refused(self) -> None:
        """Where a dimension may have any length, the shape is part of what strangers send."""
        for spec, coder, array in self.tried():
            if None in spec.shape[1:]:
                chunks = coder.encode(array)
                for more in (-1, 1, 1000):
                    shape = tuple(dim + more if want is None and i else dim for i, (want, dim) in _dims(spec, array.shape))
                    survives(coder, chunks, spec, shape)

    def test_a_chunk_that_is_cut_short_is_refused(self) -> None:
        """At any place."""
        for spec, coder, array in self.tried():
            *first, last = coder.encode(array)
            for length in _places(len(last) - self.tail_bytes):
                refused = refuses(REFUSALS, coder.decode, [*first, last[:length]], array.shape)
                assert refused, f"{spec}: the first {length} of {len(last)} bytes were decoded"

    def test_a_chunk_that_something_follows_is_refused(self) -> None:
        """Unless its format ends where it says, and says so (`tail_bytes`)."""
        for spec, coder, array in self.tried():
            *first, last = coder.encode(array)
            for tail in (b"\0", b"\xff", last):
                decoded = survives(coder, [*first, last + tail], spec, array.shape)
                assert self.tail_bytes or not decoded, f"{spec}: {len(tail)} bytes too many were not noticed"

    def test_changed_bits_decode_or_are_refused(self) -> None:
        """Each bit near the start, where headers are, and some of the others."""
        for spec, coder, array in self.tried():
            *first, last = coder.encode(array)
            places = {*range(min(_HEADER_BYTES // 2, len(last))), *_places(len(last))}
            for place, bit in product(sorted(places), range(8)):
                changed = bytearray(last)
                changed[place] ^= 1 << bit
                survives(coder, [*first, bytes(changed)], spec, array.shape)

    def test_foreign_bytes_decode_or_are_refused(self) -> None:
        """Of other formats, and of none."""
        for spec, coder, array in self.tried():
            count = len(coder.encode(array))
            for foreign in _foreign(array.nbytes // count):
                survives(coder, [foreign] * count, spec, array.shape)

    def test_decoding_needs_twice_the_memory_at_most(self) -> None:
        """Of what the shape asks for, whatever the bytes claim. What Python and numpy allocate is counted."""
        for spec in self.large():
            coder, array = self.coder(spec), self.values(spec, batch=1)
            chunks = coder.encode(array)
            most = 2 * array.nbytes + _SPARE_BYTES
            for claimed in (chunks, *_lying(chunks), *([foreign] * len(chunks) for foreign in _foreign(array.nbytes))):
                peak = _peak_bytes(coder, claimed, spec, array.shape)
                assert peak <= most, f"{spec}: {peak} bytes were allocated to decode {array.nbytes}"


def _dims(spec: TensorSpec, shape: tuple[int, ...]) -> Iterable[tuple[int, tuple[int | None, int]]]:
    return enumerate(zip(spec.shape, shape, strict=True))


def _places(length: int) -> Iterable[int]:
    """Some of the places below a length, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, max(length - 1, 0), _MOST_PLACES)} if length > 0 else ())


def _foreign(nbytes: int) -> list[bytes]:
    noise = np.random.default_rng(0)
    return [
        b"",
        bytes(nbytes),
        b"\xff" * nbytes,
        b"\xff" * 64,
        noise.bytes(64),
        noise.bytes(nbytes),
        zstandard.ZstdCompressor(1).compress(noise.bytes(64)),
        _bomb(),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x08\x02\0\0\0",
        b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
    ]


@cache
def _bomb() -> bytes:
    return zstandard.ZstdCompressor(1).compress(bytes(64 << 20))


def _lying(chunks: Sequence[bytes]) -> Iterable[list[bytes]]:
    """The last chunk with every number near its start made large."""
    *first, last = chunks
    for place, number in product(range(0, min(_HEADER_BYTES, len(last)), 3), (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f")):
        yield [*first, last[:place] + number[: len(last) - place] + last[place + 4 :]]


def _peak_bytes(coder: Coder, chunks: Sequence[Chunk], spec: TensorSpec, shape: tuple[int, ...]) -> int:
    survives(coder, chunks, spec, shape)  # what is imported or made once does not count
    tracemalloc.start()
    try:
        survives(coder, chunks, spec, shape)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
