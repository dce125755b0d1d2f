"""Integers and truth values in as few bytes as they need, without loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import codec, codecs_for
from splitinfer.errors import CorruptPayload
from splitinfer.model import Array, Cut, TensorSpec

IDS = ["narrow", "narrow+zstd1"]
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
SENTENCE = "This is one sentence with twelve tokens, stop."
TOKENS = np.array([[101, 2023, 2003, 2028, 6251, 2007, 4376, 19204, 2015, 1010, 2644, 102]])


def chunk_of(id: str, array: Array) -> bytes:
    coder = codec(id).bind(TensorSpec("t", array.dtype.name, array.shape))
    (chunk,) = coder.encode(array)
    found = coder.decode([memoryview(chunk)], array.shape)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    return chunk


def decode(id: str, chunk: bytes, size: int, dtype: str = "int64") -> Array:
    return codec(id).bind(TensorSpec("t", dtype, (size,))).decode([chunk], (size,))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("id", IDS)
def test_the_extremes_of_every_type_come_back(id: str, dtype: str) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    for values in ([least, most], [least, least + 1], [most - 1, most], [least], [most], [0], [least, 0], [0, most]):
        chunk_of(id, np.array(values, dtype))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(id=st.sampled_from(IDS), dtype=st.sampled_from(INTEGERS), data=st.data())
def test_any_integers_come_back(id: str, dtype: str, data: st.DataObject) -> None:
    span = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    chunk_of(id, np.array(data.draw(st.lists(span, min_size=1, max_size=70)), dtype))


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("id", IDS)
def test_two_neighbouring_values_take_a_bit_each(id: str, size: int, dtype: str) -> None:
    bits = np.random.default_rng(size).integers(0, 2, size)
    bits[:2] = [0, 1][:size]
    assert len(chunk_of(id, bits.astype(dtype))) <= 1 + -(-size // 8)


def test_the_tokens_of_a_sentence_take_less_than_the_sentence() -> None:
    for id in IDS:
        ids, mask = chunk_of(id, TOKENS), chunk_of(id, np.ones_like(TOKENS))
        assert (len(ids), len(mask)) == (25, 2)
        assert len(ids) + len(mask) < len(SENTENCE.encode())


@pytest.mark.parametrize(("dtype", "values", "nbytes"), [
    ("int64", [5] * 1000, 2),
    ("uint64", [2**64 - 1] * 9, 9),
    ("int64", [-(2**63)] * 9, 9),
    ("int32", [100_000, 100_100], 1 + 3 + 2),
    ("int64", [70_000, 70_000 + 2**20], 1 + 6),
    ("int8", [-128, 127], 1 + 1 + 2),
])  # fmt: skip
def test_a_minimum_is_kept_where_it_saves_bytes(dtype: str, values: list[int], nbytes: int) -> None:
    assert len(chunk_of("narrow", np.array(values, dtype))) == nbytes


def test_a_compressor_follows_where_it_helps_and_only_there() -> None:
    regular, noise = np.arange(4000) % 50, np.random.default_rng(0).integers(0, 256, 4000)
    assert len(chunk_of("narrow+zstd1", regular)) < len(chunk_of("narrow", regular)) / 10
    assert chunk_of("narrow+zstd1", noise) == chunk_of("narrow", noise)


def test_an_item_has_a_width_of_its_own() -> None:
    array = np.array([[0, 1, 0, 1], [0, 300, 0, 1]])
    chunks = codec("narrow").bind(TensorSpec("t", "int64", (None, 4))).encode(array)
    assert [len(chunk) for chunk in chunks] == [2, 9]


def test_a_truth_value_must_be_0_or_1() -> None:
    for chunk in (b"\x01\2\1\0", b"\x19\1\x03", b"\x10\2"):  # plain bytes; bits with a minimum; a constant
        with pytest.raises(CorruptPayload):
            decode("narrow", chunk, 3, "bool")


@pytest.mark.parametrize(
    "chunk", [b"", b"\x0a" + bytes(30), b"\x02" + bytes(6), b"\x90" + bytes(9), b"\x20\1", b"\x00\0", b"\x01\0"]
)
@pytest.mark.parametrize("id", IDS)
def test_what_no_encoder_makes_is_refused(id: str, chunk: bytes) -> None:
    with pytest.raises(CorruptPayload):
        decode(id, chunk, 3, "uint8")


def test_a_frame_of_another_size_is_refused() -> None:
    chunk = chunk_of("narrow+zstd1", np.arange(4000) % 50)
    for size in (3999, 4001, 8000):
        with pytest.raises(CorruptPayload):
            decode("narrow+zstd1", chunk, size)
    with pytest.raises(CorruptPayload):
        decode("narrow", chunk, 4000)


def test_floats_and_strings_are_not_narrowed() -> None:
    assert not any(codec(id).accepts(TensorSpec("t", dtype, (3,))) for id in IDS for dtype in ("float16", "float32", "str"))


def test_it_is_offered_where_nothing_but_integers_crosses() -> None:
    integers, floats = TensorSpec("ids", "int64", (None, 12)), TensorSpec("x", "float32", (None, 12))
    assert set(IDS) <= {found.id for found in codecs_for(Cut(0, "", "", (integers,), 0.0))}
    assert not set(IDS) & {found.id for found in codecs_for(Cut(0, "", "", (integers, floats), 0.0))}
