"""How far outputs are from those of the uncut model."""

from __future__ import annotations

import numpy as np
import pytest

from splitinfer.build.divergence import divergence

SCORES = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]])
MOVED = SCORES + np.array([[0.0, -1.0, 0.5], [0.0, 0.0, 0.0]])


def softmax(scores):
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def test_scores_of_a_classifier_are_compared_by_their_shares():
    p, q = softmax(SCORES), softmax(MOVED)
    assert divergence([MOVED], [SCORES], [2]) == pytest.approx((p * np.log(p / q)).sum(axis=1))


def test_shares_are_taken_as_they_are():
    p, q = softmax(SCORES), softmax(MOVED)
    assert divergence([q], [p], [2]) == pytest.approx(divergence([MOVED], [SCORES], [2]))
    certain = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert np.isfinite(divergence([certain[::-1]], [certain], [2])).all()


def test_a_constant_added_to_scores_changes_nothing():
    assert divergence([SCORES + 5], [SCORES], [2]) == pytest.approx([0, 0], abs=1e-12)


def test_what_is_no_classifier_has_a_squared_error():
    wanted, got = np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[3.0, 4.0], [0.0, 6.0]])
    assert divergence([got], [wanted], [2], classifies=False) == pytest.approx([0, 1 / 25])
    assert divergence([got[:, :1]], [wanted[:, :1]], [2]) == pytest.approx([0, 0])  # one column is no choice
    maps = np.ones((2, 3, 4, 4))
    assert divergence([maps * 1.1], [maps], [2]) == pytest.approx([0.01, 0.01])


def test_runs_are_compared_together():
    wanted = [np.array([[1.0], [1.0]]), np.array([[2.0]])]
    got = [np.array([[1.0], [0.0]]), np.array([[2.0]])]
    assert divergence(got, wanted, [2, 1]) == pytest.approx([0, 0.5, 0])


@pytest.mark.parametrize(
    ("got", "wanted"),
    [(np.ones((1, 3)), np.ones((1, 4))), (np.full((1, 3), np.nan), np.ones((1, 3))), (np.ones((1, 1)), np.zeros((1, 1)))],
    ids=["another shape", "no number", "no size"],
)
def test_what_cannot_be_compared_is_unknown(got, wanted):
    assert divergence([got], [wanted], [1]) is None


def test_nothing_wanted_and_nothing_given_is_the_same():
    assert divergence([np.zeros((1, 1))], [np.zeros((1, 1))], [1]) == pytest.approx([0])
    assert divergence([np.zeros((0, 4)), np.ones((2, 4))], [np.zeros((0, 4)), np.ones((2, 4))], [1, 1]) == pytest.approx([0, 0])
