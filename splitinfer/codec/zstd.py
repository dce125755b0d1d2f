"""`...+zstd1`: another codec's chunks through Zstandard, level 1 (higher levels gain under 1 % on quantised activations).

What a stranger sends is bounded before it is inflated: the frame must declare its size, and no more than the inner codec could
need. The library's own `max_output_size` does not bound frames that declare their size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import zstandard

from splitinfer.codec.items import Chunk, ItemCodec, SizedItem, SizedItemCodec, check_nbytes
from splitinfer.errors import CorruptPayload
from splitinfer.model import Array, TensorSpec

Bytes = npt.NDArray[np.uint8]

_LEVEL = 1
_WINDOW_MAX_BYTES = 8 << 20

# Making one costs about as much as using it, and two threads must not use one at the same time: whoever needs one takes an idle
# one and puts it back. Both ends of a deque are safe to use from any thread, so no lock is needed.
_idle_compressors: deque[zstandard.ZstdCompressor] = deque()
_idle_decompressors: deque[zstandard.ZstdDecompressor] = deque()


class Zstd(ItemCodec):
    """A codec followed by Zstandard."""

    def __init__(self, inner: SizedItemCodec) -> None:
        self.id = f"{inner.id}+zstd1"
        self.lossless = inner.lossless
        self.needs_table = inner.needs_table
        self._inner = inner

    def accepts(self, spec: TensorSpec) -> bool:
        """What the inner codec accepts."""
        return self._inner.accepts(spec)

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """The inner codec's table."""
        return self._inner.calibrate(spec, samples, sensitivity)

    def largest(self, table: bytes | None) -> float:
        """The inner codec's."""
        return self._inner.largest(table)

    def item(self, spec: TensorSpec, table: bytes | None) -> ZstdItem:
        """The inner codec's item, compressed."""
        return ZstdItem(self._inner.item(spec, table))


class ZstdItem:
    """Values <-> one frame."""

    def __init__(self, inner: SizedItem) -> None:
        self._inner = inner

    def encode(self, values: Array) -> bytes:
        """One frame that declares its size."""
        return deflate(self._inner.encode(values))

    def decode(self, chunk: Chunk, size: int) -> Array:
        """Inflates to no more bytes than the inner codec could need; whether they are right, it says itself."""
        return self._inner.decode(inflate(chunk, self._inner.nbytes(size)), size)


def deflate(data: bytes) -> bytes:
    """One frame that declares its size."""
    with _compressor() as compressor:
        return compressor.compress(data)


def deflate_parts(parts: Sequence[Bytes]) -> bytes:
    """One frame of several parts in a row, each with Huffman codes of its own."""
    with _compressor() as compressor:
        stream = compressor.compressobj(size=sum(map(len, parts)))
        frame = [stream.compress(part.data) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts]
        return b"".join([*frame, stream.flush()])


def shortest(parts: Sequence[Bytes], compressed: bool) -> bytes:
    """Parts in a row as they are, or as one frame where that is allowed and shorter."""
    plain = b"".join(part.tobytes() for part in parts)
    return min(plain, deflate_parts(parts), key=len) if compressed else plain


def restored(data: Chunk, nbytes: int, compressed: bool) -> Bytes:
    """The parts in a row, from what `shortest` gave.

    Raises:
        CorruptPayload: it is neither `nbytes` bytes nor a shorter frame of them.
    """
    plain = inflate(data, nbytes) if compressed and len(data) < nbytes else data
    check_nbytes(plain, nbytes)
    return np.frombuffer(plain, np.uint8)


def inflate(frame: Chunk, most: int) -> bytes:
    """What a stranger's frame holds: exactly the bytes that it declares, `most` at the most.

    Raises:
        CorruptPayload: it is no such frame.
    """
    try:
        header = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise CorruptPayload("a chunk is not a Zstandard frame") from error
    nbytes = header.content_size  # huge where the frame does not declare it
    if nbytes > most or header.window_size > _WINDOW_MAX_BYTES:
        raise CorruptPayload(f"a Zstandard frame does not declare at most {most} bytes in a window of at most 8 MiB")
    try:
        decompressor = _idle_decompressors.pop()
    except IndexError:
        decompressor = zstandard.ZstdDecompressor()
    try:
        # Allocates exactly the declared size, which was checked; a frame that holds more is an error.
        data = decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptPayload("a Zstandard frame is damaged, or something follows it") from error
    finally:
        _idle_decompressors.append(decompressor)
    if len(data) != nbytes:
        raise CorruptPayload(f"a Zstandard frame holds {len(data)} bytes instead of {nbytes}")
    return data


@contextmanager
def _compressor() -> Iterator[zstandard.ZstdCompressor]:
    try:
        compressor = _idle_compressors.pop()
    except IndexError:
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
    try:
        yield compressor
    finally:
        _idle_compressors.append(compressor)
