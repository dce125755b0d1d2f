"""The packer: what it makes it reads, and what it did not make it refuses before decoding."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from splitinfer.codec import codec_of_file
from splitinfer.errors import (
    CodecError,
    CorruptPayload,
    DigestMismatch,
    InvalidCut,
    InvalidInput,
    PayloadTooLarge,
    UnknownCodec,
)
from splitinfer.model import Array, Cut, Digest, Model, Segment, TensorSpec
from splitinfer.payload import Packer, Part, Payload

IMAGE = TensorSpec("image", "uint8", (None, 16, 20, 3))
MAP = TensorSpec("map", "float32", (None, 4, 3, 3))
MASK = TensorSpec("mask", "bool", (None, 5))
SCALE = TensorSpec("scale", "float32", ())
BOXES = TensorSpec("boxes", "float32", (None, 4))
LABEL = TensorSpec("label", "int64", (None,))
DIGEST = Digest("ab" * 32)


def model(first: tuple[TensorSpec, ...] = (IMAGE,), image_input: str | None = "image") -> Model:
    cuts = (
        Cut(0, "a" * 12, "input", first, 0.0),
        Cut(1, "b" * 12, "map", (MAP, MASK, SCALE), 0.5),
        Cut(2, "c" * 12, "end", (), 1.0),
    )
    segments = tuple(Segment(i, "0" * 64, 1, 1, 1, (), ()) for i in range(2))
    return Model(DIGEST, "m", "1", first, (BOXES, LABEL), cuts, segments, frozenset({0, 1}), image_input)


PACKER = Packer(model())


def crossing(batch: int = 2) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        "map": rng.normal(size=(batch, 4, 3, 3)).astype(np.float32),
        "mask": rng.integers(0, 2, (batch, 5)).astype(bool),
        "scale": np.array(0.5, np.float32),
    }


def pictures(batch: int = 1) -> Array:
    y, x = np.mgrid[0:16, 0:20]
    return np.stack([((4 * y + 3 * x)[..., None] + [0, 40, 80] + 5 * i).astype(np.uint8) for i in range(batch)])


def with_part(payload: Payload, which: str, /, **changes: object) -> Payload:
    parts = tuple(replace(part, **changes) if part.name == which else part for part in payload.parts)
    return replace(payload, parts=parts)


@pytest.mark.parametrize("codec_id", ["raw", "raw+zstd1", "half", "int8", "int8+zstd1", "int6+zstd1", "int4+zstd1", "png"])
def test_what_was_packed_is_unpacked(codec_id: str) -> None:
    tensors = crossing()
    payload = PACKER.pack(1, codec_id, tensors)
    found = PACKER.unpack(payload)
    assert found.keys() == tensors.keys()
    assert np.array_equal(found["mask"], tensors["mask"])
    assert np.allclose(found["map"], tensors["map"], atol=0.3)
    assert found["scale"].shape == ()
    assert found["scale"] == pytest.approx(0.5, rel=1e-3)
    assert (payload.cut, payload.codec, payload.digest) == (1, codec_id, DIGEST)


def test_integers_are_read_as_they_were_coded_before_there_was_a_better_way() -> None:
    plain = {part.name: part for part in PACKER.pack(1, "raw+zstd1", crossing()).parts}
    parts = tuple(plain["mask"] if part.name == "mask" else part for part in PACKED.parts)
    assert np.array_equal(PACKER.unpack(replace(PACKED, parts=parts))["mask"], crossing()["mask"])
    assert plain["mask"].nbytes > next(part for part in PACKED.parts if part.name == "mask").nbytes


def test_a_tensor_that_the_codec_does_not_take_crosses_without_loss() -> None:
    used = {part.name: part.codec for part in PACKER.pack(1, "int4+zstd1", crossing()).parts}
    assert used == {"map": "int4+zstd1", "mask": "narrow+zstd1", "scale": "int4+zstd1"}
    used = {part.name: part.codec for part in PACKER.pack(0, "int8", {"image": pictures()}).parts}
    assert used == {"image": "narrow+zstd1"}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("codec_id", ["raw", "png", "jpeg:90", "webp:90"])
def test_a_batch_of_pictures_crosses_at_cut_0(codec_id: str, batch: int) -> None:
    payload = PACKER.pack(0, codec_id, {"image": pictures(batch)})
    assert len(payload.parts[0].chunks) == batch
    found = PACKER.unpack(payload)["image"]
    assert np.abs(found.astype(int) - pictures(batch)).mean() < 6


def test_only_the_picture_is_coded_with_loss() -> None:
    """A second uint8 input of the same shape, a label map, say, must not become a JPEG."""
    labels = replace(IMAGE, name="labels")
    packer = Packer(model((IMAGE, labels)))
    payload = packer.pack(0, "jpeg:75", {"image": pictures(), "labels": pictures()})
    assert [part.codec for part in payload.parts] == ["jpeg:75", "narrow+zstd1"]
    assert np.array_equal(packer.unpack(payload)["labels"], pictures())


def test_a_table_is_used_by_its_tensor_and_codec() -> None:
    packer = Packer(model(), {"1/map/int4": struct.pack("<ff", -0.5, 0.5)})
    assert np.abs(packer.unpack(packer.pack(1, "int4+zstd1", crossing()))["map"]).max() == 0.5
    assert np.abs(packer.unpack(packer.pack(1, "int8+zstd1", crossing()))["map"]).max() > 1
    assert np.abs(PACKER.unpack(packer.pack(1, "int4+zstd1", crossing()))["map"]).max() == 0.5


def test_wrong_tensors_cuts_and_codecs_are_refused_when_packing() -> None:
    tensors = crossing()
    with pytest.raises(InvalidInput):
        PACKER.pack(1, "raw", {name: tensors[name] for name in ("map", "mask")})
    with pytest.raises(InvalidInput):
        PACKER.pack(1, "raw", tensors | {"more": tensors["map"]})
    with pytest.raises(InvalidInput):
        PACKER.pack(1, "raw", tensors | {"map": tensors["map"][:0]})
    with pytest.raises(InvalidCut):
        PACKER.pack(2, "raw", {})
    with pytest.raises(InvalidCut):
        PACKER.pack(-1, "raw", tensors)
    with pytest.raises(UnknownCodec):
        PACKER.pack(1, "zip", tensors)


PACKED = PACKER.pack(1, "int8+zstd1", crossing())
PLAIN = PACKER.pack(1, "raw", crossing())


def test_another_bundle_or_cut_is_refused() -> None:
    with pytest.raises(DigestMismatch):
        PACKER.unpack(replace(PACKED, digest=Digest("cd" * 32)))
    for cut in (2, 3, -1):
        with pytest.raises(InvalidCut):
            PACKER.unpack(replace(PACKED, cut=cut))
    with pytest.raises(CorruptPayload):
        PACKER.unpack(replace(PACKED, cut=0))
    with pytest.raises(UnknownCodec):
        PACKER.unpack(replace(PACKED, codec="zip"))


def test_parts_may_come_in_any_order_but_each_once() -> None:
    first, *rest = PACKED.parts
    assert PACKER.unpack(replace(PACKED, parts=(*rest, first))).keys() == crossing().keys()
    for parts in ((), (first,), (first, first, *rest), (first, first, rest[0]), (*rest, replace(first, name="other"))):
        with pytest.raises(CorruptPayload):
            PACKER.unpack(replace(PACKED, parts=parts))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float64"},
        {"dtype": "nonsense"},
        {"codec": "raw"},
        {"codec": "zip"},
        {"shape": (2, 4, 3)},
        {"shape": (2, 4, 3, 4)},
        {"shape": (3, 4, 3, 3)},
        {"shape": (0, 4, 3, 3)},
        {"shape": (-2, 4, 3, 3)},
        {"shape": ()},
        {"chunks": ()},
        {"chunks": PACKED.parts[0].chunks * 2},
        {"chunks": (b"", b"")},
    ],
)
def test_a_part_that_is_not_of_the_cut_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CorruptPayload):
        PACKER.unpack(with_part(PACKED, "map", **changes))


def test_more_than_the_limit_is_refused_before_decoding() -> None:
    for shape in ((1 << 40, 4, 3, 3), (1 << 70, 4, 3, 3), (466_034, 4, 3, 3)):
        with pytest.raises(PayloadTooLarge):
            PACKER.unpack(with_part(PACKED, "map", shape=shape))
    nbytes = sum(array.nbytes for array in crossing().values())
    assert Packer(model(), limit_bytes=nbytes).unpack(PACKED)
    with pytest.raises(PayloadTooLarge):
        Packer(model(), limit_bytes=nbytes - 1).unpack(PACKED)


def test_a_dynamic_shape_cannot_hide_a_huge_dimension_behind_an_empty_one() -> None:
    packer = Packer(replace(model(), outputs=(TensorSpec("boxes", "float32", (None, None)),)))
    for shape in ((0, 1 << 62), (1 << 62, 0), (0, 1 << 80)):
        with pytest.raises(PayloadTooLarge):
            packer.unpack_outputs(Payload(DIGEST, 2, "raw", (Part("boxes", "float32", shape, "raw", ()),)))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    shape=st.lists(st.integers(-3, 6) | st.integers(1 << 30, 1 << 66), max_size=5).map(tuple),
    chunks=st.lists(st.binary(max_size=160), max_size=4).map(tuple),
    dtype=st.sampled_from(["float32", "bool", "uint8", ""]),
    used=st.sampled_from(["raw", "raw+zstd1", "int8+zstd1", "half", "png", ""]),
    name=st.sampled_from(["map", "mask", "scale"]),
)
def test_any_part_is_decoded_or_refused(
    shape: tuple[int, ...], chunks: tuple[bytes, ...], dtype: str, used: str, name: str
) -> None:
    for packed in (PLAIN, PACKED):
        payload = with_part(packed, name, shape=shape, chunks=chunks, dtype=dtype, codec=used)
        try:
            found = PACKER.unpack(payload)
        except CodecError:
            continue
        assert found[name].shape == shape


# -- values that the plan's codec cannot code ----------------------------------------------------------------------------

LOSSY = ["half", "half+zstd1", "int8", "int8+zstd1", "int6+zstd1", "int4+zstd1"]


def used_by(payload: Payload) -> dict[str, str]:
    return {part.name: part.codec for part in payload.parts}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec_id", LOSSY)
def test_what_is_not_finite_crosses_as_it_is(codec_id: str, bad: float) -> None:
    tensors = crossing()
    tensors["map"][1, 2, 0, 1] = bad
    payload = PACKER.pack(1, codec_id, tensors)
    assert (payload.departed, payload.codec) == (("map",), codec_id)
    assert used_by(payload) == {"map": "raw+zstd1", "mask": "narrow+zstd1", "scale": codec_id}
    assert np.array_equal(PACKER.unpack(payload)["map"], tensors["map"], equal_nan=True)


@pytest.mark.parametrize("codec_id", ["half", "half+zstd1"])
def test_a_wider_codec_takes_over_what_is_only_too_large(codec_id: str) -> None:
    tensors = crossing()
    tensors["map"][0] *= 1e6
    packer = Packer(model(), {"1/map/int8": struct.pack("<ff", -0.25, 0.25)})
    payload = packer.pack(1, codec_id, tensors)
    assert payload.departed == ("map",)
    assert used_by(payload)["map"] == "int8+zstd1"
    found = packer.unpack(payload)["map"]
    for item, sent in zip(found, tensors["map"], strict=True):
        assert np.abs(item - sent).max() <= np.ptp(sent) / 255, "each item by its own range, whatever the table says"


@pytest.mark.parametrize("codec_id", ["int8", "int8+zstd1", "int4+zstd1"])
def test_values_far_beyond_the_range_of_the_samples_cross_in_their_own(codec_id: str) -> None:
    family = codec_id.partition("+")[0]
    packer = Packer(model(), {f"1/map/{family}": struct.pack("<ff", -2.0, 3.0)})
    tensors = crossing()
    tensors["map"][1, 0, 0, 0] = 24.0
    assert packer.pack(1, codec_id, tensors).departed == ()
    tensors["map"][1, 0, 0, 0] = -24.5
    payload = packer.pack(1, codec_id, tensors)
    assert (payload.departed, used_by(payload)["map"]) == (("map",), "int8+zstd1")
    assert packer.unpack(payload)["map"][1, 0, 0, 0] == pytest.approx(-24.5)


@pytest.mark.parametrize("codec_id", ["raw", "raw+zstd1", *LOSSY])
def test_usual_values_depart_from_no_codec(codec_id: str) -> None:
    assert PACKER.pack(1, codec_id, crossing()).departed == ()


def test_lossless_codecs_and_integers_have_nothing_to_depart_from() -> None:
    tensors = crossing()
    tensors["map"][:] = np.nan
    for codec_id in ("raw", "raw+zstd1"):
        assert PACKER.pack(1, codec_id, tensors).departed == ()
    assert PACKER.pack(1, "int8", tensors).departed == ("map",)
    assert PACKER.pack(0, "jpeg:90", {"image": pictures()}).departed == ()


def test_departing_does_not_cross_and_makes_no_other_payload() -> None:
    tensors = crossing()
    tensors["map"][:] = np.nan
    payload = PACKER.pack(1, "int8", tensors)
    assert replace(payload, departed=()) == payload


def test_only_what_can_depart_may_come_in_another_codec() -> None:
    for planned in LOSSY:
        for taken in ("int8+zstd1", "raw+zstd1"):
            sent = PACKER.pack(1, taken, crossing())
            assert PACKER.unpack(replace(sent, codec=planned)).keys() == crossing().keys()
    wide = PACKER.pack(1, "int8+zstd1", crossing())
    for payload in (
        replace(wide, codec="raw"),
        replace(PACKER.pack(1, "raw", crossing()), codec="int8"),
        replace(PACKER.pack(1, "int4+zstd1", crossing()), codec="int8"),
        with_part(wide, "mask", codec="int8+zstd1"),
        replace(PACKER.pack(0, "raw+zstd1", {"image": pictures()}), codec="jpeg:75"),
    ):
        with pytest.raises(CorruptPayload, match="must be coded as"):
            PACKER.unpack(payload)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    values=st.lists(st.floats(width=32) | st.floats(-10, 10, width=32), min_size=36, max_size=36),
    codec_id=st.sampled_from(LOSSY),
)
def test_any_floats_come_back_as_they_were_or_close_and_in_few_bytes(values: list[float], codec_id: str) -> None:
    sent = np.array(values, np.float32).reshape(1, 4, 3, 3)
    tensors = crossing(1) | {"map": sent}
    payload = PACKER.pack(1, codec_id, tensors)
    found = PACKER.unpack(payload)["map"]
    part = payload.parts[0]
    assert part.nbytes <= sent.nbytes + 32
    if not np.isfinite(sent).all():
        assert (part.codec, payload.departed) == ("raw+zstd1", ("map",))
    if part.codec == "raw+zstd1":
        assert np.array_equal(found, sent, equal_nan=True)
    elif part.codec.startswith("half"):
        assert np.allclose(found, sent, rtol=2.0**-11, atol=2.0**-25)
    else:
        levels = {"int8": 255, "int6": 63, "int4": 15}[part.codec.partition("+")[0]]
        step = (float(sent.max()) - float(sent.min())) / levels
        slack = float(np.abs(sent).max()) * 2.0**-20 + levels * 2.0**-126
        assert np.abs(found.astype(np.float64) - sent).max() <= 0.501 * step + slack


# -- pictures that are already files ----------------------------------------------------------------------------------


def encoded(format: str, array: Array, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(("format", "codec_id"), [("JPEG", "jpeg:90"), ("PNG", "png"), ("WEBP", "webp:75")])
def test_an_encoded_picture_passes_through_untouched(format: str, codec_id: str) -> None:
    file = encoded(format, pictures()[0])
    payload = PACKER.pack_encoded(file, codec_id)
    assert payload.parts[0].chunks == (file,)
    found = PACKER.unpack(payload)["image"]
    assert found.shape == (1, 16, 20, 3)
    assert np.array_equal(found[0], np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_file_says_which_codec_reads_it(format: str) -> None:
    file = encoded(format, pictures()[0])
    found = codec_of_file(file)
    assert found.id.partition(":")[0] == format.lower()
    assert PACKER.unpack(PACKER.pack_encoded(file, found.id))["image"].shape == (1, 16, 20, 3)


@pytest.mark.parametrize("file", [b"", b"GIF89a", b"\xff\xd8"])
def test_a_file_of_no_known_format_has_no_codec(file: bytes) -> None:
    with pytest.raises(UnknownCodec):
        codec_of_file(file)


def test_a_file_that_does_not_fit_is_refused() -> None:
    picture = pictures()[0]
    for file, codec_id in (
        (encoded("PNG", picture), "jpeg:90"),
        (encoded("JPEG", picture), "png"),
        (encoded("JPEG", picture[:, :, 0]), "jpeg:90"),
        (encoded("JPEG", picture[:8]), "jpeg:90"),
        (encoded("JPEG", picture), "raw"),
        (b"", "webp:75"),
    ):
        with pytest.raises(InvalidInput):
            PACKER.pack_encoded(file, codec_id)


def test_a_model_without_one_image_input_takes_no_file() -> None:
    file = encoded("PNG", pictures()[0])
    for other in (model(image_input=None), model((IMAGE, MASK))):
        with pytest.raises(InvalidInput):
            Packer(other).pack_encoded(file, "png")


# -- replies ----------------------------------------------------------------------------------------------------------


def outputs(count: int = 3) -> dict[str, Array]:
    return {"boxes": np.arange(4.0 * count, dtype=np.float32).reshape(count, 4), "label": np.arange(count)}


@pytest.mark.parametrize("count", [1, 3, 0])
def test_outputs_come_back_exactly_and_writable(count: int) -> None:
    payload = PACKER.pack_outputs(outputs(count))
    found = PACKER.unpack_outputs(payload)
    assert (payload.cut, payload.codec) == (2, "raw")
    for name, array in outputs(count).items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        found[name][...] = 0


def test_a_reply_may_carry_some_of_the_outputs() -> None:
    assert list(PACKER.unpack_outputs(PACKER.pack_outputs({"label": outputs()["label"]}))) == ["label"]
    assert PACKER.unpack_outputs(PACKER.pack_outputs({})) == {}


def test_wrong_outputs_are_refused() -> None:
    with pytest.raises(InvalidInput):
        PACKER.pack_outputs({"other": np.zeros(3)})
    with pytest.raises(InvalidInput):
        PACKER.pack_outputs({"boxes": np.zeros((3, 5), np.float32)})


def test_a_reply_that_is_not_of_this_model_is_refused() -> None:
    reply = PACKER.pack_outputs(outputs())
    with pytest.raises(DigestMismatch):
        PACKER.unpack_outputs(replace(reply, digest=Digest("cd" * 32)))
    for wrong in (
        replace(reply, cut=1),
        replace(reply, parts=reply.parts * 2),
        with_part(reply, "boxes", name="other"),
        with_part(reply, "boxes", dtype="float64"),
        with_part(reply, "boxes", codec="int8"),
        with_part(reply, "boxes", shape=(3, 5)),
        with_part(reply, "boxes", shape=(-3, 4)),
        with_part(reply, "boxes", shape=(0, 4)),
        with_part(reply, "boxes", chunks=()),
    ):
        with pytest.raises(CorruptPayload):
            PACKER.unpack_outputs(wrong)
    with pytest.raises(PayloadTooLarge):
        PACKER.unpack_outputs(with_part(reply, "boxes", shape=(1 << 62, 4)))
