"""What counts as an answer, how many changed, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build.answers import Judge, answers, differs
from splitinfer.build.bounds import paired_bound, upper_bound
from splitinfer.build.check import difference
from splitinfer.errors import InvalidInput

LOGITS = {"y": np.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.0, 0.1, 0.2], [1.0, 0.0, 0.0]], np.float32)}


def changed(*rows: int) -> dict:
    logits = LOGITS["y"].copy()
    logits[list(rows)] = np.roll(logits[list(rows)], 1, axis=1)
    return {"y": logits}


@pytest.mark.parametrize(
    ("wrong", "n", "bound"),
    [(0, 300, 1 - 0.05 ** (1 / 300)), (0, 1, 0.95), (3, 3, 1.0), (1, 10, 0.39416), (5, 100, 0.10225), (10, 32, 0.47214)],
)
def test_the_bound_has_the_known_values(wrong, n, bound):
    assert upper_bound(wrong, n) == pytest.approx(bound, abs=2e-5)


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_above_the_estimate_and_grows_with_what_changed(pair):
    wrong, n = pair
    assert wrong / n < upper_bound(wrong, n) or wrong == n
    assert upper_bound(wrong, n) <= upper_bound(min(n, wrong + 1), n)


def test_agreement_counts_answers_that_differ():
    loss, bound = Judge([LOGITS], [4]).loss([changed(1, 3)])
    assert (loss, bound) == (0.5, upper_bound(2, 4))


def test_accuracy_counts_what_is_lost_less_what_is_won():
    judge = Judge([LOGITS], [4], labels=np.array([1, 0, 2, 1]))
    assert judge.loss([changed(0)]) == (0.25, upper_bound(1, 4))
    assert judge.loss([changed(0, 3)]) == (0.0, paired_bound(1, 1, 4))


def test_a_metric_is_bounded_by_resampling():
    judge = Judge([LOGITS], [4], np.zeros(4), metric=lambda outputs, labels: float(outputs["y"].max(axis=1).mean()))
    loss, bound = judge.loss([{"y": LOGITS["y"] * np.float32(0.5)}])
    assert loss == pytest.approx(0.325)
    assert loss <= bound <= 0.5


def test_the_answer_is_the_largest_of_the_first_float_output():
    mixed = {"count": np.arange(4), **LOGITS}
    assert answers(mixed, 4).tolist() == [1, 0, 2, 0]


def test_one_number_an_item_must_move_to_be_another_answer():
    wanted = np.array([1.0, -2.0, 0.5], np.float32)
    got = wanted + np.array([0.01, 0.03, np.nan], np.float32)
    assert differs([got], [wanted]).tolist() == [False, True, True]
    assert differs([got[2:], got[:2]], [wanted[2:], wanted[:2]]).tolist() == [True, False, True]  # runs share one scale


def test_integers_must_be_equal():
    assert differs([np.array([[1, 2], [3, 4]])], [np.array([[1, 2], [3, 5]])]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("output", "answer"),
    [(np.float32(3), [3.0]), (np.array([0.1, 0.7, 0.2]), [1]), (np.zeros((0, 4)), [[]]), (np.array([5, 6, 7]), [[5, 6, 7]])],
)
def test_what_has_no_row_a_sample_is_one_answer(output, answer):
    assert answers({"y": np.asarray(output)}, 2).tolist() == answer


def test_another_number_of_finds_is_another_answer():
    found = [{"boxes": np.ones((n, 4), int)} for n in (2, 0, 3)]
    judge = Judge(found, [1, 1, 1])
    assert judge.loss(found)[0] == 0
    assert judge.loss([found[1], *found[1:]]) == (1 / 3, upper_bound(1, 3))
    assert judge.n == 3


@pytest.mark.parametrize("labels", [np.zeros(4), np.zeros((2, 1))])
def test_labels_need_one_answer_each(labels):
    runs = [{"y": np.zeros((2, 3))}] if labels.ndim > 1 else [{"y": np.float64(1)}] * 2
    with pytest.raises(InvalidInput, match="do not go in pairs"):
        Judge(runs, [2] * len(runs), labels)


def test_a_metric_needs_rows_of_every_output():
    runs = [{"y": np.zeros((2, 3)), "best": np.float64(1)}]
    with pytest.raises(InvalidInput, match="do not go in pairs"):
        Judge(runs, [2], np.zeros(2), metric=lambda outputs, labels: 0.0)


@pytest.mark.parametrize(
    ("got", "wanted", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], (0.0, 0.0)),
        ([1.0, 2.5], [1.0, 2.0], (0.5, 0.25)),
        ([np.inf, 1.0], [np.inf, 1.0], (0.0, 0.0)),
        ([np.nan, 1.0], [np.nan, 1.5], (0.5, 1 / 3)),
        ([np.inf, 1.0], [0.0, 1.0], (np.inf, np.inf)),
        ([0.0, 0.0], [0.0, 0.0], (0.0, 0.0)),
        ([0.1, 0.0], [0.0, 0.0], (0.1, np.inf)),
        ([1.0], [1.0, 1.0], (np.inf, np.inf)),
    ],
)
def test_a_difference_is_measured_against_the_largest_value(got, wanted, error):
    assert difference({"y": np.array(got)}, {"y": np.array(wanted)}) == pytest.approx(error)


def test_another_set_of_outputs_is_infinitely_different():
    assert difference({"y": np.zeros(1)}, {"z": np.zeros(1)}) == (np.inf, np.inf)
