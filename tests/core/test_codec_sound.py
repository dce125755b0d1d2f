"""Sound at cut 0: samples of 16 bits and mu-law."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build.score import Offered
from splitinfer.codec import codec, codecs_for
from splitinfer.errors import CodecError, CorruptBundle, CorruptPayload, Uncodable
from splitinfer.model import Array, Cut, Digest, Model, TensorSpec

IDS = ["pcm16", "pcm16+zstd1", "ulaw", "ulaw+zstd1"]
RATE_HZ = 16_000


def speechlike(samples: int = RATE_HZ) -> Array:
    """A voice's harmonics under an envelope, of 16 bits."""
    t = np.arange(samples) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    sound = tone * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)) + np.random.default_rng(0).normal(0, 0.002, samples)
    return (np.rint(sound / np.abs(sound).max() * 20_000) / 32768).astype(np.float32)[np.newaxis]


def chunk_of(id: str, array: Array, full_scale: float = 1.0) -> tuple[bytes, Array]:
    coder = codec(id).bind(TensorSpec("sound", array.dtype.name, (None, None)), struct.pack("<f", full_scale))
    (chunk,) = coder.encode(array)
    return chunk, coder.decode([memoryview(chunk)], array.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 32768.0])
@pytest.mark.parametrize("id", ["pcm16", "pcm16+zstd1"])
def test_sound_of_16_bits_comes_back_exactly(id: str, scale: float, dtype: str) -> None:
    array = (speechlike() * scale).astype(dtype)
    _, found = chunk_of(id, array, scale)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=60))
def test_any_samples_come_back_from_their_predictor(samples: list[int]) -> None:
    array = np.array([samples], np.float32) / 32768
    assert np.array_equal(chunk_of("pcm16+zstd1", array)[1], array)


def test_a_predictor_saves_a_sixth_of_what_a_compressor_alone_makes() -> None:
    array = speechlike()
    predicted, plain = len(chunk_of("pcm16+zstd1", array)[0]), np.rint(array * 32768).astype("<i2")
    alone = codec("raw+zstd1").bind(TensorSpec("x", "int16", plain.shape)).encode(plain)
    assert predicted < len(alone[0]) * 5 / 6
    assert len(chunk_of("pcm16", array)[0]) == 2 * array.size


def test_one_short_frame_stays_short() -> None:
    frame = speechlike(512)
    assert len(chunk_of("pcm16+zstd1", frame)[0]) < 1024
    assert len(chunk_of("ulaw+zstd1", frame)[0]) < len(chunk_of("ulaw", frame)[0]) == 512
    silence = np.zeros((1, 512), np.float32)
    assert len(chunk_of("pcm16+zstd1", silence)[0]) < 40


def test_mu_law_is_that_of_telephony() -> None:
    """The ends of G.711's table, and one value of each segment."""
    coder = codec("ulaw").bind(TensorSpec("x", "float32", (None, None)), struct.pack("<f", 32768.0))
    stored = bytes([0xFF, 0x7F, 0x80, 0x00, 0xF0, 0xE0, 0xD0, 0xC0, 0xB0, 0xA0, 0x90])
    expected = [0, 0, 32124, -32124, 120, 372, 876, 1884, 3900, 7932, 15996]
    assert coder.decode([stored], (1, len(stored)))[0].tolist() == expected
    back = coder.encode(np.array([expected], np.float32))[0]
    assert back[2:] == stored[2:]


def test_mu_law_is_within_its_step() -> None:
    array = np.linspace(-1, 1, 40_001, dtype=np.float32)[np.newaxis]
    _, found = chunk_of("ulaw", array)
    assert (np.abs(found - array) <= np.abs(array) * 2**-5 + 2**-11).all()


@pytest.mark.parametrize(("peak", "full_scale"), [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.01, 2.0), (32767.0, 32768.0)])
@pytest.mark.parametrize("id", IDS)
def test_the_samples_tell_the_full_scale(id: str, peak: float, full_scale: float) -> None:
    spec = TensorSpec("sound", "float32", (None, 4))
    table = codec(id).calibrate(spec, [np.array([[0, -peak, 0.1 * peak, 0]], np.float32)])
    assert table == struct.pack("<f", full_scale)
    for spoilt in (np.nan, np.inf):
        assert codec(id).calibrate(spec, [np.full((1, 4), spoilt, np.float32)]) is None
    assert codec(id).calibrate(spec, []) is None


@pytest.mark.parametrize("id", IDS)
def test_what_is_louder_than_full_scale_is_refused(id: str) -> None:
    for value in (1.01, -1.01, np.nan, np.inf):
        with pytest.raises(Uncodable, match="sound"):
            chunk_of(id, np.array([[0.5, value]], np.float32))
    _, found = chunk_of(id, np.array([[1.0, -1.0]], np.float32))
    assert np.abs(found - [[1, -1]]).max() < 0.03


@pytest.mark.parametrize(
    "table", [None, b"", b"\0" * 4, struct.pack("<f", 3.0), struct.pack("<f", 0.5), struct.pack("<f", np.inf)]
)
@pytest.mark.parametrize("id", IDS)
def test_it_needs_the_full_scale(id: str, table: bytes | None) -> None:
    with pytest.raises(CorruptBundle):
        codec(id).bind(TensorSpec("x", "float32", (None, 9)), table)


@pytest.mark.parametrize("chunk", [b"", b"\4" + bytes(6), b"\1" + bytes(7), b"\1" + bytes(5)])
def test_what_no_encoder_makes_is_refused(chunk: bytes) -> None:
    with pytest.raises(CorruptPayload):
        codec("pcm16+zstd1").bind(TensorSpec("x", "float32", (3,)), struct.pack("<f", 1.0)).decode([chunk], (3,))


@pytest.mark.parametrize("spec", [
    TensorSpec("state", "float32", (2, None, 128)),
    TensorSpec("half", "float16", (None, 512)),
    TensorSpec("rate", "int64", (None, 512)),
])  # fmt: skip
def test_what_is_no_row_of_floats_is_no_sound(spec: TensorSpec) -> None:
    for id in IDS:
        with pytest.raises(CodecError):
            codec(id).bind(spec, struct.pack("<f", 1.0))


def test_it_is_offered_where_the_input_may_be_sound() -> None:
    def offered(index: int, *shape: int | None) -> set[str]:
        cut = Cut(index, "", "", (TensorSpec("x", "float32", shape),), 0.0)
        return {found.id for found in codecs_for(cut)} & set(IDS)

    for shape in ((None, 512), (1, 576), (None, None), (None, 1, 16_000)):
        assert offered(0, *shape) == set(IDS)
        assert not offered(1, *shape)
    for shape in ((None, 13), (None, 3, 32, 32), (None, 40, 98)):
        assert not offered(0, *shape)


def test_sound_may_lose_something_beside_a_state_that_loses_nothing() -> None:
    sound, state = TensorSpec("sound", "float32", (None, None)), TensorSpec("state", "float32", (2, None, 128))
    cut = Cut(0, "", "", (sound, state), 0.0)
    model = Model(Digest("0" * 64), "net", "1", (sound, state), (), (cut,), (), frozenset())
    offered = {found.id for found in Offered(model, states=frozenset(["state"])).at(cut)}
    assert set(IDS) <= offered
    assert "half" in offered
    assert not any(id.startswith("int") for id in offered)
