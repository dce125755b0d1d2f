"""Calibration, and the table that it leaves in a bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import codec
from splitinfer.codec.klt import SAMPLES_MAX, Sensitivity, layout_of
from splitinfer.codec.klt.fit import fit
from splitinfer.codec.klt.layout import CHANNELS_MAX
from splitinfer.codec.klt.quantiser import Quantiser
from splitinfer.codec.klt.table import QUARTERS, Table, read, rounded, write
from splitinfer.errors import CorruptBundle, Uncodable
from splitinfer.model import Array, TensorSpec
from tests.klt_values import MAP, coder, read_table, samples, spec_of, table_of, values

KLT = codec("klt:1")
HEAD_BYTES = len(table_of()) - len(table_of()[table_of().index(b"\x28\xb5\x2f\xfd") :])


def with_body(change: dict[int, int] | None = None, body: bytes | None = None, head: bytes | None = None) -> bytes:
    """A table with bytes of its body changed, or another body or head."""
    table = table_of()
    old = zstandard.decompress(table[HEAD_BYTES:])
    new = bytearray(old if body is None else body)
    for place, byte in (change or {}).items():
        new[place] = byte
    return (table[:HEAD_BYTES] if head is None else head) + zstandard.compress(bytes(new))


def body() -> bytes:
    return zstandard.decompress(table_of()[HEAD_BYTES:])


def refused(table: bytes, spec: TensorSpec = MAP) -> bool:
    try:
        codec("klt:0.001").bind(spec, table)
        KLT.bind(spec, table)
    except CorruptBundle as error:
        return f"tensor {spec.name!r}" in str(error)
    return False


def test_a_table_comes_back() -> None:
    layout = layout_of(MAP, samples(MAP))
    assert layout is not None
    made = fit(layout, [sample[0] for sample in samples(MAP)], Sensitivity.even(layout))
    found = read(MAP, write(made))
    assert found.basis.layout == made.basis.layout == layout
    for name in ("mixing", "weight", "mean"):
        assert np.array_equal(getattr(found.basis, name), getattr(made.basis, name)), name
    assert np.array_equal(found.spread, made.spread)
    assert [row.frequencies for row in found.rows] == [row.frequencies for row in made.rows]
    assert np.allclose([row.points for row in found.rows], [row.points for row in made.rows], atol=1 / 256)
    assert np.allclose(found.gains, made.gains, atol=1e-4)
    assert write(found) == write(read(MAP, write(found)))


def test_a_basis_is_rounded_once() -> None:
    basis = read_table().basis
    again = rounded(basis)
    for name in ("mixing", "weight", "mean"):
        assert np.array_equal(getattr(basis, name), getattr(again, name)), name


def test_the_same_samples_give_the_same_table_whatever_the_step() -> None:
    assert codec("klt:0.125").calibrate(MAP, samples(MAP)) == table_of()
    assert codec("klt:2").calibrate(MAP, [np.concatenate(samples(MAP))]) == table_of()


def test_one_table_serves_all_steps() -> None:
    array = values(MAP, 7)
    lengths, errors = [], []
    for step in ("0.01", "0.05", "0.125", "0.3", "0.6", "1", "2"):
        made = coder(step)
        chunks = made.encode(array)
        lengths.append(len(chunks[0]))
        errors.append(float(np.square(made.decode(chunks, array.shape) - array).mean()))
    assert lengths == sorted(lengths, reverse=True)
    assert errors == sorted(errors)
    assert lengths[0] > 3 * lengths[-1]


@pytest.mark.parametrize("length", [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 10, -1])
def test_a_table_that_is_cut_short_is_refused(length: int) -> None:
    assert refused(table_of()[:length])
    assert refused(table_of() + b"\0")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, len(table_of()) - 1), st.integers(1, 255))
def test_a_table_with_a_changed_byte_is_read_or_refused(place: int, flip: int) -> None:
    damaged = bytearray(table_of())
    damaged[place] ^= flip
    refused(bytes(damaged))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_a_table_whose_numbers_changed_is_read_or_refused(data: st.DataObject) -> None:
    """And what it then codes, it decodes, or it says that it cannot."""
    places = st.integers(0, len(body()) - 1)
    damaged = with_body(data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=4)))
    if not refused(damaged):
        made, array = KLT.bind(MAP, damaged), values(MAP, 0)
        try:
            chunks = made.encode(array)
        except Uncodable:
            return
        with np.errstate(all="ignore"):
            assert made.decode(chunks, array.shape).shape == array.shape


@pytest.mark.parametrize("place", range(HEAD_BYTES))
def test_another_head_is_read_or_refused(place: int) -> None:
    head = bytearray(table_of()[:HEAD_BYTES])
    head[place] ^= 0x7F
    made = with_body(head=bytes(head))
    if place < 6:  # version, axis, blocks
        assert refused(made)
    else:
        refused(made)


def test_a_body_of_another_length_is_refused() -> None:
    assert not refused(with_body())
    assert refused(with_body(body=body() + b"\0"))
    assert refused(with_body(body=body()[:-1]))
    assert refused(with_body(body=b""))


def test_a_matrix_that_cannot_be_inverted_is_refused() -> None:
    channels = MAP.shape[1] or 0
    size = 2 * channels**2
    assert refused(with_body(body=bytes(size) + body()[size:]))
    nan = b"\x00" * (size // 2) + b"\x7e" * (size // 2)
    assert refused(with_body(body=nan + body()[size:]))


def test_weights_that_are_not_above_zero_are_refused() -> None:
    table = read_table()
    start = 2 * table.basis.layout.channels**2
    count = table.basis.weight.size
    for low, high in ((0, 0), (0, 0x80), (0, 0xBC), (0, 0x7C), (1, 0x7E)):
        assert refused(with_body({start: low, start + count: high})), (low, high)


def test_a_frequency_of_zero_is_refused() -> None:
    table = read_table()
    counts = sum(len(row.frequencies) for row in table.rows)
    tail = 2 * counts + 2 * len(table.rows) + 2 * table.gains.size
    start = len(body()) - tail
    assert refused(with_body({start + 2: 0, start + 2 + counts: 0}))


@pytest.mark.parametrize("spec", [
    spec_of(None, 5, 12, 10), spec_of(None, 6, 12, 11), spec_of(None, 6, 13, 10), spec_of(None, 12, 10), spec_of(None, 120)
])  # fmt: skip
def test_a_table_of_another_tensor_is_refused(spec: TensorSpec) -> None:
    assert refused(table_of(), spec)


def test_without_a_table_nothing_is_bound() -> None:
    with pytest.raises(CorruptBundle, match="samples"):
        KLT.bind(MAP)


# -- calibration ------------------------------------------------------------------------------------------------------


def sensitive(channels: Array, spec: TensorSpec = MAP) -> Sensitivity:
    layout = layout_of(spec, samples(spec))
    assert layout is not None
    return Sensitivity(layout, np.asarray(channels, np.float64), np.ones(layout.blocks))


def errors(table: bytes, step: str = "0.6", axes: tuple[int, ...] = (0, 2, 3)) -> Array:
    """Mean square of what new items lose."""
    made = codec(f"klt:{step}").bind(MAP, table)
    arrays = np.concatenate([values(MAP, seed) for seed in range(8)])
    return np.asarray(np.square(made.decode(made.encode(arrays), arrays.shape) - arrays).mean(axis=axes))


def test_a_step_is_relative_to_the_mean_square_of_the_coefficients() -> None:
    table = read_table()
    blocks = np.concatenate([table.basis.forward(sample[0])[:, 0, :, 0].ravel() for sample in samples(MAP)])
    assert np.sqrt(np.square(blocks).mean()) == pytest.approx(1, rel=0.1)


def test_channels_that_matter_more_lose_less() -> None:
    weights = np.ones(6)
    weights[2] = 100
    found = errors(KLT.calibrate(MAP, samples(MAP), sensitive(np.diag(weights))) or b"")
    even = errors(table_of())
    assert found[2] < 0.4 * even[2]
    assert found[2] < 0.4 * np.delete(found, 2).min()


def test_frequencies_that_matter_more_lose_less() -> None:
    even = sensitive(np.eye(6))
    rows, columns = np.indices(even.layout.blocks)
    low = np.where(rows + columns < 4, 20.0, 0.5)
    table = KLT.calibrate(MAP, samples(MAP), replace(even, frequencies=low / low.mean()))
    assert table is not None
    found, basis = read(MAP, table), read(MAP, table).basis
    assert basis.weight[0, 0] > 3 * basis.weight[-1, -1]
    assert write(found) != table_of()
    means = {one: np.square(difference_of_means(one)).mean() for one in (table, table_of())}
    assert means[table] < 0.5 * means[table_of()]


def difference_of_means(table: bytes) -> Array:
    made = codec("klt:1.6").bind(MAP, table)
    arrays = np.concatenate([values(MAP, seed) for seed in range(8)])
    return np.asarray((made.decode(made.encode(arrays), arrays.shape) - arrays).mean(axis=(2, 3)))


def test_dependent_channels_are_mixed_and_independent_sparse_ones_are_not() -> None:
    mixing = read_table().basis.mixing
    assert np.abs(mixing - np.diag(np.diag(mixing))).max() > 0.1 * np.abs(mixing).max()
    random = np.random.default_rng(0)
    sparse = []
    for _ in range(32):
        one = np.zeros((1, 6, 12, 10), np.float32)
        channel = random.integers(6)  # one channel speaks at a time
        one[0, channel] = random.normal(size=(12, 10)) * (random.uniform(size=(12, 10)) < 0.1) * 5
        sparse.append(one)
    table = KLT.calibrate(MAP, sparse)
    assert table is not None
    plain = read(MAP, table).basis.mixing
    assert np.array_equal(plain, np.diag(np.diag(plain)))


def test_gains_give_scale_back_where_steps_are_large() -> None:
    gains = read_table().gains
    assert gains.shape == (len(QUARTERS), 6)
    assert (gains >= 0.99).all()
    assert gains[0].mean() < 1.05 < gains[-1].mean()
    assert read_table().gain(-99).tolist() == gains[0].tolist()
    assert read_table().gain(99).tolist() == gains[-1].tolist()


def test_no_more_samples_are_looked_at_than_help() -> None:
    spec = spec_of(None, 4)
    many = [np.random.default_rng(seed).normal(size=(1, 4)).astype(np.float32) for seed in range(4 * SAMPLES_MAX)]
    looked = np.unique(np.linspace(0, len(many) - 1, SAMPLES_MAX).round().astype(int))
    others = [one if index in looked else one * np.float32(1.01) for index, one in enumerate(many)]
    layout = Sensitivity.even(layout_of(spec, many) or pytest.fail("no layout"))
    assert KLT.calibrate(spec, many, layout) == KLT.calibrate(spec, others, layout)


def test_samples_that_are_not_finite_are_left_out() -> None:
    nan = np.full((1, 6, 12, 10), np.nan, np.float32)
    large = np.full((1, 6, 12, 10), np.finfo(np.float32).max, np.float32)
    assert KLT.calibrate(MAP, [nan, large, nan]) is None
    assert KLT.calibrate(MAP, []) is None
    assert KLT.calibrate(MAP, [nan, *samples(MAP), large]) == table_of()


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e-4, 1e4, 1e9, 1e30])
def test_the_unit_of_a_tensor_makes_no_difference(scale: float) -> None:
    table = KLT.calibrate(MAP, [(sample * scale).astype(np.float32) for sample in samples(MAP)])
    assert table is not None
    array = (values(MAP, 3) * scale).astype(np.float32)
    made, usual = codec("klt:0.3").bind(MAP, table), coder("0.3")
    chunks = made.encode(array)
    assert abs(len(chunks[0]) - len(usual.encode(values(MAP, 3))[0])) < 20
    assert np.abs(made.decode(chunks, array.shape).astype(np.float64) / scale - values(MAP, 3)).max() < 1.5


@pytest.mark.parametrize("offset", [-30, 1e3, 1e5])
def test_a_large_mean_costs_nothing(offset: float) -> None:
    table = KLT.calibrate(MAP, [(sample + offset).astype(np.float32) for sample in samples(MAP)])
    array = (values(MAP, 3) + offset).astype(np.float32)
    made, usual = codec("klt:0.6").bind(MAP, table), coder("0.6")
    chunks = made.encode(array)
    assert abs(len(chunks[0]) - len(usual.encode(values(MAP, 3))[0])) < 40
    assert np.abs(made.decode(chunks, array.shape) - array).max() < 2.5


@pytest.mark.parametrize("value", [0.0, 3.25, -1e6])
def test_a_tensor_that_never_varies_costs_a_few_bytes(value: float) -> None:
    constant = np.full((1, 6, 12, 10), value, np.float32)
    table = KLT.calibrate(MAP, [constant] * 8)
    for step in ("0.125", "2"):
        made = codec(f"klt:{step}").bind(MAP, table)
        chunks = made.encode(constant)
        assert len(chunks[0]) <= 8
        assert np.allclose(made.decode(chunks, constant.shape), constant, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_are_enough_to_have_a_table(count: int) -> None:
    spec = spec_of(None, 40, 3, 3)
    table = KLT.calibrate(spec, samples(spec, count=count))
    made = codec("klt:0.3").bind(spec, table)
    array = samples(spec, count=count)[0]
    assert np.abs(made.decode(made.encode(array), array.shape) - array).max() < 2


def test_dead_channels_do_not_disturb_the_others() -> None:
    dead = [sample * np.array([1, 1, 0, 1, 0, 1], np.float32)[:, None, None] for sample in samples(MAP)]
    table = KLT.calibrate(MAP, dead)
    made = codec("klt:0.3").bind(MAP, table)
    found = made.decode(made.encode(dead[0]), dead[0].shape)
    assert np.abs(found[0, [2, 4]]).max() < 1e-3
    assert np.abs(found - dead[0]).max() < 1.5


def test_longer_vectors_are_left_to_other_codecs() -> None:
    assert KLT.accepts(spec_of(None, CHANNELS_MAX))
    assert not KLT.accepts(spec_of(None, CHANNELS_MAX + 1))


def test_rows_follow_what_was_counted() -> None:
    """Real coefficients are more often 0 and more often large than those of a Laplace distribution would be, or less."""
    made: Table = read_table()
    blocks = np.concatenate([made.basis.forward(sample[0]).transpose(1, 3, 0, 2, 4)[:, 0] for sample in samples(MAP)])
    for quarters in (-8, -4, 0):
        quantiser = Quantiser.at(made, quarters)
        assert quantiser.ideal_bits(blocks) / len(blocks) == pytest.approx(quantiser.expected_bits, rel=0.1)
