"""How sure a loss is. Coverage is summed over all outcomes, not simulated."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splitinfer.build.bounds import drop_bound, paired_bound, samples_needed, share_bound, upper_bound

COUNTS = (0.1, 0.5, 1, 2, 2.9, 3.1, 4.7, 4.8, 6.3, 9.1)
"""Expected numbers of changed answers, some of them just where a bound lets one go."""


@pytest.mark.parametrize(
    ("wrong", "n", "bound"),
    [(0, 300, 1 - 0.05 ** (1 / 300)), (0, 1, 0.95), (3, 3, 1.0), (1, 10, 0.39416), (5, 100, 0.10225), (10, 32, 0.47214)],
)
def test_the_bound_of_a_share_has_the_known_values(wrong, n, bound):
    assert upper_bound(wrong, n) == pytest.approx(bound, abs=2e-5)


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_above_the_estimate_and_grows_with_what_changed(pair):
    wrong, n = pair
    assert wrong / n < upper_bound(wrong, n) or wrong == n
    assert upper_bound(wrong, n) <= upper_bound(min(n, wrong + 1), n)


@pytest.mark.parametrize("n", [20, 32, 100, 300, 600])
def test_the_paired_bound_covers_what_it_says(n):
    bound = cache(lambda lost, won: paired_bound(lost, won, n))
    for lost in COUNTS:
        for won in (0, 0.05, 0.2, 1, 3, 8):
            if won < lost and lost + won < 0.9 * n:
                assert _coverage(n, lost / n, won / n, bound) >= 0.95, (lost, won)


def _coverage(n: int, lost: float, won: float, bound: Callable[[int, int], float]) -> float:
    """How often the bound is no smaller than the true drop. What is rarer than 1e-9 counts as missed."""
    covered = 0.0
    losses = stats.binom.pmf(range(n + 1), n, lost)
    for k in np.nonzero(losses > 1e-9)[0]:
        wins = stats.binom.pmf(range(n - k + 1), n - k, won / (1 - lost))
        covered += losses[k] * sum(
            wins[m] for m in np.nonzero(wins * losses[k] > 1e-9)[0] if bound(int(k), int(m)) >= lost - won
        )
    return covered


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(0, n // 2), st.integers(0, n // 2), st.just(n))))
def test_the_paired_bound_lies_between_the_drop_and_the_bound_that_forgives_nothing(counts):
    lost, won, n = counts
    bound = paired_bound(lost, won, n)
    assert bound >= max(0, lost - won) / n
    assert bound >= upper_bound(0, n) - 1e-12
    if won == 0 or lost >= 3:
        assert bound <= upper_bound(lost, n) * 1.06 + 2e-9


def test_wins_narrow_the_bound():
    assert paired_bound(5, 0, 300) == pytest.approx(upper_bound(5, 300), rel=0.02)
    assert paired_bound(5, 5, 300) < 0.6 * upper_bound(5, 300)


def test_groups_whose_answers_all_agree_are_counted():
    assert share_bound(np.array([0.0, 1.0, 0.0, 0.0])) == upper_bound(1, 4)
    assert drop_bound(np.array([1.0, -1.0, 0.0, 0.0])) == paired_bound(1, 1, 4)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60).map(np.array))
def test_a_bound_of_values_between_is_above_their_mean(values):
    bound = share_bound(values)
    assert values.mean() <= bound + 1e-9
    assert bound <= 1
    assert drop_bound(values - np.floor(values.mean())) >= values.mean() - 1e-9


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("n", [20, 100])
def test_a_bound_of_values_between_covers_what_it_says(share, n):
    """Each group has 4 crops; a group is hard or easy, and its crops change with its own probability."""
    random = np.random.default_rng(3)
    hard = random.random((400, n, 1)) < share
    changed = (random.random((400, n, 4)) < np.where(hard, 0.75, 0.0)).mean(axis=2)
    covered = np.mean([share_bound(values) >= 0.75 * share for values in changed])
    assert covered >= 0.95


def test_values_between_cost_little_where_few_changed():
    assert share_bound(np.array([0.25] + [0.0] * 99)) < upper_bound(1, 100)


@pytest.mark.parametrize(("bound", "n"), [(0.01, 299), (0.05, 59), (0.001, 2995), (0.95, 1)])
def test_so_many_samples_make_sure_of_a_bound(bound, n):
    assert samples_needed(bound) == n
    assert upper_bound(0, n) <= bound + 1e-12
    assert n == 1 or upper_bound(0, n - 1) > bound
