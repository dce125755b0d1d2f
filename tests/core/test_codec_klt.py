"""The transform codec as a whole: what comes back, what is refused, and how many bytes it takes."""

from __future__ import annotations

import json
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.codec import codec, codecs_for
from splitinfer.codec.klt import STEPS, KltCoder, side, symbols
from splitinfer.codec.klt.basis import Basis
from splitinfer.codec.klt.coder import ODD_ALWAYS, SLACK_BYTES, TIMES_EXPECTED
from splitinfer.codec.klt.entropy import Stack
from splitinfer.codec.klt.quantiser import Levels, Quantiser
from splitinfer.codec.klt.side import Side
from splitinfer.codec.klt.steps import quarter_octaves
from splitinfer.codec.klt.table import read
from splitinfer.errors import CorruptPayload, PayloadTooLarge, Uncodable
from splitinfer.model import Array, Cut, TensorSpec
from tests.klt_values import MAP, coder, read_table, spec_of, table_of, values

KINDS = [
    (spec_of(None, 24), 1),
    (spec_of(1, 24), 1),
    (spec_of(None, None, 12), 2),
    (spec_of(None, 12, None), 1),
    (spec_of(None, 6, 12, 10), 1),
    (spec_of(None, 12, 10, 6), 3),
    (spec_of(1, 6, 12, 10), 1),
    (spec_of(None, 6, 21, 130), 1),
    (spec_of(None, 4, None, None), 1),
    (spec_of(None, 6, 12, 10, dtype="float64"), 1),
]
NOTABLE = 2.5
"""Steps that a coefficient may lose where none is expected."""
GOLDEN = Path(__file__).parents[1] / "golden" / "codec"


def quantiser(step: str, spec: TensorSpec = MAP, channel: int = 1) -> Quantiser:
    return Quantiser.at(read_table(spec, channel), quarter_octaves(step), float(step))


def coefficients(item: Array, basis: Basis) -> Array:
    """[places of a block, blocks]."""
    found = basis.forward(item).transpose(0, 2, 4, 1, 3)
    return np.asarray(found.reshape(np.prod(basis.layout.shape), -1))


