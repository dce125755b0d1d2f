"""Quantisers with a range for each index of one axis."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from splitinfer.codec import codec, codecs_for
from splitinfer.codec.bits import pack, packed_nbytes, unpack
from splitinfer.errors import CodecError, CorruptBundle, CorruptPayload, Uncodable
from splitinfer.model import Array, Cut, TensorSpec

BITS = (8, 6, 4, 3, 2)
IDS = [f"int{bits}d{end}" for bits in BITS for end in ("", "+zstd1")]
SEQUENCE = TensorSpec("x", "float32", (None, None, 16))
MAP = TensorSpec("x", "float32", (None, 16, None, None))


def values(shape: tuple[int, ...], axis: int, seed: int = 0) -> Array:
    """The scale grows along one axis, as the few large dimensions of a transformer."""
    rng = np.random.default_rng(seed)
    scale = np.geomspace(0.01, 100, shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return (rng.uniform(-1, 1, size=shape) * scale + scale).astype(np.float32)


def error(id: str, spec: TensorSpec, samples: Array, array: Array) -> float:
    """Mean error of a value over the scale of its index along the last axis."""
    found = codec(id)
    coder = found.bind(spec, found.calibrate(spec, [samples]))
    decoded = coder.decode(coder.encode(array), array.shape)
    return float((np.abs(decoded - array) / np.abs(array).max(axis=(0, 1))).mean())


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64])
@pytest.mark.parametrize("bits", range(1, 9))
def test_symbols_of_every_width_come_back(bits: int, size: int) -> None:
    symbols = np.random.default_rng(size).integers(0, 2**bits, size).astype(np.uint8)
    packed = pack(symbols, bits)
    assert len(packed) == packed_nbytes(size, bits) <= -(-size * bits // 8) + 2
    assert np.array_equal(unpack(np.frombuffer(packed, np.uint8), bits, size), symbols)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("compressed", ["", "+zstd1"])
def test_every_width_has_a_quantiser(bits: int, compressed: str) -> None:
    array = np.linspace(-3, 5, 77, dtype=np.float32)[np.newaxis]
    coder = codec(f"int{bits}{compressed}").bind(TensorSpec("x", "float32", (None, 77)))
    found = coder.decode(coder.encode(array), array.shape)
    assert np.abs(found - array).max() <= 8 / (2**bits - 1) * 0.501


@pytest.mark.parametrize(("spec", "shape", "axis"), [
    (SEQUENCE, (2, 5, 16), 2),
    (MAP, (2, 16, 3, 5), 1),
    (TensorSpec("x", "float32", (1, 16, 4, 4)), (1, 16, 4, 4), 1),
    (TensorSpec("x", "float32", (5, 16)), (5, 16), 1),
    (TensorSpec("x", "float64", (None, 16)), (3, 16), 1),
])  # fmt: skip
@pytest.mark.parametrize("id", IDS)
def test_each_index_has_a_step_of_its_own(id: str, spec: TensorSpec, shape: tuple[int, ...], axis: int) -> None:
    array = values(shape, axis).astype(spec.dtype)
    found = codec(id)
    coder = found.bind(spec, found.calibrate(spec, [array]))
    decoded = coder.decode([memoryview(chunk) for chunk in coder.encode(array)], shape)
    assert decoded.dtype == array.dtype
    others = tuple(i for i in range(len(shape)) if i != axis)
    span = array.max(axis=others, keepdims=True) - array.min(axis=others, keepdims=True)
    inside = np.abs(decoded - array) <= span / (2 ** int(id[3]) - 1) * 0.502
    assert inside.mean() > (0.95 if int(id[3]) >= 4 else 0.6)  # with few levels the clip gives up extremes


@pytest.mark.parametrize(("axis", "shape"), [(0, (9, 12, 12)), (1, (9, 12, 12)), (1, (9, 12, 40)), (0, (9, 40, 12))])
def test_the_axis_is_the_one_with_the_smaller_error(axis: int, shape: tuple[int, ...]) -> None:
    spec = TensorSpec("x", "float32", (None, *shape[1:]))
    table = codec("int4d").calibrate(spec, [values(shape, 1 + axis)])
    assert table is not None
    assert table[0] == axis
    assert len(table) == 1 + 8 * shape[1 + axis]


def test_four_bits_keep_the_small_dimensions() -> None:
    samples, array = values((40, 6, 16), 2), values((4, 6, 16), 2, seed=1)
    assert error("int4d", SEQUENCE, samples, array) < error("int4", SEQUENCE, samples, array) / 5


def test_a_dimension_that_never_changes_comes_back() -> None:
    array = values((2, 5, 16), 2)
    array[..., 3] = 0.25
    found = codec("int4d")
    coder = found.bind(SEQUENCE, found.calibrate(SEQUENCE, [array]))
    assert (coder.decode(coder.encode(array), array.shape)[..., 3] == 0.25).all()
    array[..., 3] = 100.0
    assert (coder.decode(coder.encode(array), array.shape)[..., 3] == 0.25).all()


def test_values_far_beyond_all_ranges_are_of_other_inputs() -> None:
    array = values((2, 5, 16), 2)
    found = codec("int4d")
    coder = found.bind(SEQUENCE, found.calibrate(SEQUENCE, [array]))
    array[1, 2, 3] = 9 * np.abs(array).max()
    with pytest.raises(Uncodable, match="1 of 160 values"):
        coder.encode(array)


def test_samples_that_are_not_finite_do_not_count() -> None:
    array, spoilt = values((2, 5, 16), 2), values((2, 5, 16), 2)
    spoilt[0, 0, 3], spoilt[1, 4, 2] = np.nan, np.inf
    found = codec("int6d")
    assert found.calibrate(SEQUENCE, [array, spoilt]) is not None
    assert found.calibrate(SEQUENCE, [np.full_like(array, np.nan)]) is None


@pytest.mark.parametrize("id", IDS)
def test_it_needs_a_table_of_its_own(id: str) -> None:
    found = codec(id)
    assert found.needs_table
    table = found.calibrate(SEQUENCE, [values((2, 5, 16), 2)])
    assert table is not None
    swapped = table[:1] + table[65:] + table[1:65]
    nan = table[:-4] + struct.pack("<f", np.nan)
    for wrong in (None, b"", table[:-1], table + b"\0", b"\0" + table[1:], b"\2" + table[1:], swapped, nan):
        with pytest.raises(CorruptBundle):
            found.bind(SEQUENCE, wrong)


@pytest.mark.parametrize("shape", [(None,), (), (None, None), (1, 1), (None, None, 1)])
def test_it_does_not_take_what_has_no_axis_to_choose(shape: tuple[int | None, ...]) -> None:
    spec = TensorSpec("x", "float32", shape)
    assert not codec("int4d").accepts(spec)
    with pytest.raises(CodecError):
        codec("int4d").bind(spec, b"")


def test_integers_are_not_quantised() -> None:
    assert not codec("int4d").accepts(TensorSpec("x", "int64", (None, 5, 16)))


def test_symbols_beyond_the_levels_are_refused() -> None:
    found = codec("int3d+zstd1")
    coder = found.bind(SEQUENCE, found.calibrate(SEQUENCE, [values((2, 5, 16), 2)]))
    eight_bits = codec("int8d+zstd1")
    wider = eight_bits.bind(SEQUENCE, eight_bits.calibrate(SEQUENCE, [values((2, 5, 16), 2)]))
    with pytest.raises(CorruptPayload):
        coder.decode(wider.encode(values((1, 5, 16), 2)), (1, 5, 16))


@pytest.mark.parametrize("id", ["int8d", "int4d", "int2d"])
def test_another_size_is_refused(id: str) -> None:
    found = codec(id)
    coder = found.bind(SEQUENCE, found.calibrate(SEQUENCE, [values((2, 5, 16), 2)]))
    (chunk,) = coder.encode(values((1, 5, 16), 2))
    for shape in ((1, 4, 16), (1, 6, 16)):
        with pytest.raises(CorruptPayload):
            coder.decode([chunk], shape)


def test_they_are_offered_for_floats_with_such_an_axis() -> None:
    def offered(spec: TensorSpec) -> set[str]:
        return {found.id for found in codecs_for(Cut(1, "", "", (spec,), 0.5))}

    assert {"int4d+zstd1", "int2d+zstd1"} <= offered(SEQUENCE)
    assert not any("d+" in id for id in offered(TensorSpec("x", "float32", (None,))))
