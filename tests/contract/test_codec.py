"""What every codec must do, whatever its id."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import Codec, codec, codecs_for, table_key
from splitinfer.codec.items import LARGEST
from splitinfer.errors import CodecError, CorruptPayload, InvalidInput, UnknownCodec
from splitinfer.model import Array, Cut, TensorSpec

FLOAT_IDS = ["half", "half+zstd1", "int8", "int8+zstd1", "int6", "int6+zstd1", "int4", "int4+zstd1"]
ANY_IDS = ["raw", "raw+zstd1"]
PICTURE_IDS = ["png", "jpeg:98", "jpeg:95", "jpeg:90", "jpeg:75", "jpeg:1", "webp:90", "webp:75", "webp:100"]
BITS = {"int8": 8, "int6": 6, "int4": 4}

FLOAT_SHAPES = [
    ((None, 5, 3, 7), (1, 5, 3, 7)),
    ((None, 5, 3, 7), (3, 5, 3, 7)),
    ((1, 13), (1, 13)),
    ((4, 2), (4, 2)),
    ((None,), (5,)),
    ((), ()),
]
DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64"]


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.normal(size=shape) * 3 - 1).astype(dtype)
    return np.asarray(rng.integers(0, 2 if dtype == "bool" else 120, size=shape)).astype(dtype)


def picture(shape: tuple[int, ...]) -> Array:
    """Smooth, so that a lossy codec comes close."""
    count, height, width, _ = shape
    y, x, n = np.mgrid[0:height, 0:width], np.arange(3), np.arange(count)
    plane = (y[0] * 2 + y[1])[None, :, :, None] + 30 * x + 10 * n[:, None, None, None]
    return (plane % 230).astype(np.uint8)


def tolerance(id: str, array: Array) -> float:
    """The most that one value may move: half a step, and what float32 and the tensor's own type round."""
    family = id.partition("+")[0]
    wide = array.astype(np.float64)
    if family == "half":
        return float(np.abs(wide).max(initial=0)) * 2.0**-11 + 2.0**-25
    span = float(wide.max() - wide.min())
    return span / (2 ** BITS[family] - 1) * 0.5001 + float(np.abs(wide).max()) * 4 * float(np.finfo(array.dtype).eps + 2.0**-23)


def check_round_trip(id: str, spec: TensorSpec, array: Array) -> Array:
    coder = codec(id).bind(spec)
    chunks = coder.encode(array)
    assert all(isinstance(chunk, bytes) for chunk in chunks)
    found = coder.decode(chunks, array.shape)
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert np.array_equal(found, coder.decode([memoryview(chunk) for chunk in chunks], array.shape))
    return found


@pytest.mark.parametrize("id", FLOAT_IDS + ANY_IDS + PICTURE_IDS)
def test_the_id_finds_a_codec_of_that_name(id: str) -> None:
    assert codec(id).id == id


@pytest.mark.parametrize(
    "id",
    [
        "",
        "none",
        "int8+zstd2",
        "int8+zstd1+zstd1",
        "int5",
        "png:3",
        "png+zstd1",
        "jpeg",
        "jpeg:0",
        "jpeg:101",
        "jpeg:075",
        "jpeg:9٣",
        "RAW",
    ],
)
def test_any_other_id_is_unknown(id: str) -> None:
    with pytest.raises(UnknownCodec):
        codec(id)


