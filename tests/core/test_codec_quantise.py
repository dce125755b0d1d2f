"""The quantisers: what is not a number, what is too large, and what a table changes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import zstandard

from splitinfer.codec import codec
from splitinfer.codec.bits import pack, packed_nbytes, unpack
from splitinfer.codec.finite import LARGEST
from splitinfer.errors import CorruptBundle, CorruptPayload, Uncodable
from splitinfer.model import Array, TensorSpec

SPEC = TensorSpec("t", "float32", (None, 6))
INTS = ["int8", "int6", "int4", "int8+zstd1", "int6+zstd1", "int4+zstd1"]


def round_trip(id: str, array: Array, table: bytes | None = None) -> Array:
    coder = codec(id).bind(TensorSpec("t", array.dtype.name, (None, *array.shape[1:])), table)
    return coder.decode(coder.encode(array), array.shape)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64])
@pytest.mark.parametrize("bits", [4, 6, 8])
def test_symbols_come_back_from_their_bits(bits: int, size: int) -> None:
    symbols = np.random.default_rng(size).integers(0, 2**bits, size).astype(np.uint8)
    packed = pack(symbols, bits)
    assert len(packed) == packed_nbytes(size, bits)
    assert np.array_equal(unpack(np.frombuffer(packed, np.uint8), bits, size), symbols)


def test_four_symbols_of_six_bits_take_three_bytes() -> None:
    assert packed_nbytes(4096, 6) == 3072


@pytest.mark.parametrize("table", [None, struct.pack("<ff", -2.0, 6.0)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("id", [*INTS, "half", "half+zstd1"])
def test_what_is_not_finite_is_refused_by_name(id: str, bad: float, table: bytes | None) -> None:
    for at in (0, 3, 5):
        array = np.arange(6, dtype=np.float32).reshape(1, 6)
        array[0, at] = bad
        with pytest.raises(Uncodable, match=f"tensor '{SPEC.name}' .* 1 of 6 values .* the first is {bad:g}"):
            round_trip(id, array, table)


@pytest.mark.parametrize("constant", [0.0, -3.25, 1e-42, 65504.0])
@pytest.mark.parametrize("id", INTS)
def test_a_constant_tensor_comes_back_exactly(id: str, constant: float) -> None:
    array = np.full((1, 6), constant, np.float32)
    assert np.array_equal(round_trip(id, array), array)


@pytest.mark.parametrize("value", [3e38, 1e300, -1e300])
@pytest.mark.parametrize("id", INTS)
def test_values_whose_range_no_float32_holds_are_refused(id: str, value: float) -> None:
    with pytest.raises(Uncodable, match="the first is"):
        round_trip(id, np.array([[0.0, value]]))
    largest = np.array([[LARGEST, -LARGEST]])
    assert np.allclose(round_trip(id, largest), largest, rtol=1e-2)


@pytest.mark.parametrize("id", ["half", "half+zstd1"])
def test_half_refuses_what_no_float16_holds(id: str) -> None:
    for value in (1e5, 65520.0, -65505.0, 3e38):
        with pytest.raises(Uncodable, match="65504"):
            round_trip(id, np.array([[1.5, value]], np.float32))
    assert round_trip(id, np.array([[65504.0, -65504.0]], np.float32)).tolist() == [[65504.0, -65504.0]]


@pytest.mark.parametrize("id", INTS)
def test_half_floats_are_checked_too(id: str) -> None:
    spec = TensorSpec("t", "float16", (None, 4))
    coder = codec(id).bind(spec)
    ends = np.array([[65504, -65504, 0, 1e-7]], np.float16)
    assert np.allclose(coder.decode(coder.encode(ends), ends.shape), ends, rtol=1e-2, atol=5e3)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(Uncodable):
            coder.encode(np.array([[1, 2, bad, 3]], np.float16))


def heavy_tailed() -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.standard_t(3, size=(4, 6)).astype(np.float32) for _ in range(50)]


def mean_squared_error(id: str, samples: list[Array], table: bytes | None) -> float:
    return float(np.mean([np.square(round_trip(id, sample, table) - sample) for sample in samples]))


@pytest.mark.parametrize("id", ["int4", "int4+zstd1"])
def test_a_table_lowers_the_error_of_a_range_over_all_samples(id: str) -> None:
    samples = heavy_tailed()
    whole = np.concatenate(samples)
    table = codec(id).calibrate(SPEC, samples)
    assert table is not None
    lo, hi = struct.unpack("<ff", table)
    assert whole.min() < lo < hi < whole.max()
    widest = struct.pack("<ff", whole.min(), whole.max())
    assert mean_squared_error(id, samples, table) < 0.7 * mean_squared_error(id, samples, widest)


def test_a_rectified_tensor_keeps_its_zeros() -> None:
    samples = [np.maximum(sample, 0) for sample in heavy_tailed()]
    table = codec("int4").calibrate(SPEC, samples)
    assert table is not None
    assert struct.unpack("<ff", table)[0] == 0.0
    assert not round_trip("int4", samples[0], table)[samples[0] == 0].any()


def test_calibration_is_repeatable_and_shared_with_the_byte_compressor() -> None:
    samples = heavy_tailed() * 100
    tables = {codec(id).calibrate(SPEC, samples) for id in ("int4", "int4", "int4+zstd1")}
    assert len(tables) == 1


def test_without_a_finite_sample_there_is_no_table() -> None:
    assert codec("int4").calibrate(SPEC, [np.full((1, 6), np.nan, np.float32)]) is None
    assert codec("int4").calibrate(SPEC, []) is None


@pytest.mark.parametrize("id", ["raw", "half", "raw+zstd1", "png", "jpeg:75", "webp:75"])
def test_other_codecs_need_no_table(id: str) -> None:
    assert codec(id).calibrate(SPEC, heavy_tailed()) is None


def test_a_table_is_the_encoders_alone() -> None:
    array = heavy_tailed()[0]
    with_table = codec("int4").bind(SPEC, struct.pack("<ff", -1, 1))
    found = codec("int4").bind(SPEC).decode(with_table.encode(array), array.shape)
    assert np.array_equal(found, with_table.decode(with_table.encode(array), array.shape))
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("table", [b"", b"1234567", struct.pack("<ff", 1, 0), struct.pack("<ff", 0, float("inf")), b"\xff" * 8])
def test_a_damaged_table_is_refused(table: bytes) -> None:
    with pytest.raises(CorruptBundle):
        codec("int4").bind(SPEC, table)


@pytest.mark.parametrize(
    "ends", [(float("nan"), 1), (0, float("nan")), (0, float("inf")), (float("-inf"), 0), (1, 0), (0, 3e38)]
)
def test_a_range_from_a_stranger_must_be_finite_and_ordered(ends: tuple[float, float]) -> None:
    with pytest.raises(CorruptPayload):
        codec("int8").bind(SPEC).decode([struct.pack("<ff", *ends) + bytes(6)], (1, 6))


def test_a_range_must_fit_a_narrow_tensor() -> None:
    coder = codec("int8").bind(TensorSpec("t", "float16", (None, 6)))
    with pytest.raises(CorruptPayload):
        coder.decode([struct.pack("<ff", 0, 1e6) + b"\xff" * 6], (1, 6))


def test_a_symbol_beyond_the_highest_level_is_refused() -> None:
    inner = struct.pack("<ff", 0, 1) + bytes([0, 1, 2, 63, 64, 0])
    with pytest.raises(CorruptPayload):
        codec("int6+zstd1").bind(SPEC).decode([zstandard.compress(inner)], (1, 6))
