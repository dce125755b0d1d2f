"""Items of one tensor <-> chunks, at one step.

    chunk = side (`side`), then the entropy coder's stack (`entropy`)

What is unlike the samples is not coded: too many numbers that no row knows, or a chunk several times as long as usual, and the
tensor departs to a wider codec (`Uncodable`). That bounds what a chunk may be, and a longer one is refused unread.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from splitinfer.codec.finite import LARGEST, check_finite
from splitinfer.codec.items import Chunk, check_array, check_count
from splitinfer.codec.klt import side, symbols
from splitinfer.codec.klt.basis import Basis
from splitinfer.codec.klt.entropy import Stack
from splitinfer.codec.klt.layout import Floats
from splitinfer.codec.klt.quantiser import LEVEL_MAX, Levels, Quantiser, Run
from splitinfer.codec.klt.side import Side
from splitinfer.errors import CorruptPayload, PayloadTooLarge, Uncodable
from splitinfer.model import Array, TensorSpec

ODD_SHARE_MAX, ODD_ALWAYS = 1 / 256, 16
"""Coefficients of an item that may be beyond what the rows code: this share more than `TIMES_EXPECTED` what the samples had
(sparse vectors have some), or this many if that is more."""
TIMES_EXPECTED, SLACK_BYTES = 4, 64
"""A chunk may be so many times as long as the samples' mean, and a bit. (Maps of photos: one in twenty is 1.3 times.)"""
_NOTABLE = 2.5
"""Steps. A smaller coefficient where none is expected stays zero: saying it would cost more than it is worth."""


class KltCoder:
    """One tensor's coder."""

    def __init__(self, spec: TensorSpec, basis: Basis, quantiser: Quantiser, gain: Floats) -> None:
        self._spec = spec
        self._basis = basis
        self._quantiser = quantiser
        self._gain = gain
        self._batched = spec.shape[:1] == (None,)

    def encode(self, array: Array) -> list[bytes]:
        """One chunk an item."""
        check_array(self._spec, array)
        check_finite(self._spec, array, LARGEST)
        return [self._encode(item) for item in (array if self._batched else [array])]

    def decode(self, chunks: Sequence[Chunk], shape: tuple[int, ...]) -> Array:
        """The tensor."""
        count, item_shape = (shape[0], shape[1:]) if self._batched else (1, shape)
        check_count(chunks, count)
        if not all(shape):
            raise CorruptPayload(f"tensor {self._spec.name!r} is empty")
        if count == 1:
            return np.ascontiguousarray(self._decode(chunks[0], item_shape), self._spec.dtype).reshape(shape)
        out = np.empty(shape, self._spec.dtype)
        for index, chunk in enumerate(chunks):
            out[index] = self._decode(chunk, item_shape)
        return out

    def symbols(self, item: Array) -> list[tuple[Run, Levels]]:
        """The levels of an item, run by run: for looking at what the entropy coder makes of them."""
        quantiser = self._quantiser
        levels = quantiser.quantise(self._by_place(item)[quantiser.places])
        return [(run, levels[run.start : run.stop].ravel()) for run in quantiser.runs]

    def _by_place(self, item: Array) -> Floats:
        """Coefficients, [places of a block, blocks]."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is far too large to be coded
            coefficients = self._basis.forward(item)
        return coefficients.transpose(0, 2, 4, 1, 3).reshape(self._quantiser.size, -1)

    def _encode(self, item: Array) -> bytes:
        quantiser, values = self._quantiser, self._by_place(item)
        blocks = values.shape[1]
        largest = max(values.max(), -values.min()) / quantiser.step
        if not largest < LEVEL_MAX:
            raise self._unlike(f"a coefficient is {largest:.3g} steps large")
        words, escapes = symbols.write(quantiser, quantiser.quantise(values[quantiser.places]))
        odd = self._odd(values[quantiser.uncoded].ravel(), escapes)
        if len(odd) > self._odd_max(blocks):
            raise self._unlike(f"{len(odd)} of {values.size} coefficients are beyond those of the samples")
        chunk = side.write(odd) + words
        if len(chunk) > self._bytes_max(blocks):
            raise self._unlike(f"it takes {len(chunk)} bytes instead of about {self._bytes_usual(blocks)}")
        return chunk

    def _odd(self, unexpected: Floats, escapes: Sequence[int]) -> Side:
        """What no row codes."""
        step = self._quantiser.step
        places = np.flatnonzero(np.abs(unexpected) >= _NOTABLE * step)
        return Side(places.tolist(), np.rint(unexpected[places] / step).astype(int).tolist(), escapes)

    def _decode(self, chunk: Chunk, shape: tuple[int, ...]) -> Floats:
        quantiser, blocks = self._quantiser, prod(self._basis.layout.grid(shape))
        if len(chunk) > self._bytes_max(blocks):
            raise PayloadTooLarge(f"a chunk of tensor {self._spec.name!r} has {len(chunk)} bytes, more than it ever takes")
        odd, words = side.read(chunk, self._odd_max(blocks))
        stack = Stack(words)
        values = np.zeros((quantiser.size, blocks), np.float32)
        for part, levels in symbols.read(quantiser, stack, odd.escapes, blocks):
            values[quantiser.places[part]] = quantiser.values(levels, part)
        self._put(values, odd)
        return self._basis.inverse(values, self._gain, shape)

    def _put(self, values: Floats, odd: Side) -> None:
        """Sets what no row codes."""
        if not odd.places:
            return
        uncoded, blocks = self._quantiser.uncoded, values.shape[1]
        if odd.places[-1] >= len(uncoded) * blocks or max(map(abs, odd.levels)) > LEVEL_MAX:
            raise CorruptPayload(f"a coefficient of tensor {self._spec.name!r} lies outside")
        places = np.array(odd.places)
        values[uncoded[places // blocks], places % blocks] = np.array(odd.levels, np.float32) * self._quantiser.step

    def _odd_max(self, blocks: int) -> int:
        quantiser = self._quantiser
        return max(ODD_ALWAYS, int((ODD_SHARE_MAX * quantiser.size + TIMES_EXPECTED * quantiser.expected_escapes) * blocks))

    def _bytes_usual(self, blocks: int) -> int:
        return int(self._quantiser.expected_bits * blocks / 8)

    def _bytes_max(self, blocks: int) -> int:
        return TIMES_EXPECTED * self._bytes_usual(blocks) + SLACK_BYTES

    def _unlike(self, why: str) -> Uncodable:
        return Uncodable(f"tensor {self._spec.name!r} is unlike the samples that the codec was calibrated with: {why}")
