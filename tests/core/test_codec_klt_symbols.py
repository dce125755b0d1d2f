"""The bytes: what stands beside the symbols, the entropy coder, and levels run by run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec.klt import side, symbols
from splitinfer.codec.klt.entropy import Stack, distribution, even
from splitinfer.codec.klt.quantiser import LEVEL_MAX, Levels, Quantiser
from splitinfer.codec.klt.side import Side
from splitinfer.codec.klt.steps import quarter_octaves
from splitinfer.codec.klt.table import Table
from splitinfer.errors import CorruptPayload
from tests.klt_values import read_table

LEVELS = st.integers(-LEVEL_MAX, LEVEL_MAX)
TAILS = st.binary(max_size=8)


@st.composite
def sides(draw: st.DrawFn) -> Side:
    places = sorted(draw(st.sets(st.integers(0, 1 << 30), max_size=12)))
    levels = [draw(LEVELS) for _ in places]
    return Side(places, levels, draw(st.lists(LEVELS, max_size=12)))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(sides(), TAILS)
def test_a_side_comes_back_and_leaves_what_follows(one: Side, tail: bytes) -> None:
    found, rest = side.read(memoryview(side.write(one) + tail), 24)
    assert (list(found.places), list(found.levels), list(found.escapes)) == (one.places, one.levels, one.escapes)
    assert bytes(rest) == tail
    assert len(found) == len(one.places) + len(one.escapes)


def test_nothing_to_say_is_one_byte() -> None:
    assert side.write(Side()) == b"\0"
    assert side.read(b"\0abc", 4) == (Side(), b"abc")


def test_the_bytes_of_a_side() -> None:
    """Length; two places: 3 and 3 + 1 + 200, levels -1 and 64; one escape, 5."""
    assert side.write(Side([3, 204], [-1, 64], [5])).hex() == "08" + "02" + "03" + "01" + "c801" + "8001" + "0a"
    assert side.read(bytes.fromhex("08020301c80180010a"), 3) == (Side([3, 204], [-1, 64], [5]), b"")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(sides().filter(len), st.data())
def test_a_side_that_is_cut_short_is_refused(one: Side, data: st.DataObject) -> None:
    coded = side.write(one)
    with pytest.raises(CorruptPayload):
        side.read(coded[: data.draw(st.integers(0, len(coded) - 1))], 24)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_side_or_refused(data: bytes) -> None:
    try:
        found, rest = side.read(data, 8)
    except CorruptPayload:
        return
    assert len(rest) < len(data)
    assert list(found.places) == sorted(set(found.places))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x01\x01",
        b"\x02\x01\x00",
        b"\x01\x80",
        b"\x02\x00\x80\x01",
        b"\x06\x00\xff\xff\xff\xff\xff",
        b"\x03\x00",
    ],
)
def test_what_is_no_side_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptPayload):
        side.read(data, 8)


def test_a_side_with_too_many_numbers_is_not_read_to_its_end() -> None:
    many = side.write(Side(range(0, 200, 2), [1] * 100, [9] * 100))
    assert len(side.read(many, 200)[0]) == 200
    for one in (many, side.write(Side([], [], [9] * 200))):
        with pytest.raises(CorruptPayload):
            side.read(one, 50)


# -- the stack --------------------------------------------------------------------------------------------------------

WEIGHTS = np.array([1, 5, 90, 3000, 13000, 3000, 90, 5, 2], np.float64)


def test_what_went_in_first_comes_out_last() -> None:
    stack = Stack()
    first, second = np.array([4, 3, 5, 0, 8, 4], np.int32), np.array([3, 0, 1], np.int32)
    stack.push(first, distribution(WEIGHTS))
    stack.push(second, even(2))
    back = Stack(memoryview(stack.to_bytes()))
    assert back.pop(3, even(2)).tolist() == second.tolist()
    assert not back.is_empty()
    assert back.pop(6, distribution(WEIGHTS)).tolist() == first.tolist()
    assert back.is_empty()


def test_an_empty_stack_has_no_bytes() -> None:
    assert Stack().to_bytes() == b""
    assert Stack(b"").is_empty()


def test_zeros_at_the_end_are_refused() -> None:
    """So that nothing can be added to a chunk without being noticed."""
    with pytest.raises(CorruptPayload):
        Stack(b"\1\0")


def test_the_words_of_a_small_stack() -> None:
    """The package computes distributions from floats: integers in, the same bits on every machine."""
    stack = Stack()
    stack.push((np.arange(200) * 7 % 9).astype(np.int32), distribution(WEIGHTS))
    stack.push((np.arange(20) * 5 % 8).astype(np.int32), even(3))
    assert stack.to_bytes().hex() == GOLDEN_WORDS


GOLDEN_WORDS = (
    "4a7fffea7928d8331f2bff9409e6f9f4a5229a66fefeffce80f5ff8600faffeb80e8ffe0bbcafe12a56bd8b5e3cac919288f"
    "2209960000acd3fdffb8b1f8ff4f6bb6fe0fc4edff405e3efffbeb9ad9ecb61c9ec988c1264b420000f34ffdfffc58f2ffef"
    "4a13ff4683f2ff0ee5d4fe237661e4051da78502b60c000a7701004dcffaff6f0eeeff0d08dbfe7122bfe32753cecdb7c5f9"
    "e6e41d0100a411feffd86ae8ff46ffffff1ab1eaff39e530ffad0911e88b8f064cf4559009a0c90200a006faff3c5fefffe2"
    "f301e08c87eab83ae3a10a9601"
)


# -- levels -----------------------------------------------------------------------------------------------------------


def quantiser(step: str, table: Table | None = None) -> Quantiser:
    return Quantiser.at(table or read_table(), quarter_octaves(step), float(step))


def drawn(made: Quantiser, blocks: int, seed: int = 0, scale: float = 0.6) -> Levels:
    """As likely as the rows say, about; some beyond their row."""
    widths = (made.largest.astype(np.int64) << made.shifts) * scale / 3
    return np.rint(np.random.default_rng(seed).laplace(size=(len(made.places), blocks)) * widths).astype(np.int32)


def back(made: Quantiser, data: bytes, escapes: list[int], blocks: int) -> Levels:
    parts = list(symbols.read(made, Stack(data), escapes, blocks))
    assert [part.start for part, _ in parts] == [0, *(part.stop for part, _ in parts[:-1])][: len(parts)]
    return np.concatenate([levels for _, levels in parts])


@pytest.mark.parametrize("blocks", [1, 3, 40, 20_000])
@pytest.mark.parametrize("step", ["0.001", "0.02", "0.125", "0.6", "2"])
def test_levels_come_back(step: str, blocks: int) -> None:
    """In one piece or many, with low bits and without, escapes included."""
    made = quantiser(step)
    if blocks > 1000:  # fewer places, or it takes long
        runs = tuple(run for run in made.runs if run.stop <= 20)
        made = replace(made, places=made.places[: runs[-1].stop], runs=runs)
    levels = drawn(made, blocks)
    data, escapes = symbols.write(made, levels)
    assert np.array_equal(back(made, data, escapes, blocks), levels)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sampled_from(["0.003", "0.03", "0.3", "1"]), st.integers(1, 5), st.data())
def test_any_levels_come_back(step: str, blocks: int, data: st.DataObject) -> None:
    made = quantiser(step)
    levels = drawn(made, blocks)
    for _ in range(data.draw(st.integers(0, 20))):
        levels.ravel()[data.draw(st.integers(0, levels.size - 1))] = data.draw(LEVELS)
    words, escapes = symbols.write(made, levels)
    assert np.array_equal(back(made, words, escapes, blocks), levels)


def test_escapes_are_what_the_rows_do_not_hold_in_the_order_of_coding() -> None:
    made = quantiser("1")
    levels = np.zeros((len(made.places), 2), np.int32)
    most = made.largest[:, 0]
    levels[0], levels[1], levels[5, 1], levels[-1, 0] = most[0], -most[1], -most[5] - 1, 1000
    _, escapes = symbols.write(made, levels)
    assert escapes == [-most[5] - 1, 1000]


def test_coding_takes_what_the_rows_say() -> None:
    made = quantiser("0.3")
    random = np.random.default_rng(0)
    levels = np.zeros((len(made.places), 50), np.int32)
    ideal = 0.0
    for run in made.runs:
        weights = run.row.weights[1:]
        shape = levels[run.start : run.stop].shape
        high = random.choice(len(weights), shape, p=weights / weights.sum()) - run.row.largest
        levels[run.start : run.stop] = (high << run.low_bits) + random.integers(0, 1 << run.low_bits, shape)
        ideal += run.row.bits[high + run.row.zero].sum() + run.low_bits * high.size
    data, escapes = symbols.write(made, levels)
    assert not escapes
    assert len(data) == pytest.approx(ideal / 8, rel=0.002)
    assert ideal / 50 == pytest.approx(made.expected_bits, rel=0.02)


def test_fewer_or_more_escapes_are_refused() -> None:
    made = quantiser("1")
    levels = drawn(made, 4, scale=0.9)
    data, escapes = symbols.write(made, levels)
    assert len(escapes) > 2
    for other in (escapes[:-1], [*escapes, 9999], []):
        with pytest.raises(CorruptPayload):
            back(made, data, other, 4)


@pytest.mark.parametrize("escape", [0, 1, LEVEL_MAX + 1, -LEVEL_MAX - 1, 1 << 34])
def test_an_escape_that_is_none_is_refused(escape: int) -> None:
    made = quantiser("1")
    levels = np.zeros((len(made.places), 1), np.int32)
    levels[3] = 500
    data, escapes = symbols.write(made, levels)
    assert escapes == [500]
    with pytest.raises(CorruptPayload):
        back(made, data, [escape], 1)


def test_an_escape_with_low_bits_stays_below_what_floats_hold() -> None:
    made = quantiser("0.003")
    low = made.runs[0].low_bits
    assert low
    levels = np.zeros((len(made.places), 1), np.int32)
    levels[0] = -LEVEL_MAX
    data, escapes = symbols.write(made, levels)
    assert escapes == [-LEVEL_MAX >> low]
    assert back(made, data, escapes, 1)[0, 0] == -LEVEL_MAX
    with pytest.raises(CorruptPayload):
        back(made, data, [-(LEVEL_MAX >> low) - 1], 1)


def test_words_that_hold_more_or_less_are_refused() -> None:
    made = quantiser("0.3")
    data, escapes = symbols.write(made, drawn(made, 4, scale=0.2))
    for other in (data[:-1].rstrip(b"\0"), data + b"\1", b"", data[4:], data + data):
        with pytest.raises(CorruptPayload):
            back(made, other, escapes, 4)


def test_where_nothing_is_coded_there_is_nothing() -> None:
    made = quantiser("999")
    levels = np.empty((0, 3), np.int32)
    assert symbols.write(made, levels) == (b"", [])
    assert back(made, b"", [], 3).shape == (0, 3)
