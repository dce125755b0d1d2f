"""The codec that is tested, what it is tested with, and small words for the tests. What a subclass may say stands here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from splitinfer.codec import Chunk, Codec, Coder
from splitinfer.errors import CorruptPayload, PayloadTooLarge
from splitinfer.model import Array, TensorSpec
from splitinfer.testing import specimens

Errors = type[Exception] | tuple[type[Exception], ...]

REFUSALS = (CorruptPayload, PayloadTooLarge)
"""What bytes that are not right may lead to. Nothing else."""

_tables: dict[tuple[type, TensorSpec], bytes | None] = {}


class Subject:
    """A codec under test.

    Attributes:
        codec: it. Its package is installed, so that its id can be looked up.
        tail_bytes: how many bytes at the end of a chunk may be missing, or follow it, without being noticed: end markers of
            picture files, for example. 0 = none, as it should be.
    """

    codec: Codec
    tail_bytes: int = 0

    def specs(self) -> Sequence[TensorSpec]:
        """Tensors to try it with: those of `specimens.SPECS` that it accepts. Give others to a codec that accepts none."""
        return [spec for spec in specimens.SPECS if self.codec.accepts(spec)]

    def large(self) -> Sequence[TensorSpec]:
        """Tensors of about a mebibyte, for measuring memory: those of `specimens.LARGE` that it accepts."""
        return [spec for spec in specimens.LARGE if self.codec.accepts(spec)]

    def values(self, spec: TensorSpec, batch: int = 2, seed: int = 0) -> Array:
        """A tensor of that spec, another one for each seed."""
        return specimens.values(spec, batch, seed)

    def samples(self, spec: TensorSpec) -> Sequence[Array]:
        """Tensors to calibrate it with. None are needed by default, unless `codec.needs_table`."""
        return [self.values(spec, 1, seed) for seed in range(8)] if self.codec.needs_table else []

    def tolerance(self, spec: TensorSpec, array: Array) -> float:
        """How far a value of this tensor may be from what is decoded. A lossy codec says so itself."""
        assert self.codec.lossless, "a lossy codec needs a `tolerance(self, spec, array)` of its own"
        return 0.0

    def table(self, spec: TensorSpec) -> bytes | None:
        """What `calibrate` makes of the samples; made once."""
        key = type(self), spec
        if key not in _tables:
            samples = self.samples(spec)
            _tables[key] = self.codec.calibrate(spec, samples) if len(samples) else None
        return _tables[key]

    def coder(self, spec: TensorSpec) -> Coder:
        """The codec, bound."""
        return self.codec.bind(spec, self.table(spec))

    def tried(self) -> list[tuple[TensorSpec, Coder, Array]]:
        """Each spec with a coder and a tensor of two items, where it has a batch."""
        found = [(spec, self.coder(spec), self.values(spec)) for spec in self.specs()]
        assert found, "it accepts none of the tensors that it was tried with: override `specs`"
        return found

    def batched(self) -> list[tuple[TensorSpec, Coder, Array]]:
        """Those that have a batch."""
        found = [tried for tried in self.tried() if tried[0].shape[:1] == (None,)]
        assert found, "it accepts no tensor with a batch, shape (None, ...): give it one in `specs`"
        return found


def refuses(errors: Errors, call: Callable[..., object], *arguments: object) -> bool:
    """Whether a call raises one of these errors. Any other error passes through, and fails the test."""
    try:
        call(*arguments)
    except errors:
        return True
    return False


def survives(coder: Coder, chunks: Sequence[Chunk], spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    """Whether bytes decode; if so, to an array of the right kind, and if not, with an error that may be.

    Raises:
        AssertionError: what was decoded has another shape or type.
    """
    try:
        found = coder.decode(chunks, shape)
    except REFUSALS:
        return False
    assert found.shape == shape, f"{spec}: decoded to {found.shape} instead of {shape}"
    assert found.dtype == np.dtype(spec.dtype), f"{spec}: decoded to {found.dtype}"
    return True
