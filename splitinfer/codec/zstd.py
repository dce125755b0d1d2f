"""`...+zstd1`: another codec's chunks through Zstandard, level 1 (higher levels gain under 1 % on quantised activations).

What a stranger sends is bounded before it is inflated: the frame must declare its size, and no more than the inner codec could
need. The library's own `max_output_size` does not bound frames that declare their size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import zstandard

from splitinfer.codec.items import Chunk, ItemCodec, SizedItem, SizedItemCodec
from splitinfer.errors import CorruptPayload
from splitinfer.model import Array, TensorSpec

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

    def item(self, spec: TensorSpec, table: bytes | None) -> ZstdItem:
        """The inner codec's item, compressed."""
        return ZstdItem(self._inner.item(spec, table))


class ZstdItem:
    """Values <-> one frame."""

    def __init__(self, inner: SizedItem) -> None:
        self._inner = inner

    def encode(self, values: Array) -> bytes:
        """One frame that declares its size."""
        return _deflate(self._inner.encode(values))

    def decode(self, chunk: Chunk, size: int) -> Array:
        """Inflates to no more bytes than the inner codec could need; whether they are right, it says itself."""
        return self._inner.decode(_inflate(chunk, self._inner.nbytes(size)), size)


def _deflate(data: bytes) -> bytes:
    try:
        compressor = _idle_compressors.pop()
    except IndexError:
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
    try:
        return compressor.compress(data)
    finally:
        _idle_compressors.append(compressor)


def _inflate(frame: Chunk, most: int) -> bytes:
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
