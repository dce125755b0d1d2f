"""How much the answers depend on a tensor, asked of tails that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from splitinfer.build import sensitivity
from splitinfer.build.sensitivity import DIRECTIONS_MAX, OPERATIONS_MAX, SAMPLES_MAX, Probe
from splitinfer.codec.klt import Layout, Sensitivity
from splitinfer.model import Array, Tensors

Tail = Callable[[Tensors], Tensors]

MAP = Layout((4, 8, 8), 0, (8, 8))
VECTOR = Layout((4,), 0, (1, 1))


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def ask(pool: Executor) -> Callable[..., Sensitivity]:
    def ask(layout: Layout, tail: Tail, samples: list[Tensors] | None = None, **fields: object) -> Sensitivity:
        probe = Probe("x", layout, samples or drawn(layout), tail, True, 1000, pool)
        return replace(probe, **fields).measure()

    return ask


def drawn(layout: Layout, count: int = 32, **others: Array) -> list[Tensors]:
    shape = tuple(dim or 16 for dim in layout.dims)
    return [{"x": np.random.default_rng(i).normal(size=(1, *shape)).astype(np.float32), **others} for i in range(count)]


def linear(weights: Array) -> Tail:
    """Three numbers from each place: not a classifier's scores, since there are three axes."""

    def tail(tensors: Tensors) -> Tensors:
        return {"y": np.einsum("oc,nc...->no...", weights, tensors["x"]).astype(np.float32)}

    return tail


def alike(found: Array, expected: Array) -> float:
    """Cosine of the angle between matrices."""
    return float((found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected))


def test_of_a_linear_tail_the_channel_matrix_is_its_square(ask: Callable[..., Sensitivity]) -> None:
    weights = np.random.default_rng(5).normal(size=(3, 4)) * [1, 2, 0.1, 0.5]
    found = ask(MAP, linear(weights))
    assert found.layout == MAP
    assert np.allclose(found.channels, found.channels.T)
    assert np.linalg.eigvalsh(found.channels).min() > -1e-9
    assert alike(found.channels, weights.T @ weights) > 0.999


def test_a_channel_that_nobody_reads_does_not_matter(ask: Callable[..., Sensitivity]) -> None:
    found = ask(MAP, linear(np.array([[1.0, 0, 2, 0]])))
    assert found.channels[1, 1] < 1e-6 * found.channels[2, 2]
    assert found.channels[2, 2] == pytest.approx(4 * found.channels[0, 0], rel=1e-3)
    assert found.channels[0, 2] == pytest.approx(2 * found.channels[0, 0], rel=1e-3)


def test_many_channels_are_asked_in_some_directions(ask: Callable[..., Sensitivity]) -> None:
    layout = Layout((200, 3, 3), 0, (3, 3))
    weights = np.zeros((5, 200))
    weights[range(5), range(5)] = 10
    samples = drawn(layout)
    for sample in samples:
        sample["x"][:, :20] *= 10  # where they vary most
    found = ask(layout, linear(weights), samples).channels
    diagonal = np.diag(found)
    assert diagonal[:5].min() > 20 * diagonal[5:].max()
    assert np.linalg.eigvalsh(found).min() > -1e-9 * np.trace(found)
    assert DIRECTIONS_MAX < 200


