"""Codecs: tensors to bytes and back. One family, one registry, ids that compose ("int8+zstd1", "jpeg:75").

Two codecs with the same id decode each other's bytes, for ever: tests/golden pins it. Codecs know no plan, no file and no network;
an item of the batch is coded on its own, so that a batch in the cloud can mix devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from splitinfer.errors import UnknownCodec
from splitinfer.model import Array, Cut, TensorSpec

Chunk = bytes | memoryview


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


def codec(id: str) -> Codec:
    """The codec with this id.

    Raises:
        UnknownCodec: there is none.
    """
    raise UnknownCodec(f"no codec {id!r}")


def codecs_for(cut: Cut, image: str | None = None) -> tuple[Codec, ...]:
    """The codecs worth offering at a cut: those that treat at least one of its tensors in a way of their own.

    Args:
        cut: what crosses.
        image: name of the uint8 NHWC tensor at cut 0, where media codecs apply.
    """
    return ()
