"""Floats that must be exact, in fewer bytes than they have."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import codec, codecs_for
from splitinfer.errors import CorruptPayload
from splitinfer.model import Array, Cut, TensorSpec

IDS = ["shuffle", "shuffle+zstd1"]
FLOATS = ["float16", "float32", "float64"]


def chunk_of(id: str, array: Array) -> bytes:
    coder = codec(id).bind(TensorSpec("t", array.dtype.name, array.shape))
    (chunk,) = coder.encode(array)
    found = coder.decode([memoryview(chunk)], array.shape)
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    return chunk


def activations(dtype: str, zeros: bool) -> Array:
    """Values as behind a layer, of one scale a channel; with zeros as behind a ReLU."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 14, 14)) * rng.uniform(0.2, 2, size=(40, 1, 1))
    return np.asarray(np.maximum(values, 0) if zeros else values).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("id", IDS)
def test_every_bit_comes_back(id: str, dtype: str) -> None:
    odd = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, np.finfo(dtype).tiny / 2, np.finfo(dtype).max, 1], dtype)
    for array in (odd, odd[:1], np.tile(odd[:2], 50), np.zeros(17, dtype), np.repeat(odd, 100)):
        chunk_of(id, array)
    payload = np.array([0x7FF00000DEADBEEF], np.uint64).view(np.float64)
    chunk_of(id, payload)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    id=st.sampled_from(IDS),
    words=st.lists(st.sampled_from([0, 0, 0, 1, 2**31, 2**32 - 1, 0x3F800000]), min_size=1, max_size=90),
)
def test_any_mixture_of_zeros_comes_back(id: str, words: list[int]) -> None:
    chunk_of(id, np.array(words, np.uint32).view(np.float32))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_takes_less_than_plain_bytes_compressed(dtype: str, zeros: bool) -> None:
    array = activations(dtype, zeros)
    shuffled, plain = len(chunk_of("shuffle+zstd1", array)), len(chunk_of("raw+zstd1", array))
    assert shuffled < 0.96 * plain
    assert shuffled < (0.5 if zeros else 0.92) * array.nbytes


def test_zeros_cost_a_bit_each_without_a_compressor() -> None:
    array = activations("float32", zeros=True)
    assert len(chunk_of("shuffle", array)) == 4 + array.size // 8 + 4 * np.count_nonzero(array)


@pytest.mark.parametrize("id", IDS)
def test_noise_grows_by_its_head_only(id: str) -> None:
    noise = np.random.default_rng(0).bytes(4000)
    assert len(chunk_of(id, np.frombuffer(noise, np.float32))) == 4004


@pytest.mark.parametrize("id", IDS)
def test_what_no_encoder_makes_is_refused(id: str) -> None:
    for chunk in (
        b"",
        b"\0\0\0",
        struct.pack("<I", 17) + bytes(68),  # more values than there are
        struct.pack("<I", 15) + bytes(2 + 60),  # a mask that cannot pay
        struct.pack("<I", 4) + b"\x07\0" + bytes(16),  # the mask says three
        struct.pack("<I", 4) + b"\x0f\0" + bytes(15),
        struct.pack("<I", 0xFFFFFFFF) + bytes(64),
    ):
        with pytest.raises(CorruptPayload):
            codec(id).bind(TensorSpec("t", "float32", (16,))).decode([chunk], (16,))


def test_a_frame_of_another_size_is_refused() -> None:
    array = activations("float32", zeros=True).ravel()
    chunk = chunk_of("shuffle+zstd1", array)
    for size in (array.size - 1, array.size + 1, 2 * array.size):
        with pytest.raises(CorruptPayload):
            codec("shuffle+zstd1").bind(TensorSpec("t", "float32", (size,))).decode([chunk], (size,))


def test_it_is_offered_for_floats_only() -> None:
    floats = TensorSpec("x", "float32", (None, 12))
    assert "shuffle+zstd1" in {found.id for found in codecs_for(Cut(1, "", "", (floats,), 0.5))}
    assert not codec("shuffle").accepts(TensorSpec("t", "int64", (3,)))
