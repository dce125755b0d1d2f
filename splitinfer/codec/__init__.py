"""Codecs: tensors to bytes and back. Two protocols, one table of families, ids that compose ("int8+zstd1", "jpeg:75").

Two codecs with the same id decode each other's bytes, for ever: tests/golden pins it. Codecs know no plan, no file and no
network; an item of the batch is coded on its own, so that a batch in the cloud can mix devices.
"""

from __future__ import annotations

from splitinfer.codec import installed, klt
from splitinfer.codec.affine import Affine
from splitinfer.codec.avif import Avif
from splitinfer.codec.dimension import PerDimension
from splitinfer.codec.half import Half
from splitinfer.codec.items import Chunk
from splitinfer.codec.jpeg import Jpeg
from splitinfer.codec.narrow import Narrow
from splitinfer.codec.pcm16 import Pcm16, Pcm16Zstd
from splitinfer.codec.picture import PictureCodec
from splitinfer.codec.png import Png
from splitinfer.codec.protocol import Codec, Coder
from splitinfer.codec.raw import Raw
from splitinfer.codec.registry import Family, Registry, Steps
from splitinfer.codec.shuffle import Shuffle
from splitinfer.codec.ulaw import Ulaw
from splitinfer.codec.waveform import may_be_sound
from splitinfer.codec.webp import WebP
from splitinfer.errors import UnknownCodec
from splitinfer.model import Cut, TensorSpec

__all__ = ["FALLBACK", "FAMILIES", "Chunk", "Codec", "Coder", "codec", "codec_of_file", "codecs_for", "table_key"]

FALLBACK = "raw+zstd1"
"""Codes every tensor that the codec of the plan does not accept, without loss."""

_FLOATS = (
    "raw",
    "shuffle+zstd1",
    "half",
    "half+zstd1",
    "int8",
    "int8+zstd1",
    "int6+zstd1",
    "int4d+zstd1",
    "int4+zstd1",
    "int2d+zstd1",
    *(f"klt:{step}" for step in klt.STEPS),
)
_IMAGE = (
    "raw",
    "png",
    "jpeg:98",
    "jpeg:95",
    "jpeg:90",
    "jpeg:75",
    "webp:98",
    "webp:90",
    "webp:75",
    "avif:90",
    "avif:75",
    "avif:60",
)
_SOUND = ("pcm16", "pcm16+zstd1", "ulaw", "ulaw+zstd1")
_OTHERS = ("raw", "narrow", "narrow+zstd1")
"""What is offered for each kind of tensor, best answers first. Packed symbols of six bits alone, say, decode but are never the
best plan."""

_SIGNATURES = ((0, b"\x89PNG", "png"), (0, b"\xff\xd8\xff", "jpeg:90"), (0, b"RIFF", "webp:90"), (4, b"ftypavif", "avif:75"))
"""Where in a file what stands, and what reads it."""

_QUALITY = Steps("[1-9][0-9]?|100", "1..100", example="75")


def _quantiser(name: str, make: type[Affine | PerDimension], bits: int) -> Family:
    """A family of quantisers; before a byte compressor, what does not fill bytes evenly stays one symbol a byte.

    Six bits compress about 13 % better so than packed, four bits about 14 % better packed (feature maps of a mobile network):
    Huffman codes of whole bytes fit the first, pairs of neighbours the second.
    """
    return Family(name, lambda _: make(bits), before_zstd=lambda _: make(bits, packed=8 % bits == 0))


FAMILIES = (
    Family("raw", lambda _: Raw()),
    Family("half", lambda _: Half()),
    *(_quantiser(f"int{bits}", Affine, bits) for bits in range(8, 1, -1)),
    *(_quantiser(f"int{bits}d", PerDimension, bits) for bits in (8, 6, 4, 3, 2)),
    Family("klt", klt.Klt, Steps(klt.PATTERN, "0.001..999.999", example="0.6")),
    Family("shuffle", lambda _: Shuffle(compressed=False), with_zstd=lambda _: Shuffle(compressed=True)),
    Family("narrow", lambda _: Narrow(compressed=False), with_zstd=lambda _: Narrow(compressed=True)),
    Family("pcm16", lambda _: Pcm16(), with_zstd=lambda _: Pcm16Zstd()),
    Family("ulaw", lambda _: Ulaw()),
    Family("png", lambda _: Png()),
    Family("jpeg", lambda quality: Jpeg(int(quality)), _QUALITY),
    Family("avif", lambda quality: Avif(int(quality)), _QUALITY),
    Family("webp", lambda quality: WebP(int(quality)), _QUALITY),
)
"""All codecs of this package: one line a family."""

_REGISTRY = Registry(FAMILIES, installed.family)


def codec(id: str) -> Codec:
    """The codec with this id.

    Raises:
        UnknownCodec: there is none, or the package that offers it is broken.
    """
    return _REGISTRY.codec(id)


def codec_of_file(file: bytes) -> Codec:
    """The codec that reads an encoded picture. The quality in its id is nominal: only decoding depends on an id.

    Raises:
        UnknownCodec: it is no picture of a known format.
    """
    for at, signature, id in _SIGNATURES:
        if file.startswith(signature, at):
            return codec(id)
    raise UnknownCodec("this is not the bytes of a JPEG, PNG, WebP or AVIF file")


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
        return tuple(found for found in map(codec, _IMAGE) if _draws(found, pictures[0]))
    floats = [t for t in cut.tensors if not t.lossless_only]
    if floats:
        ids = _SOUND if cut.index == 0 and any(map(may_be_sound, floats)) else ()
        return tuple(c for c in map(codec, (*_FLOATS, *ids)) if any(map(c.accepts, floats)))
    return tuple(map(codec, _OTHERS))


def _draws(found: Codec, spec: TensorSpec) -> bool:
    return found.accepts(spec) and (not isinstance(found, PictureCodec) or found.installed())


def table_key(cut: int, tensor: str, codec_id: str) -> str:
    """Where a codec's table for a tensor stands among the tables of a bundle.

    Step and byte compressor make no difference: "2/conv_7/int4" serves int4 and int4+zstd1.
    """
    family = codec_id.partition("+")[0].partition(":")[0]
    return f"{cut}/{tensor}/{family}"
