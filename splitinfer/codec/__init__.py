"""Codecs: tensors to bytes and back. One family, one registry, ids that compose ("int8+zstd1", "jpeg:75").

Two codecs with the same id decode each other's bytes, for ever: tests/golden pins it. Codecs know no plan, no file and no
network; an item of the batch is coded on its own, so that a batch in the cloud can mix devices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from splitinfer.codec import picture
from splitinfer.codec.affine import Affine
from splitinfer.codec.half import Half
from splitinfer.codec.items import Chunk
from splitinfer.codec.jpeg import Jpeg
from splitinfer.codec.png import Png
from splitinfer.codec.raw import Raw
from splitinfer.codec.webp import WebP
from splitinfer.codec.zstd import Zstd
from splitinfer.errors import UnknownCodec
from splitinfer.model import Array, Cut, TensorSpec

__all__ = ["FALLBACK", "Chunk", "Codec", "Coder", "codec", "codec_of_file", "codecs_for", "table_key"]

FALLBACK = "raw+zstd1"
"""Codes every tensor that the codec of the plan does not accept, without loss."""


class Coder(Protocol):
    """A codec bound to one tensor of one bundle."""

    def encode(self, array: Array) -> list[bytes]:
        """Codes a tensor.

        Args:
            array: dtype of the spec, any concrete shape that fits it.

        Returns:
            Ordered chunks; the same number for each item of the batch.
        """
        ...

    def decode(self, chunks: Sequence[Chunk], shape: tuple[int, ...]) -> Array:
        """Reads a tensor back. Never allocates more than the shape asks for.

        Args:
            chunks: as `encode` made them, from a stranger.
            shape: concrete; the caller has checked it against the spec.

        Raises:
            CorruptPayload: the bytes are not what they say.
        """
        ...


class Codec(Protocol):
    """One way to code tensors."""

    @property
    def id(self) -> str:
        """The wire id, "name[:step]" with "+zstd1" where a byte compressor follows."""
        ...

    @property
    def lossless(self) -> bool:
        """Whether decode(encode(x)) == x for what it accepts."""
        ...

    def accepts(self, spec: TensorSpec) -> bool:
        """Whether it can code such a tensor."""
        ...

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array]) -> bytes | None:
        """A table from samples, to be stored in the bundle; None where the codec needs none."""
        ...

    def bind(self, spec: TensorSpec, table: bytes | None = None) -> Coder:
        """A coder for one tensor. Without a table it must still decode, and encode from the tensor alone."""
        ...


_FLOATS = ("raw", "raw+zstd1", "half", "half+zstd1", "int8", "int8+zstd1", "int6+zstd1", "int4+zstd1")
_IMAGE = ("raw", "png", "jpeg:98", "jpeg:95", "jpeg:90", "jpeg:75", "webp:98", "webp:90", "webp:75")
_OTHERS = ("raw", "raw+zstd1")
"""What is offered, best answers first. Packed symbols of six bits alone, say, decode but are never the best plan."""

# Six bits compress about 13 % better one symbol a byte than packed, four bits about 14 % better packed (feature maps of a
# mobile network): Huffman codes of whole bytes fit the first, pairs of neighbours the second.
_FIXED: tuple[Codec, ...] = (
    Raw(),
    Half(),
    Affine(8),
    Affine(6),
    Affine(4),
    Zstd(Raw()),
    Zstd(Half()),
    Zstd(Affine(8)),
    Zstd(Affine(6, packed=False)),
    Zstd(Affine(4)),
    Png(),
)
_BY_ID = {known.id: known for known in _FIXED}
_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg:90"), (b"RIFF", "webp:90"))
_WITH_QUALITY = {"jpeg": Jpeg, "webp": WebP}
_QUALITY_ID = re.compile(r"(jpeg|webp):([1-9][0-9]?|100)", re.ASCII)


def codec(id: str) -> Codec:
    """The codec with this id.

    Raises:
        UnknownCodec: there is none.
    """
    if id in _BY_ID:
        return _BY_ID[id]
    if match := _QUALITY_ID.fullmatch(id):
        return _picture_codec(match[1], int(match[2]))
    raise UnknownCodec(f"no codec {id[:40]!r}; there are {', '.join(_BY_ID)}, jpeg:1..100 and webp:1..100")


@lru_cache
def _picture_codec(name: str, quality: int) -> Codec:
    return _WITH_QUALITY[name](quality)


def codec_of_file(file: bytes) -> Codec:
    """The codec that reads an encoded picture. The quality in its id is nominal: only decoding depends on an id.

    Raises:
        UnknownCodec: it is no picture of a known format.
    """
    for signature, id in _SIGNATURES:
        if file.startswith(signature):
            return codec(id)
    raise UnknownCodec("this is not the bytes of a JPEG, PNG or WebP file")


def codecs_for(cut: Cut, image: str | None = None) -> tuple[Codec, ...]:
    """The codecs worth offering at a cut: those that treat at least one of its tensors in a way of their own.

    Media codecs are offered only where the image library is installed (`splitinfer[media]`).

    Args:
        cut: what crosses.
        image: name of the uint8 NHWC tensor at cut 0, where media codecs apply.
    """
    if not cut.tensors:
        return ()
    pictures = [t for t in cut.tensors if t.name == image]
    if pictures:
        return tuple(c for c in map(codec, _IMAGE) if c.id == "raw" or (picture.installed() and c.accepts(pictures[0])))
    floats = [t for t in cut.tensors if not t.lossless_only]
    if floats:
        return tuple(c for c in map(codec, _FLOATS) if any(map(c.accepts, floats)))
    return tuple(map(codec, _OTHERS))


def table_key(cut: int, tensor: str, codec_id: str) -> str:
    """Where a codec's table for a tensor stands among the tables of a bundle.

    Step and byte compressor make no difference: "2/conv_7/int4" serves int4 and int4+zstd1.
    """
    family = codec_id.partition("+")[0].partition(":")[0]
    return f"{cut}/{tensor}/{family}"