def decoded_coefficients(chunk: bytes, step: str, blocks: int = 1, most: int = 100, made: Quantiser | None = None) -> Array:
    """What a chunk says, before the inverse transform. No code of the coder's own."""
    made = made or quantiser(step)
    odd, words = side.read(chunk, most)
    out = np.zeros((made.size, blocks), np.float32)
    for part, levels in symbols.read(made, Stack(words), odd.escapes, blocks):
        out[made.places[part]] = made.values(levels, part)
    for place, level in zip(odd.places, odd.levels, strict=True):
        out[made.uncoded[place // blocks], place % blocks] = level * made.step
    return out


def levels_of(chunk: bytes, made: Quantiser, blocks: int = 1) -> tuple[Levels, Side]:
    odd, words = side.read(chunk, 100)
    return np.concatenate([levels for _, levels in symbols.read(made, Stack(words), odd.escapes, blocks)]), odd


# -- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "channel"), KINDS, ids=lambda kind: str(getattr(kind, "shape", kind)))
@pytest.mark.parametrize("step", ["0.02", "0.3", "1"])
def test_held_out_tensors_of_every_kind_come_back(spec: TensorSpec, channel: int, step: str) -> None:
    made = coder(step, spec, channel)
    for length in (5, 20, 33):
        array = values(spec, length, channel, batch=2, length=length)
        chunks = made.encode(array)
        found = made.decode(list(map(memoryview, chunks)), array.shape)
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.flags.c_contiguous
        error = np.sqrt(np.square(found - array, dtype=np.float64).mean()) / array.std()
        assert error < 0.75 * float(step) + 0.01
        assert sum(map(len, chunks)) < array.nbytes / 2


@pytest.mark.parametrize("step", ["0.001", "0.05", "0.3", "1", "2"])
@pytest.mark.parametrize("seed", range(3))
def test_every_coefficient_comes_back_within_two_steps(step: str, seed: int) -> None:
    """Or is less than what is said of one that was not expected."""
    array = values(MAP, seed)
    before, after = coefficients(array[0], read_table().basis), decoded_coefficients(coder(step).encode(array)[0], step)
    error = np.abs(before - after) / float(step)
    made = quantiser(step)
    noise = 1e-5 * np.abs(before).max() / float(step)
    assert error[made.places].max() <= 2 + noise
    assert error[made.uncoded].max(initial=0) <= NOTABLE


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(["0.05", "0.3", "1"]), st.integers(0, 719), st.floats(-3000, 3000))
def test_one_odd_coefficient_is_said_exactly(step: str, place: int, steps: float) -> None:
    """Wherever it is, and however large."""
    basis = read_table().basis
    odd = coefficients(values(MAP, 5)[0], basis)
    odd[place] = steps * float(step)
    item = basis.inverse(odd.copy(), np.ones(6, np.float32), (6, 12, 10))
    found = decoded_coefficients(coder(step).encode(item[None])[0], step)
    assert np.abs(found[place] - odd[place]) / float(step) <= (2.01 if abs(steps) > NOTABLE else NOTABLE + 0.01)
    assert np.abs(found - odd).max() / float(step) <= NOTABLE + 0.01


def test_what_was_not_expected_is_rounded_to_the_nearest_level() -> None:
    made, basis = quantiser("1"), read_table().basis
    assert len(made.uncoded) > 10
    changed = np.zeros((720, 1), np.float32)
    changed[made.uncoded[[2, 7, 9]], 0] = 7.3, -2.6, 2.4
    item = basis.inverse(changed.copy(), np.ones(6, np.float32), (6, 12, 10))
    (chunk,) = coder("1").encode(item[None])
    _, odd = levels_of(chunk, made)
    assert (odd.places, odd.levels, odd.escapes) == ([2, 7], [7, -3], [])


def test_fine_steps_lose_next_to_nothing() -> None:
    array = values(MAP, 0)
    made = coder("0.001")
    assert np.abs(made.decode(made.encode(array), array.shape) - array).max() < 0.005


def test_decoding_is_the_inverse_transform_with_the_gains_of_the_step() -> None:
    array, table = values(MAP, 0), read_table()
    made = coder("1.25")
    chunks = made.encode(array)
    expected = table.basis.inverse(decoded_coefficients(chunks[0], "1.25"), table.gain(quarter_octaves("1.25")), (6, 12, 10))
    assert np.allclose(made.decode(chunks, array.shape)[0], expected, atol=1e-5)
    assert not np.allclose(table.gain(1), 1, atol=1e-3)


# -- other machines ---------------------------------------------------------------------------------------------------


def shaken(made: KltCoder, seed: int) -> KltCoder:
    """The same coder on a machine that computes a little differently: all floats of the transform are one ulp off."""
    basis, random = made._basis, np.random.default_rng(seed)

    def shake(array: Array) -> Array:
        towards = np.where(random.uniform(size=array.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
        return np.nextafter(array, towards)

    other = Basis(basis.layout, shake(basis.mixing), shake(basis.weight), shake(basis.mean))
    return KltCoder(made._spec, other, made._quantiser, made._gain)


@pytest.mark.parametrize("step", STEPS)
def test_a_decoder_with_other_roundings_reads_the_same(step: str) -> None:
    here = coder(step)
    for seed in range(4):
        there = shaken(here, seed)
        array = values(MAP, seed, batch=2)
        chunks = here.encode(array)
        found, other = here.decode(chunks, array.shape), there.decode(chunks, array.shape)
        assert np.abs(found - other).max() < 1e-4
        mine, theirs = levels_of(chunks[0], quantiser(step))[0], levels_of(chunks[0], there._quantiser)[0]
        assert np.array_equal(mine, theirs)
        again = there.encode(array)  # an encoder may round otherwise; what it sends is read all the same
        assert np.abs(here.decode(again, array.shape) - array).max() < 4 * float(step) + 0.1


STORED = sorted(GOLDEN.glob("klt*.json"))


def test_stored_chunks_hold_the_stored_levels() -> None:
    """Integers, whatever this machine makes of floats."""
    expected = json.loads((GOLDEN.parent / "klt_levels.json").read_text(encoding="utf-8"))
    assert STORED
    assert {path.stem for path in STORED} == set(expected)
    for path in STORED:
        assert stored_levels(path) == expected[path.stem], path.stem


def stored_levels(path: Path) -> list[object]:
    case = json.loads(path.read_text(encoding="utf-8"))
    spec = TensorSpec("t", case["dtype"], (None, *case["shape"][1:]))
    table, step = read(spec, bytes.fromhex(case["table"])), case["id"].partition(":")[2]
    made = Quantiser.at(table, quarter_octaves(step), float(step))
    blocks = int(np.prod(table.basis.layout.grid(tuple(case["shape"][1:]))))
    found: list[object] = []
    for chunk in case["chunks"]:
        levels, odd = levels_of(bytes.fromhex(chunk), made, blocks)
        found.append([levels.tolist(), list(odd.places), list(odd.levels), list(odd.escapes)])
    return found


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_tensors_like_the_samples_are_never_refused(step: str) -> None:
    made = coder(step)
    for seed in range(100):
        made.encode(values(MAP, seed))


@pytest.mark.parametrize("step", ["0.125", "0.6", "2"])
def test_tensors_unlike_the_samples_are_refused(step: str) -> None:
    array, random = values(MAP, 0), np.random.default_rng(0)
    made = coder(step)
    unlike = {
        "a hundred times as large": array * 100,
        "negative": 200 - 100 * array,
        "white noise": random.normal(size=array.shape).astype(np.float32) * 20,
        "channels in another order": array[:, ::-1] * 10,
        "far too large": array * 1e12,
        "beyond what products hold": np.full_like(array, 1.5e38),
    }
    for what, odd in unlike.items():
        try:
            made.encode(odd.astype(np.float32))
        except Uncodable as error:
            said = str(error)
        else:
            pytest.fail(what)
        assert "tensor 'map' is unlike the samples" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_what_is_not_finite_is_refused(value: float) -> None:
    array = values(MAP, 0)
    array[0, 3, 2, 1] = value
    with pytest.raises(Uncodable, match="'map' cannot cross"):
        coder("1").encode(array)


def test_one_bad_item_of_a_batch_is_enough() -> None:
    array = values(MAP, 0, batch=3)
    array[1] *= 100
    with pytest.raises(Uncodable):
        coder("1").encode(array)


def odd_items(count: int) -> Array:
    """As expected, with so many coefficients that are not."""
    made, basis = quantiser("1"), read_table().basis
    changed = np.zeros((720, 1), np.float32)
    changed[made.uncoded[:count]] = 9
    return basis.inverse(changed, np.ones(6, np.float32), (6, 12, 10))[None]


def test_a_few_odd_coefficients_pass_and_more_do_not() -> None:
    made = coder("1")
    chunk = made.encode(odd_items(ODD_ALWAYS))[0]
    assert len(levels_of(chunk, quantiser("1"))[1]) == ODD_ALWAYS
    with pytest.raises(Uncodable, match=f"{ODD_ALWAYS + 1} of 720 coefficients"):
        made.encode(odd_items(ODD_ALWAYS + 1))


def test_a_decoder_takes_no_more_odd_coefficients_either() -> None:
    made, levels = quantiser("1"), np.zeros((len(quantiser("1").places), 1), np.int32)
    words, _ = symbols.write(made, levels)
    few, many = (side.write(Side(list(range(count)), [9] * count)) + words for count in (4, 40))
    assert coder("1").decode([few], (1, 6, 12, 10)).shape == (1, 6, 12, 10)
    with pytest.raises(CorruptPayload):
        coder("1").decode([many], (1, 6, 12, 10))


@pytest.mark.parametrize("odd", [Side([10_000], [9]), Side([3], [(1 << 24) + 1]), Side([3], [-(1 << 24) - 1])])
def test_an_odd_coefficient_that_lies_outside_is_refused(odd: Side) -> None:
    made = quantiser("1")
    words, _ = symbols.write(made, np.zeros((len(made.places), 1), np.int32))
    with pytest.raises(CorruptPayload, match="outside"):
        coder("1").decode([side.write(odd) + words], (1, 6, 12, 10))
    last, beyond = (side.write(Side([place], [9])) + words for place in (len(made.uncoded) - 1, len(made.uncoded)))
    coder("1").decode([last], (1, 6, 12, 10))
    with pytest.raises(CorruptPayload, match="outside"):
        coder("1").decode([beyond], (1, 6, 12, 10))


# -- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["0.05", "0.3", "1"])
def test_a_chunk_is_about_as_long_as_expected_and_has_a_bound(step: str) -> None:
    made, usual = coder(step), quantiser(step).expected_bits / 8
    lengths = [len(made.encode(values(MAP, seed))[0]) for seed in range(30)]
    assert np.mean(lengths) == pytest.approx(usual, rel=0.2)
    assert max(lengths) <= TIMES_EXPECTED * usual + SLACK_BYTES


def test_what_would_take_far_more_bytes_than_usual_is_refused() -> None:
    """Though no coefficient is beyond its row."""
    made, found = quantiser("0.6"), np.zeros((720, 1), np.float32)
    signs = np.where(np.arange(len(made.places)) % 2, 1, -1)[:, None]
    found[made.places] = made.values((made.largest * signs).astype(np.int32))
    item = read_table().basis.inverse(found, np.ones(6, np.float32), (6, 12, 10))
    with pytest.raises(Uncodable, match=r"it takes .* bytes instead of about"):
        coder("0.6").encode(item[None])


def test_a_longer_chunk_is_refused_unread() -> None:
    made, most = coder("1"), TIMES_EXPECTED * int(quantiser("1").expected_bits / 8) + SLACK_BYTES
    for length, error in ((most, CorruptPayload), (most + 1, PayloadTooLarge)):
        with pytest.raises(error):
            made.decode([b"\xff" * length], (1, 6, 12, 10))


@pytest.mark.parametrize("step", ["0.05", "0.6", "2"])
def test_every_chunk_that_is_cut_short_is_refused(step: str) -> None:
    made = coder(step)
    (chunk,) = made.encode(values(MAP, 1))
    for length in range(len(chunk)):
        with pytest.raises(CorruptPayload):
            made.decode([chunk[:length]], (1, 6, 12, 10))


def test_longer_sequences_have_more_bytes_and_a_higher_bound() -> None:
    spec = spec_of(None, None, 12)
    made = coder("0.3", spec, 2)
    lengths = [len(made.encode(values(spec, 1, 2, length=length))[0]) for length in (8, 80, 800)]
    assert 4 * lengths[0] < lengths[1] < lengths[2] / 6


def test_it_beats_plain_quantisation_on_dependent_channels() -> None:
    arrays = np.concatenate([values(MAP, seed) for seed in range(8)])
    found = codec("int4+zstd1")
    plain = found.bind(MAP, found.calibrate(MAP, [arrays]))
    wanted = float(np.square(plain.decode(plain.encode(arrays), arrays.shape) - arrays).mean())
    step = next(s for s in reversed(STEPS) if lost(s, arrays) <= wanted)
    assert sum(map(len, coder(step).encode(arrays))) < 0.7 * sum(map(len, plain.encode(arrays)))


def lost(step: str, arrays: Array) -> float:
    return float(np.square(coder(step).decode(coder(step).encode(arrays), arrays.shape) - arrays).mean())


@cache
def large(spec: TensorSpec) -> tuple[Array, bytes | None]:
    array = values(spec, 0, channel=2 if spec.shape[1] is None else 1, length=2000)
    return array, codec("klt:1").calibrate(spec, [array])


@pytest.mark.parametrize("spec", [spec_of(None, 3, 150, 170), spec_of(None, 32, 32, 48), spec_of(None, None, 64)])
@pytest.mark.parametrize("step", ["0.01", "0.6"])
@pytest.mark.parametrize("batch", [1, 2])
def test_decoding_takes_twice_the_memory_at_most(spec: TensorSpec, step: str, batch: int) -> None:
    array, table = large(spec)
    array, made = np.concatenate([array] * batch), codec(f"klt:{step}").bind(spec, table)
    chunks = made.encode(array)
    made.decode(chunks, array.shape)
    tracemalloc.start()
    try:
        made.decode(chunks, array.shape)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 2 * array.nbytes + (256 << 10)


# -- where it stands --------------------------------------------------------------------------------------------------


def test_it_is_offered_for_floats_that_it_accepts() -> None:
    def offered(*specs: TensorSpec) -> list[str]:
        return [found.id for found in codecs_for(Cut(1, "0" * 12, "cut", specs, 0.5)) if found.id.startswith("klt:")]

    every = [f"klt:{step}" for step in STEPS]
    assert offered(MAP) == offered(MAP, spec_of(None, 3, dtype="int64")) == every
    assert offered(spec_of(None)) == offered(spec_of(None, 3, dtype="float16")) == []
    assert sorted(STEPS, key=float) == list(STEPS)


def test_symbols_are_the_levels_run_by_run() -> None:
    array = values(MAP, 0)
    made = coder("0.3")
    levels, _ = levels_of(made.encode(array)[0], quantiser("0.3"))
    runs = made.symbols(array[0])
    assert np.array_equal(np.concatenate([found for _, found in runs]), levels.ravel())
    assert [run.start for run, _ in runs] == [run.start for run in quantiser("0.3").runs]


def test_its_ids() -> None:
    found = codec("klt:0.33")
    assert (found.id, found.lossless, found.needs_table) == ("klt:0.33", False, True)
    assert codec("klt:0.33").bind(MAP, table_of()).decode(coder("0.33").encode(values(MAP, 0)), (1, 6, 12, 10)).any()
