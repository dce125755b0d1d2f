"""What crosses the network: coded tensors that describe themselves, and the one place that makes and reads them.

Nothing here trusts a payload: names, dtypes, shapes and sizes are checked against the cut before anything is decoded. Knows no
wire format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

import numpy as np

from splitinfer.codec import FALLBACK, Codec, Coder, codec, table_key
from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import (
    CodecError,
    CorruptBundle,
    CorruptPayload,
    DigestMismatch,
    InvalidCut,
    InvalidInput,
    PayloadTooLarge,
    Uncodable,
    UnknownCodec,
)
from splitinfer.model import Array, Digest, Model, Tensors, TensorSpec

LIMIT_BYTES = 64 << 20
"""What a payload may decode to, unless a packer is told otherwise."""

WIDER = "int8+zstd1"
"""Takes over where the plan's codec cannot code the values; without a table, so that each item's own range counts. Where it
cannot either (they are not finite), `FALLBACK` does."""

INTEGERS = "narrow+zstd1"
"""Codes integers and truth values that the plan's codec does not suit. `FALLBACK`, which did before, is still read."""

_OUTPUT_CODEC = "raw"
_BOUND_MOST = 512
"""Tensors under plans that a packer keeps coders for: bundles have fewer."""


_Bound = tuple[str, Coder]
"""A wire id and its coder for one tensor."""


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
        departed: tensors that another codec took over, because the plan's could not code their values. Known to the sender
            only: it does not cross.
    """

    digest: Digest
    cut: int
    codec: str
    parts: tuple[Part, ...]
    departed: tuple[str, ...] = field(default=(), compare=False)

    @property
    def nbytes(self) -> int:
        """Coded bytes without framing."""
        return sum(part.nbytes for part in self.parts)


class Packer:
    """Makes and reads the payloads of one bundle. Coders are bound once; safe to use from several threads."""

    def __init__(self, model: Model, tables: Mapping[str, bytes] | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        """Makes a packer.

        Args:
            model: what was cut.
            tables: of the codecs, by `codec.table_key`.
            limit_bytes: the most that one payload may decode to.
        """
        self._model = model
        self._tables = dict(tables or {})
        self._limit_bytes = limit_bytes
        self._coders = lru_cache(_BOUND_MOST)(self._bind)  # bounded, since strangers choose among very many steps
        self._outputs = {spec.name: (spec, codec(_OUTPUT_CODEC).bind(spec)) for spec in model.outputs}

    def pack(self, cut: int, codec_id: str, tensors: Tensors) -> Payload:
        """Codes the tensors that cross at a cut.

        Values that the plan's codec cannot code (not finite, or unlike the samples) cross all the same: `Payload.departed`.

        Raises:
            InvalidInput: they are not the tensors of that cut, or one is empty.
            InvalidCut: nothing crosses there.
            UnknownCodec: no such codec.
            CorruptBundle: the codec needs a table, and there is none, or it is damaged.
        """
        specs = self._crossing(cut)
        if tensors.keys() != {spec.name for spec in specs}:
            raise InvalidInput(f"expected tensors {sorted(spec.name for spec in specs)}, got {sorted(tensors)}")
        coded = [_encode(spec, self._coders(cut, spec, codec_id), tensors[spec.name]) for spec in specs]
        departed = tuple(part.name for part, as_planned in coded if not as_planned)
        return Payload(self._model.digest, cut, codec_id, tuple(part for part, _ in coded), departed)

    def pack_encoded(self, file: bytes, codec_id: str) -> Payload:
        """Lets an already encoded picture cross at cut 0 as it is; its pixels are not touched.

        Args:
            file: JPEG, PNG, WebP or AVIF.
            codec_id: of that format, "jpeg:90"; the quality is the plan's, the file may have another.

        Raises:
            InvalidInput: this model does not take one picture, or the file is not of this format or size.
        """
        specs = self._crossing(0)
        chosen = codec(codec_id)
        if len(specs) != 1 or specs[0].name != self._model.image_input or not isinstance(chosen, PictureCodec):
            raise InvalidInput("an encoded picture needs a model with one image input and a codec for pictures")
        try:
            height, width = chosen.header(file)
        except CodecError as error:
            raise InvalidInput(f"this file does not fit {codec_id!r}: {error}") from error
        shape = (1, height, width, 3)
        if not specs[0].fits(shape):
            raise InvalidInput(f"this picture is {height}x{width}; the model takes {list(specs[0].shape[1:3])}: resize it")
        part = Part(specs[0].name, specs[0].dtype, shape, codec_id, (file,))
        return Payload(self._model.digest, 0, codec_id, (part,))

    def unpack(self, payload: Payload) -> dict[str, Array]:
        """Decodes what crossed at a cut, after everything that it says of itself was checked.

        Raises:
            DigestMismatch: it is of another bundle.
            InvalidCut: nothing crosses there.
            UnknownCodec: no such codec, or no table for it.
            PayloadTooLarge: it would decode to more than the limit.
            CorruptPayload: it is not what `pack` would make.
        """
        self._check_digest(payload)
        specs = {spec.name: spec for spec in self._crossing(payload.cut)}
        if sorted(part.name for part in payload.parts) != sorted(specs):
            raise CorruptPayload(f"the tensors are not those of cut {payload.cut}")
        coders = []
        for part in payload.parts:
            spec = specs[part.name]
            bound = self._readers(payload.cut, spec, payload.codec)
            _check_part(spec, part, bound)
            if 0 in part.shape:
                raise CorruptPayload(f"tensor {part.name!r} is empty")
            coders.append(bound[part.codec])
        self._check_size(payload.parts)
        return {part.name: coder.decode(part.chunks, part.shape) for coder, part in zip(coders, payload.parts, strict=True)}

    def pack_outputs(self, outputs: Tensors) -> Payload:
        """A reply: these outputs of the model, as they are. An output may be empty (nothing detected).

        Raises:
            InvalidInput: one is not an output of the model.
        """
        parts = []
        for name, array in outputs.items():
            if name not in self._outputs:
                raise InvalidInput(f"{name!r} is not an output of this model; it has {sorted(self._outputs)}")
            spec, coder = self._outputs[name]
            chunks = tuple(coder.encode(array)) if array.size else ()
            parts.append(Part(name, spec.dtype, array.shape, _OUTPUT_CODEC, chunks))
        return Payload(self._model.digest, self._model.n, _OUTPUT_CODEC, tuple(parts))

    def unpack_outputs(self, payload: Payload) -> dict[str, Array]:
        """The outputs of a reply, as arrays that the application may write to.

        Raises:
            DigestMismatch: it is of another bundle.
            PayloadTooLarge: it would decode to more than the limit.
            CorruptPayload: it is not what `pack_outputs` would make.
        """
        self._check_digest(payload)
        names = [part.name for part in payload.parts]
        if payload.cut != self._model.n or len(set(names)) < len(names) or not self._outputs.keys() >= set(names):
            raise CorruptPayload("a reply does not carry outputs of this model")
        for part in payload.parts:
            _check_part(self._outputs[part.name][0], part, [_OUTPUT_CODEC])
        self._check_size(payload.parts)
        return {part.name: self._output(part) for part in payload.parts}

    def _output(self, part: Part) -> Array:
        if 0 in part.shape and not part.chunks:
            return np.empty(part.shape, part.dtype)
        array = self._outputs[part.name][1].decode(part.chunks, part.shape)
        return array if array.flags.writeable else array.copy()

    def _crossing(self, cut: int) -> tuple[TensorSpec, ...]:
        if not 0 <= cut < self._model.n:
            raise InvalidCut(f"nothing crosses at cut {cut}; this bundle has cuts 0 to {self._model.n}")
        return self._model.cuts[cut].tensors

    def _bind(self, cut: int, spec: TensorSpec, codec_id: str) -> tuple[_Bound, ...]:
        """What may code a tensor under a plan, the first that can: the plan's codec, then what takes over from it."""
        chosen = codec(codec_id)
        if not self._suits(chosen, cut, spec):
            ids = (INTEGERS, FALLBACK) if codec(INTEGERS).accepts(spec) else (FALLBACK,)
            return tuple((id, codec(id).bind(spec)) for id in ids)
        planned = codec_id, chosen.bind(spec, self._tables.get(table_key(cut, spec.name, codec_id)))
        may_depart = not (chosen.lossless or spec.lossless_only)
        return (planned, *((id, codec(id).bind(spec)) for id in (WIDER, FALLBACK) if may_depart))

    def _readers(self, cut: int, spec: TensorSpec, codec_id: str) -> dict[str, Coder]:
        """What a stranger may have coded a tensor with, the first of an id."""
        try:
            return dict(self._coders(cut, spec, codec_id)[::-1])
        except CorruptBundle as error:
            raise UnknownCodec(f"this bundle has no table with which {codec_id!r} reads tensor {spec.name!r}") from error

    def _suits(self, chosen: Codec, cut: int, spec: TensorSpec) -> bool:
        """Whether the codec of a plan codes a tensor: integers lose nothing, unless they are the picture at cut 0."""
        may_lose = not spec.lossless_only or (cut == 0 and spec.name == self._model.image_input)
        return chosen.accepts(spec) and (chosen.lossless or may_lose)

    def _check_digest(self, payload: Payload) -> None:
        if payload.digest != self._model.digest:
            raise DigestMismatch(f"this is bundle {self._model.digest[:12]}, the payload is of {payload.digest[:12]}")

    def _check_size(self, parts: Iterable[Part]) -> None:
        """An empty dimension counts as 1, so that it cannot hide a huge one."""
        total = sum(prod(max(1, dim) for dim in part.shape) * np.dtype(part.dtype).itemsize for part in parts)
        if total > self._limit_bytes:
            raise PayloadTooLarge(f"a payload would decode to {total} bytes; the limit is {self._limit_bytes}")


def _encode(spec: TensorSpec, coders: Sequence[_Bound], array: Array) -> tuple[Part, bool]:
    """The tensor in the first codec that can code its values, and whether that is the plan's. The last one codes all."""
    *others, (last, lossless) = coders
    for index, (used, coder) in enumerate(others):
        with suppress(Uncodable):
            return Part(spec.name, spec.dtype, array.shape, used, tuple(coder.encode(array))), index == 0
    return Part(spec.name, spec.dtype, array.shape, last, tuple(lossless.encode(array))), not others


def _check_part(spec: TensorSpec, part: Part, codec_ids: Collection[str]) -> None:
    if part.dtype != spec.dtype or min(part.shape, default=0) < 0 or not spec.fits(part.shape):
        raise CorruptPayload(f"tensor {spec.name!r} is not {spec.dtype} of the shape of this model")
    if part.codec not in codec_ids:
        raise CorruptPayload(f"tensor {spec.name!r} must be coded as {' or '.join(codec_ids)}")