@pytest.mark.parametrize(("spec_shape", "shape"), FLOAT_SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("id", ANY_IDS)
def test_lossless_codecs_give_every_bit_back(
    id: str, dtype: str, spec_shape: tuple[int | None, ...], shape: tuple[int, ...]
) -> None:
    array = values(shape, dtype)
    found = check_round_trip(id, TensorSpec("t", dtype, spec_shape), array)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize(("spec_shape", "shape"), FLOAT_SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("id", FLOAT_IDS)
def test_lossy_codecs_stay_within_their_step(
    id: str, dtype: str, spec_shape: tuple[int | None, ...], shape: tuple[int, ...]
) -> None:
    spec = TensorSpec("t", dtype, spec_shape)
    if not codec(id).accepts(spec):
        assert (id.startswith("half"), dtype) == (True, "float16")
        return
    array = values(shape, dtype)
    found = check_round_trip(id, spec, array)
    assert np.abs(found.astype(np.float64) - array).max() <= tolerance(id, array)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("id", PICTURE_IDS)
def test_pictures_come_back_one_file_an_item(id: str, count: int) -> None:
    array = picture((count, 24, 33, 3))
    spec = TensorSpec("image", "uint8", (None, 24, 33, 3))
    assert len(codec(id).bind(spec).encode(array)) == count
    error = np.abs(check_round_trip(id, spec, array).astype(int) - array).mean()
    assert error == 0 if codec(id).lossless else error < (40 if id == "jpeg:1" else 12)


@pytest.mark.parametrize("id", ANY_IDS + FLOAT_IDS)
def test_views_code_like_their_copies(id: str) -> None:
    whole = values((4, 6, 10), "float32")
    view = whole.transpose(0, 2, 1)[::2, 1::3]
    coder = codec(id).bind(TensorSpec("t", "float32", (None, 3, 6)))
    assert coder.encode(view) == coder.encode(view.copy())
    swapped = view.astype(">f4")
    assert coder.encode(swapped) == coder.encode(view)


def test_picture_views_code_like_their_copies() -> None:
    whole = picture((2, 40, 40, 3))
    view = whole[:, ::2, ::-2]
    coder = codec("png").bind(TensorSpec("image", "uint8", (None, 20, 20, 3)))
    assert coder.encode(view) == coder.encode(view.copy())


@pytest.mark.parametrize("id", ANY_IDS + FLOAT_IDS)
def test_an_item_is_coded_on_its_own(id: str) -> None:
    array = values((3, 8), "float32")
    coder = codec(id).bind(TensorSpec("t", "float32", (None, 8)))
    assert coder.encode(array) == [chunk for i in range(3) for chunk in coder.encode(array[i : i + 1])]


@pytest.mark.parametrize("id", ANY_IDS + FLOAT_IDS)
def test_wrong_or_empty_arrays_are_refused(id: str) -> None:
    coder = codec(id).bind(TensorSpec("t", "float32", (None, 3)))
    for array in (np.zeros((0, 3), "f4"), np.zeros((2, 4), "f4"), np.zeros(3, "f4"), np.zeros((2, 3), "f8")):
        with pytest.raises(InvalidInput):
            coder.encode(array)


@pytest.mark.parametrize("id", ["png", "jpeg:75", "webp:75"])
def test_wrong_or_empty_pictures_are_refused(id: str) -> None:
    coder = codec(id).bind(TensorSpec("image", "uint8", (None, 8, 8, 3)))
    for shape in ((0, 8, 8, 3), (1, 8, 9, 3), (8, 8, 3)):
        with pytest.raises(InvalidInput):
            coder.encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("id", [*FLOAT_IDS, "png", "jpeg:75", "webp:75"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "uint64"])
def test_integers_are_never_quantised(id: str, dtype: str) -> None:
    spec = TensorSpec("t", dtype, (None, 8, 8, 4))
    assert not codec(id).accepts(spec)
    with pytest.raises(CodecError):
        codec(id).bind(spec)


def test_strings_are_accepted_by_no_codec() -> None:
    spec = TensorSpec("t", "str", (None,))
    assert not any(codec(id).accepts(spec) for id in ANY_IDS + FLOAT_IDS + PICTURE_IDS)


def cut(*tensors: TensorSpec) -> Cut:
    return Cut(1, "0" * 12, "here", tensors, 0.5)


def offered(*tensors: TensorSpec, image: str | None = None) -> list[str]:
    return [found.id for found in codecs_for(cut(*tensors), image)]


def test_what_is_offered_follows_from_the_tensors() -> None:
    floats, half = TensorSpec("f", "float32", (None, 8)), TensorSpec("h", "float16", (None, 8))
    whole, image = TensorSpec("i", "int64", (None, 2)), TensorSpec("image", "uint8", (None, 8, 8, 3))
    every = ["raw", "raw+zstd1", "half", "half+zstd1", "int8", "int8+zstd1", "int6+zstd1", "int4+zstd1"]
    assert offered(floats) == offered(floats, whole) == every
    assert offered(half) == [id for id in every if not id.startswith("half")]
    assert offered(whole) == offered(image) == ["raw", "raw+zstd1"]
    assert offered() == []
    pictures = offered(image, image="image")
    assert pictures[:2] == ["raw", "png"]
    assert {"jpeg:75", "jpeg:95", "webp:75"} < set(pictures)
    assert len(pictures) <= 9


def test_a_table_serves_every_step_and_byte_compressor_of_its_family() -> None:
    assert table_key(2, "a/b", "int4") == table_key(2, "a/b", "int4+zstd1") == "2/a/b/int4"
    assert table_key(0, "x", "klt:1.5") == table_key(0, "x", "klt:2") == "0/x/klt"


# -- strangers' bytes -------------------------------------------------------------------------------------------------


def specimen(id: str) -> tuple[Codec, TensorSpec, Array]:
    if id in PICTURE_IDS:
        return codec(id), TensorSpec("image", "uint8", (None, 16, 17, 3)), picture((2, 16, 17, 3))
    return codec(id), TensorSpec("t", "float32", (None, 5, 9)), values((2, 5, 9), "float32")


EVERY_ID = ANY_IDS + FLOAT_IDS + ["png", "jpeg:75", "jpeg:95", "webp:75"]
CODED = {id: found.bind(spec).encode(array) for id in EVERY_ID for found, spec, array in [specimen(id)]}


@pytest.mark.parametrize("id", EVERY_ID)
def test_another_number_of_chunks_is_refused(id: str) -> None:
    found, spec, array = specimen(id)
    coder = found.bind(spec)
    for chunks in ([], CODED[id][:1], CODED[id] * 2):
        with pytest.raises(CorruptPayload):
            coder.decode(chunks, array.shape)


@pytest.mark.parametrize("id", EVERY_ID)
def test_another_shape_is_refused(id: str) -> None:
    found, spec, array = specimen(id)
    _, *item = array.shape
    with pytest.raises(CorruptPayload):
        found.bind(spec).decode(CODED[id], (2, item[0] + 8, *item[1:]))
    with pytest.raises(CorruptPayload):
        found.bind(spec).decode([], (0, *item))


@pytest.mark.parametrize("id", [id for id in EVERY_ID if not id.startswith(("jpeg", "webp", "png"))])
def test_something_after_the_end_is_refused(id: str) -> None:
    found, spec, array = specimen(id)
    first, second = CODED[id]
    for tail in (b"\0", first):
        with pytest.raises(CorruptPayload):
            found.bind(spec).decode([first, second + tail], array.shape)


@pytest.mark.parametrize("id", EVERY_ID)
def test_every_short_prefix_is_refused(id: str) -> None:
    found, spec, array = specimen(id)
    first, second = CODED[id]
    needed = len(second) - (24 if id in PICTURE_IDS else 1)  # an image file may do without its end marker and checksum
    for length in (*range(0, needed, 7), needed):
        with pytest.raises(CorruptPayload):
            found.bind(spec).decode([first, second[:length]], array.shape)


@settings(derandomize=True, deadline=None, max_examples=250)
@given(st.data())
def test_mutated_bytes_raise_a_codec_error_or_decode_to_the_shape(data: st.DataObject) -> None:
    id = data.draw(st.sampled_from(EVERY_ID))
    found, spec, array = specimen(id)
    first, second = CODED[id]
    mutated = bytearray(second)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at:at] = data.draw(st.binary(max_size=8))
    check_decodes_or_refuses(found, spec, [first, bytes(mutated)], array.shape)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(id=st.sampled_from(EVERY_ID), chunk=st.binary(max_size=200))
def test_arbitrary_bytes_raise_a_codec_error_or_decode_to_the_shape(id: str, chunk: bytes) -> None:
    found, spec, array = specimen(id)
    check_decodes_or_refuses(found, spec, [chunk], (1, *array.shape[1:]))


def check_decodes_or_refuses(found: Codec, spec: TensorSpec, chunks: list[bytes], shape: tuple[int, ...]) -> None:
    try:
        decoded = found.bind(spec).decode(chunks, shape)
    except CodecError:
        return
    assert decoded.shape == shape
    assert decoded.dtype == np.dtype(spec.dtype)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    id=st.sampled_from(["int8", "int6", "int6+zstd1", "int4"]),
    items=st.lists(st.floats(-LARGEST, LARGEST, width=32), min_size=1, max_size=40),
)
def test_quantised_values_stay_within_half_a_step(id: str, items: list[float]) -> None:
    array = np.array([items], np.float32)
    expected = array.astype(np.float64)
    found = check_round_trip(id, TensorSpec("t", "float32", (None, len(items))), array)
    span = float(expected.max() - expected.min())
    levels = 2 ** BITS[id.partition("+")[0]] - 1
    bound = span / levels * 0.5001 + np.abs(expected).max() * 2.0**-21 + levels * 2.0**-126
    assert np.abs(found - expected).max() <= bound
