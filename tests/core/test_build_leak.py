"""How much of the input what crosses shows: attackers that rebuild what is there, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build import leak
from splitinfer.build.leak.likeness import EXACT_DB, WINDOW, psnr_db, ssim
from splitinfer.build.leak.local import local
from splitinfer.build.leak.planes import Floats, feature_map, picture, resized
from splitinfer.build.leak.ridge import fit, held_out
from splitinfer.build.leak.whole import whole
from splitinfer.model import Array, Digest, Model, Tensors, TensorSpec
from splitinfer.plan import Leak
from tests.pictures import pictures

KNOWN = 24


def model(dtype: str = "uint8", image: str | None = "x", shape: tuple[int | None, ...] = (None, 32, 32, 3)) -> Model:
    return Model(Digest("0" * 64), "net", "1", (TensorSpec("x", dtype, shape),), (), (), (), frozenset(), image)


def fed(items: Array) -> list[Tensors]:
    return [{"x": items[i : i + 1]} for i in range(len(items))]


def leaks(inputs: Array, head: Callable[[Array], Array], of: Model | None = None) -> Leak:
    """What an attacker gets of inputs when a head makes this of each."""
    known, hidden = fed(inputs[:KNOWN]), fed(inputs[KNOWN:])
    secret = leak.secret_of(of or model(), known, hidden)
    crossed = [[{"t": head(feed["x"][0])[None]} for feed in half] for half in (known, hidden)]
    return leak.at_least(secret, *crossed)


def mixed(item: Array) -> Array:
    """[16, 16, 16]: each 2x2 patch of a picture in other words, nothing lost."""
    patches = item.reshape(16, 2, 16, 2, 3).transpose(0, 2, 1, 3, 4).reshape(16, 16, 12) / 255
    return (patches @ np.random.default_rng(1).normal(size=(12, 16))).transpose(2, 0, 1).astype(np.float32)


def test_what_is_there_in_other_words_is_rebuilt():
    found = leaks(pictures(48), mixed)
    assert found.psnr_db > 40
    assert found.ssim > 0.98
    assert found.n == 48 - KNOWN


def test_the_same_attack_finds_the_same():
    assert leaks(pictures(32), mixed) == leaks(pictures(32), mixed)


def test_noise_shows_nothing():
    random = np.random.default_rng(2)
    found = leaks(pictures(48), lambda item: random.normal(size=(16, 16, 16)).astype(np.float32))
    assert found.psnr_db < found.baseline_psnr_db + 0.5
    assert found.ssim < found.baseline_ssim + 0.05


def test_what_is_the_same_for_all_shows_nothing():
    found = leaks(pictures(48), lambda item: np.ones((16, 16, 16), np.float32))
    assert found.psnr_db == pytest.approx(found.baseline_psnr_db, abs=0.2)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, -3.4e38])
@pytest.mark.parametrize("shape", [(16, 16, 16), (4096,)])
def test_values_that_are_not_finite_or_enormous_stop_nobody(shape, odd):
    inputs = pictures(40).astype(np.float32)

    def spoilt(item: Array) -> Array:
        sent = mixed(item)
        sent[0, :2] = odd
        return sent.reshape(shape)

    found = leaks(inputs, spoilt, model("float32", None))
    assert found.baseline_psnr_db < found.psnr_db < EXACT_DB
    inputs[:, 0, 0] = odd
    assert np.isfinite(leaks(inputs, lambda item: mixed(np.ones_like(item)), model("float32", None)).psnr_db)


def test_the_coarser_the_codec_the_less_is_shown():
    steps = [
        leaks(pictures(48), lambda item, step=step: np.round(mixed(item) / step) * step) for step in (0.01, 1.0, 4.0, 100.0)
    ]
    assert [found.psnr_db for found in steps] == sorted((found.psnr_db for found in steps), reverse=True)
    assert steps[0].ssim > steps[1].ssim > steps[2].ssim > steps[3].ssim


def test_the_input_itself_is_all_there_is():
    inputs = pictures(32)
    known, hidden = fed(inputs[:16]), fed(inputs[16:])
    secret = leak.secret_of(model(), known, hidden)
    found = leak.at_least(secret, known, hidden)
    assert (found.psnr_db, found.ssim) == (EXACT_DB, pytest.approx(1))
    worse = leak.at_least(secret, known, [{"x": feed["x"] // 16 * 16} for feed in hidden])
    assert found.baseline_psnr_db < worse.psnr_db < EXACT_DB


def test_features_of_a_whole_picture_show_its_coarse_form():
    flat = pictures(48).reshape(48, -1).astype(np.float32)
    basis = np.random.default_rng(3).normal(size=(flat.shape[1], 64)).astype(np.float32)
    found = leaks(pictures(48), lambda item: item.reshape(-1).astype(np.float32) @ basis)
    assert found.psnr_db > found.baseline_psnr_db + 1


def test_sounds_have_no_ssim_and_may_be_of_any_length():
    random = np.random.default_rng(4)
    waves = [np.outer(random.normal(size=3), np.ones(40)).ravel()[None, : 100 + i % 3].astype(np.float32) for i in range(40)]
    feeds = [{"x": wave} for wave in waves]
    secret = leak.secret_of(model("float32", None, (None, None)), feeds[:30], feeds[30:])
    found = leak.at_least(secret, *([{"t": 3 * feed["x"] + 1} for feed in half] for half in (feeds[:30], feeds[30:])))
    assert found.ssim is found.baseline_ssim is None
    assert found.psnr_db > found.baseline_psnr_db + 10


def test_a_large_picture_is_rebuilt_small():
    inputs = np.repeat(np.repeat(pictures(16), 6, axis=1), 6, axis=2)
    secret = leak.secret_of(model(shape=(None, 192, 192, 3)), fed(inputs[:8]), fed(inputs[8:]))
    assert secret.known.shape == (8, 64, 64, 3)
    assert secret.known.mean() == pytest.approx(inputs[:8].mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("of", "count"), [(model("int64", None, (None, 32)), 32), (model(), 7)], ids=["tokens", "too few are known"]
)
def test_where_there_is_nothing_to_rebuild_nothing_is_said(of, count):
    feeds = fed(pictures(2 * count))
    assert leak.secret_of(of, feeds[:count], feeds[count:]) is None


@pytest.mark.parametrize("attack", [local, whole])
def test_no_attacker_looks_at_what_is_hidden(attack):
    inputs = pictures(32)
    known, hidden = fed(inputs[:16]), fed(inputs[16:])
    crossed = [{"t": mixed(feed["x"][0])[None]} for feed in (*known, *hidden)]
    honest = leak.secret_of(model(), known, hidden)
    other = leak.secret_of(model(), known, fed(255 - inputs[16:]))
    np.testing.assert_array_equal(attack(honest, crossed).rebuild(), attack(other, crossed).rebuild())


def test_a_map_is_found_however_its_axes_lie():
    value = np.arange(2 * 4 * 6, dtype=np.float32).reshape(4, 6, 2)
    np.testing.assert_array_equal(feature_map(value.transpose(2, 0, 1), 32, 48), value)
    np.testing.assert_array_equal(feature_map(value, 32, 48), value)
    tokens = np.arange(17 * 5, dtype=np.float32).reshape(17, 5)
    np.testing.assert_array_equal(feature_map(tokens, 32, 32), tokens[1:].reshape(4, 4, 5))
    assert feature_map(tokens, 32, 48) is None
    assert feature_map(np.zeros(8, np.float32), 32, 32) is None
    assert feature_map(np.zeros((8, 1, 1), np.float32), 32, 32) is None


def test_what_is_a_picture():
    assert picture(np.zeros((3, 9, 8), np.float32), 8).shape == (9, 8, 3)
    assert picture(np.zeros((9, 8, 3), np.uint8), 8).shape == (9, 8, 3)
    assert picture(np.zeros((7, 90, 3), np.uint8), 8) is None
    assert picture(np.zeros((5, 90, 90), np.float32), 8) is None
    assert picture(np.zeros(90, np.float32), 8) is None


sizes = st.integers(1, 20)


@settings(derandomize=True, deadline=None)
@given(sizes, sizes, sizes, sizes)
def test_a_plane_of_another_size_has_the_same_mean(height, width, new_height, new_width):
    plane = np.random.default_rng(5).random((2, height, width, 3), np.float32)
    other = resized(plane, new_height, new_width)
    assert other.shape == (2, new_height, new_width, 3)
    np.testing.assert_allclose(other.mean(axis=(1, 2)), plane.mean(axis=(1, 2)), rtol=1e-5)


def test_a_whole_factor_is_the_mean_of_blocks():
    plane = np.random.default_rng(6).random((6, 9, 2), np.float32)
    np.testing.assert_allclose(resized(plane, 2, 3), plane.reshape(2, 3, 3, 3, 2).mean(axis=(1, 3)), rtol=1e-5)


def test_a_linear_law_is_found_and_noise_is_damped():
    random = np.random.default_rng(7)
    rows, law = random.normal(size=(200, 8)).astype(np.float32), random.normal(size=(8, 3)).astype(np.float32)
    found = fit(rows, rows @ law + 5, held_out(200))
    np.testing.assert_allclose(found.weights, law, atol=1e-3)
    np.testing.assert_allclose(found.offset, 5, atol=1e-3)
    noise = random.normal(size=(200, 3)).astype(np.float32)
    assert np.abs(fit(rows, noise, held_out(200)).weights).max() < 0.2


def _ssim_by_hand(one: Floats, other: Floats, span: float) -> float:
    """Window by window, as the formula says."""
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = []
    for y in range(one.shape[0] - WINDOW + 1):
        for x in range(one.shape[1] - WINDOW + 1):
            a, b = (plane[y : y + WINDOW, x : x + WINDOW].astype(np.float64) for plane in (one, other))
            mixed = ((a - a.mean()) * (b - b.mean())).mean()
            top = (2 * a.mean() * b.mean() + c1) * (2 * mixed + c2)
            found.append(top / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var() + b.var() + c2)))
    return float(np.mean(found))


def test_ssim_is_the_formula():
    one, other = np.random.default_rng(8).random((2, 11, 13), np.float32)
    assert ssim(one[None, :, :, None], other[None, :, :, None], 1.0) == pytest.approx(_ssim_by_hand(one, other, 1.0), rel=1e-6)
    assert ssim(one[None, :, :, None], one[None, :, :, None], 1.0) == pytest.approx(1)


def test_psnr_is_the_formula_and_ends_at_exact():
    zeros = np.zeros((4, 8, 8, 1), np.float32)
    assert psnr_db(zeros, zeros + 25.5, 255) == pytest.approx(20)
    assert psnr_db(zeros, zeros, 255) == EXACT_DB
