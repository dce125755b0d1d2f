"""What a codec is: the two protocols that everything which codes tensors follows, ours and third parties'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from splitinfer.codec.items import Chunk
from splitinfer.model import Array, TensorSpec


class Coder(Protocol):
    """A codec bound to one tensor of one bundle. Safe to use from several threads."""

    def encode(self, array: Array) -> list[bytes]:
        """Codes a tensor, and leaves it as it is.

        Args:
            array: dtype of the spec, any concrete shape that fits it, any strides and byte order.

        Returns:
            Ordered chunks; the same number for each item of the batch.

        Raises:
            InvalidInput: it is not of the spec, or empty.
        """
        ...

    def decode(self, chunks: Sequence[Chunk], shape: tuple[int, ...]) -> Array:
        """Reads a tensor back. Never allocates more than the shape asks for.

        Args:
            chunks: as `encode` made them, from a stranger.
            shape: concrete; the caller has checked it against the spec.

        Raises:
            CorruptPayload: the bytes are not what they say.
            PayloadTooLarge: there are more of them than such a tensor could need.
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

    @property
    def needs_table(self) -> bool:
        """Whether `bind` asks for a table that `calibrate` made."""
        ...

    def accepts(self, spec: TensorSpec) -> bool:
        """Whether it can code such a tensor."""
        ...

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """A table from samples, to be stored in the bundle; None where the codec needs none.

        Args:
            spec: of the tensor.
            samples: what crossed, each of any batch.
            sensitivity: how much the answers depend on the tensor's values, for codecs that know what to do with it.
        """
        ...

    def bind(self, spec: TensorSpec, table: bytes | None = None) -> Coder:
        """A coder for one tensor.

        Without a table it must still decode, and encode from the tensor alone, unless `needs_table`.

        Raises:
            CodecError: it does not accept such a tensor.
            CorruptBundle: the table is none of this codec's, or there is none and it needs one.
        """
        ...
