"""Steps, rows and the quantiser: which integers stand for a coefficient."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import codec
from splitinfer.codec.klt.quantiser import LEVEL_MAX, Quantiser
from splitinfer.codec.klt.rows import COUNT, ESCAPE, HIGHEST, LOWEST, SYMBOLS, TOTAL, laplace, largest, rows_of
from splitinfer.codec.klt.steps import quarter_octaves
from splitinfer.errors import UnknownCodec
from tests.klt_values import read_table

THOUSANDTHS = st.integers(1, 999_999)


def written(thousandths: int) -> str:
    """A decimal, in the one way that an id has it."""
    whole, rest = divmod(thousandths, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


@settings(derandomize=True, deadline=None, max_examples=400)
@given(THOUSANDTHS)
def test_quarter_octaves_are_those_of_exact_logarithms(thousandths: int) -> None:
    with localcontext() as exact:
        exact.prec = 60
        power = 4 * Decimal(thousandths).scaleb(-3).ln() / Decimal(2).ln()
        assert quarter_octaves(written(thousandths)) == int(power.to_integral_value())


@pytest.mark.parametrize(
    ("step", "quarters"), [("1", 0), ("2", 4), ("0.5", -4), ("0.125", -12), ("0.001", -40), ("999.999", 40)]
)
def test_quarter_octaves_of_some_steps(step: str, quarters: int) -> None:
    assert quarter_octaves(step) == quarters


def test_a_quarter_octave_ends_in_its_middle() -> None:
    """At 2^(1/8) = 1.0905.. and 2^(-1/8) = 0.917004.."""
    assert (quarter_octaves("1.09"), quarter_octaves("1.091")) == (0, 1)
    assert (quarter_octaves("0.918"), quarter_octaves("0.917")) == (0, -1)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(THOUSANDTHS)
def test_every_step_has_one_spelling(thousandths: int) -> None:
    step = written(thousandths)
    assert codec(f"klt:{step}").id == f"klt:{step}"
    for other in (f"0{step}", f"{step}0" if "." in step else f"{step}.0", f"{step}e0", f"+{step}", f" {step}"):
        with pytest.raises(UnknownCodec):
            codec(f"klt:{other}")


@pytest.mark.parametrize(
    "step", ["", "0", "0.0", "0.000", "1.", ".5", "-1", "1000", "0.0001", "1,5", "nan", "inf", "٣", "00.5"]
)
def test_what_is_no_step_is_no_codec(step: str) -> None:
    with pytest.raises(UnknownCodec):
        codec(f"klt:{step}")


def test_no_byte_compressor_follows() -> None:
    with pytest.raises(UnknownCodec):
        codec("klt:1+zstd1")


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_integers_above_zero_with_one_sum() -> None:
    rows = rows_of([np.zeros(size) for size in SYMBOLS], [(0.0, 0.0)] * COUNT)
    counted = rows_of([np.eye(1, size, 1).ravel() * 1e9 for size in SYMBOLS], [(0.1, 0.0)] * COUNT)
    for row, size in zip((*rows, *counted), SYMBOLS * 2, strict=True):
        assert len(row.frequencies) == size == row.largest + 2
        assert sum(row.frequencies) == TOTAL
        assert all(type(count) is int and count > 0 for count in row.frequencies)
        assert len(row.weights) == 2 * row.largest + 2
        assert np.array_equal(row.weights[1:], row.weights[1:][::-1])
        assert row.weights[row.zero] == 2 * row.frequencies[0]
        assert row.weights[ESCAPE] == 2 * row.frequencies[-1]


def test_wider_rows_expect_larger_levels() -> None:
    rows = rows_of([np.zeros(size) for size in SYMBOLS], [(0.0, 0.0)] * COUNT)
    bits = [row.entropy_bits for row in rows]
    assert bits == sorted(bits)
    assert bits[0] < 0.3 < 4 < bits[-1]
    assert list(map(largest, range(LOWEST, HIGHEST + 1))) == [row.largest for row in rows]


def test_what_was_counted_decides_and_laplace_fills_what_was_not() -> None:
    counts = [np.zeros(size) for size in SYMBOLS]
    counts[8][2] = 1e6
    rows = rows_of(counts, [(0.0, 0.0)] * COUNT)
    assert rows[8].bits[rows[8].zero + 2] == pytest.approx(1, abs=0.05)  # the sign
    untouched = rows[9]
    assert untouched.bits[untouched.zero] == pytest.approx(-np.log2(laplace(9 + LOWEST)[0]), abs=0.01)


@pytest.mark.parametrize("row", range(LOWEST, HIGHEST + 1))
def test_laplace_is_a_distribution(row: int) -> None:
    assert laplace(row).sum() == pytest.approx(1)
    assert len(laplace(row)) == SYMBOLS[row - LOWEST]
    assert (laplace(row) >= 0).all()


# -- the quantiser ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["0.01", "0.125", "0.6", "1", "2"])
def test_a_level_stands_for_what_is_near_it(step: str) -> None:
    """Up to 1.5 steps where nothing is 0, two where what is more than usual would be dear."""
    quantiser = Quantiser.at(read_table(), quarter_octaves(step), float(step))
    values = np.tile(np.linspace(-30, 30, 4001, dtype=np.float32) * np.float32(step), (len(quantiser.places), 1))
    levels = quantiser.quantise(values)
    back = quantiser.values(levels)
    error = np.abs(back - values) / float(step)
    assert error.max() <= 2.0
    assert error[levels == 0].max() <= 1.5
    assert np.sqrt(np.square(error).mean()) < 0.5
    assert np.array_equal(np.sign(back), np.sign(levels))
    assert np.array_equal(np.abs(levels), -np.abs(levels)[:, ::-1] * -1)
    assert (np.diff(levels, axis=1) >= 0).all()


def test_thresholds_are_where_a_level_starts_to_pay() -> None:
    quantiser = Quantiser.at(read_table(), 0)
    one, two = quantiser.thresholds
    for factor, found in ((0.9999, (0, 1)), (1.0001, (1, 2))):
        assert (quantiser.quantise(one * np.float32(factor)) == found[0]).all()
        assert (quantiser.quantise(two * np.float32(factor)) == found[1]).all()
    assert ((one >= 0.4) & (one <= 1.5) & (two > one) & (two <= 2.5)).all()
    assert (one >= 0.55).any()  # zero is wider than the others


def test_low_bits_round_to_the_nearest() -> None:
    quantiser = Quantiser.at(read_table(), quarter_octaves("0.005"), 0.005)
    run = next(run for run in quantiser.runs if run.low_bits)
    values = np.zeros((len(quantiser.places), 1), np.float32)
    values[run.start : run.stop] = 1000.4 * 0.005
    assert (quantiser.quantise(values)[run.start : run.stop] == 1000).all()


def test_what_is_wider_is_coded_first_and_what_is_narrow_not_at_all() -> None:
    table = read_table()
    spread = table.spread.ravel().astype(int)
    for quarters in range(-44, 44, 4):
        quantiser = Quantiser.at(table, quarters)
        coded = spread[quantiser.places]
        assert (np.diff(coded) <= 0).all()
        assert (coded - quarters >= LOWEST).all()
        assert (spread[quantiser.uncoded] - quarters < LOWEST).all()
        assert sorted([*quantiser.places, *quantiser.uncoded]) == list(range(table.spread.size))
        bounds = [0, *(run.stop for run in quantiser.runs)]
        assert bounds[:-1] == [run.start for run in quantiser.runs]
        assert bounds[-1] == len(quantiser.places)


def test_a_large_step_codes_nothing() -> None:
    quantiser = Quantiser.at(read_table(), 40)
    assert quantiser.runs == ()
    assert quantiser.expected_bits == 0
    assert len(quantiser.uncoded) == quantiser.size


def test_no_row_has_more_low_bits_than_the_coder_takes() -> None:
    table = read_table()
    wide = type(table)(table.basis, np.full_like(table.spread, 127), table.rows, table.gains)
    quantiser = Quantiser.at(wide, quarter_octaves("0.001"), 0.001)
    assert 1 << max(run.low_bits for run in quantiser.runs) < LEVEL_MAX


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(-4 * 7, 4), st.floats(0.5, 2**20), st.integers(0, 2**32))
def test_expected_and_ideal_lengths_are_finite_and_grow_as_steps_shrink(quarters: int, scale: float, seed: int) -> None:
    table = read_table()
    blocks = np.random.default_rng(seed).laplace(size=(2, *table.spread.shape)).astype(np.float32)
    coarse, fine = (Quantiser.at(table, one) for one in (quarters + 4, quarters))
    assert coarse.expected_bits < fine.expected_bits
    assert 0 <= coarse.ideal_bits(blocks) < np.inf
