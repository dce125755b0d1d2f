"""What crosses the network: coded tensors that describe themselves, and the one place that makes and reads them.

Nothing here trusts a payload: names, dtypes, shapes and sizes are checked against the cut before anything is decoded. Knows no
wire format.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.model import Digest


@dataclass(frozen=True, slots=True)
class Part:
    """One coded tensor.

    Attributes:
        name: of the tensor.
        dtype: numpy's name.
        shape: concrete.
        codec: wire id; integer tensors keep a lossless one whatever the plan says.
        chunks: ordered; one or more for each batch item.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: str
    chunks: tuple[bytes | memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Coded bytes."""
        return sum(len(chunk) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Payload:
    """The tensors of one cut, coded.

    Attributes:
        digest: bundle that the cut belongs to.
        cut: index; n for a reply, which carries outputs.
        codec: the plan's.
        parts: one a tensor.
    """

    digest: Digest
    cut: int
    codec: str
    parts: tuple[Part, ...]

    @property
    def nbytes(self) -> int:
        """Coded bytes without framing."""
        return sum(part.nbytes for part in self.parts)