def mean(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"].mean(axis=(2, 3))[:, None]}


def test_where_the_plane_is_averaged_the_constant_matters_most(ask: Callable[..., Sensitivity]) -> None:
    found = ask(MAP, mean).frequencies
    assert found.shape == (8, 8)
    assert found.mean() == pytest.approx(1)
    assert (found > 0).all()
    assert found[0, 0] > 30 * np.delete(found.ravel(), 0).max()


def test_where_differences_of_neighbours_are_taken_high_frequencies_matter_most(ask: Callable[..., Sensitivity]) -> None:
    found = ask(MAP, lambda tensors: {"y": np.diff(np.diff(tensors["x"], axis=2), axis=3)}).frequencies
    assert found[0, 0] < 0.1 * found[4, 4] < found[7, 7]


def test_where_every_place_is_an_answer_all_frequencies_matter_alike(ask: Callable[..., Sensitivity]) -> None:
    found = ask(MAP, linear(np.eye(4))).frequencies
    assert found.max() < 1.3 * found.min()


def test_a_vector_has_one_frequency(ask: Callable[..., Sensitivity]) -> None:
    assert ask(VECTOR, linear(np.eye(4))).frequencies.tolist() == [[1.0]]


@pytest.mark.parametrize("what", ["integers", "nothing moves", "not finite", "nothing", "other shapes"])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_where_nothing_can_be_told_all_values_matter_alike(ask: Callable[..., Sensitivity], what: str) -> None:
    random = np.random.default_rng(0)
    tails: dict[str, Tail] = {
        "integers": lambda tensors: {"y": (tensors["x"].sum(axis=(2, 3)) > 0).astype(np.int64)},
        "nothing moves": lambda tensors: {"y": np.ones((len(tensors["x"]), 1, 3), np.float32)},
        "not finite": lambda tensors: {"y": np.full((len(tensors["x"]), 1, 3), np.nan, np.float32)},
        "nothing": lambda tensors: {},
        "other shapes": lambda tensors: {"y": np.ones((1, int(random.integers(1, 1 << 30)) % 97 + 1, 1), np.float32)},
    }
    found = ask(MAP, tails[what], stacks=False)
    assert np.array_equal(found.channels, np.eye(4))
    assert np.array_equal(found.frequencies, np.ones((8, 8)))


def test_where_only_large_changes_move_anything_frequencies_are_still_numbers(ask: Callable[..., Sensitivity]) -> None:
    found = ask(MAP, lambda tensors: {"y": np.rint(tensors["x"].mean(axis=(2, 3), keepdims=True) * 20)})
    assert np.isfinite(found.channels).all()
    assert np.isfinite(found.frequencies).all()
    assert (found.frequencies > 0).all()


def test_scores_of_a_classifier_count_beside_the_others_only(ask: Callable[..., Sensitivity]) -> None:
    """What is added to all scores changes no answer."""
    weights = np.array([[1.0, 0, 5, 0], [-1, 1, 5, 0], [0, -1, 5, 0]])

    def tail(tensors: Tensors) -> Tensors:
        return {"y": (tensors["x"].mean(axis=(2, 3)) @ weights.T).astype(np.float32)}

    found = np.diag(ask(MAP, tail).channels)
    assert found[2] < 1e-3 * found[:2].min()
    assert found[3] < 1e-6 * found[:2].min()

    def shares(tensors: Tensors) -> Tensors:
        scores = np.exp(tail(tensors)["y"])
        return {"y": scores / scores.sum(axis=1, keepdims=True)}

    of_shares = np.diag(ask(MAP, shares).channels)
    assert of_shares[2] < 1e-3 * of_shares[:2].min()
    assert alike(of_shares[:2], found[:2]) > 0.999


def test_stacks_and_single_runs_agree(ask: Callable[..., Sensitivity]) -> None:
    tail = linear(np.random.default_rng(1).normal(size=(3, 4)))
    together, one_by_one = ask(MAP, tail, stacks=True), ask(MAP, tail, stacks=False)
    assert np.allclose(together.channels, one_by_one.channels, rtol=1e-4)
    assert np.allclose(together.frequencies, one_by_one.frequencies, rtol=1e-4)


def test_asking_twice_gives_the_same(ask: Callable[..., Sensitivity]) -> None:
    tail = linear(np.random.default_rng(1).normal(size=(3, 4)))
    first, second = ask(MAP, tail), ask(MAP, tail)
    assert np.array_equal(first.channels, second.channels)
    assert np.array_equal(first.frequencies, second.frequencies)


def test_samples_may_differ_in_length(ask: Callable[..., Sensitivity]) -> None:
    layout = Layout((None, 4), 1, (8, 1))
    samples: list[Tensors] = [{"x": np.random.default_rng(i).normal(size=(1, 5 + i, 4)).astype(np.float32)} for i in range(12)]
    weights = np.array([[1.0, 0, 3, 0]])
    found = ask(layout, lambda tensors: {"y": (tensors["x"] @ weights.T).astype(np.float32)}, samples, stacks=False)
    assert alike(found.channels, weights.T @ weights) > 0.99


def test_what_else_crosses_goes_along_unchanged(ask: Callable[..., Sensitivity]) -> None:
    other = np.arange(6, dtype=np.int64).reshape(1, 6)
    seen: list[Array] = []

    def tail(tensors: Tensors) -> Tensors:
        seen.append(tensors["ids"])
        return linear(np.eye(4))(tensors)

    ask(MAP, tail, drawn(MAP, ids=other))
    assert all((ids == other).all() for ids in seen)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tail_gets_tensors_of_its_own_kind(ask: Callable[..., Sensitivity], dtype: str) -> None:
    samples: list[Tensors] = [{"x": sample["x"].astype(dtype)} for sample in drawn(MAP)]
    seen: set[str] = set()

    def tail(tensors: Tensors) -> Tensors:
        seen.add(tensors["x"].dtype.name)
        return mean(tensors)

    ask(MAP, tail, samples)
    assert seen == {dtype}


@pytest.mark.parametrize("operations", [1, int(OPERATIONS_MAX / 200), int(OPERATIONS_MAX)])
def test_a_dear_tail_is_asked_for_fewer_samples(ask: Callable[..., Sensitivity], operations: int) -> None:
    runs: list[int] = []

    def tail(tensors: Tensors) -> Tensors:
        runs.append(len(tensors["x"]))
        return mean(tensors)

    ask(MAP, tail, drawn(MAP, 64), operations=operations)
    bands = sum(low < 10 for low in sensitivity.BANDS)  # distances of a block of 8 x 8 go up to 9.9
    of_channels, of_bands = 1 + 4, bands * (1 + sensitivity.BAND_PATTERNS)
    least = 2 * (of_channels + of_bands)
    most = SAMPLES_MAX * of_channels + sensitivity.BAND_SAMPLES_MAX * of_bands
    assert least <= sum(runs) <= most
    assert sum(runs) * operations <= max(2.5 * OPERATIONS_MAX, least * operations)
    assert (sum(runs) == most) == (operations == 1)
    assert (sum(runs) == least) == (operations == OPERATIONS_MAX)
    assert max(runs) <= 32
