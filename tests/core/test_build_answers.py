"""What counts as an answer, how many changed, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from splitinfer.build.answers import Judge, answers, differs
from splitinfer.build.bounds import paired_bound, share_bound, upper_bound
from splitinfer.build.check import difference
from splitinfer.errors import InvalidInput

LOGITS = {"y": np.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.0, 0.1, 0.2], [1.0, 0.0, 0.0]], np.float32)}


def changed(*rows: int) -> dict:
    logits = LOGITS["y"].copy()
    logits[list(rows)] = np.roll(logits[list(rows)], 1, axis=1)
    return {"y": logits}


def test_agreement_counts_answers_that_differ():
    loss, bound = Judge([LOGITS], [4]).loss([changed(1, 3)])
    assert (loss, bound) == (0.5, upper_bound(2, 4))


def test_accuracy_counts_what_is_lost_less_what_is_won():
    judge = Judge([LOGITS], [4], labels=np.array([1, 0, 2, 1]))
    assert judge.loss([changed(0)]) == (0.25, upper_bound(1, 4))
    assert judge.loss([changed(0, 3)]) == (0.0, paired_bound(1, 1, 4))


def test_a_group_counts_as_one():
    """Four crops: three of one photo, one of another."""
    crops = Judge([LOGITS], [4], group_of=np.array(["a", "a", "a", "b"]))
    assert (crops.n, crops.groups) == (4, 2)
    loss, bound = crops.loss([changed(0, 1, 2)])
    assert (loss, bound) == (0.5, upper_bound(1, 2))
    third = np.array([1 / 3, 0.0])
    assert crops.loss([changed(0)]) == (pytest.approx(1 / 6), pytest.approx(share_bound(third)))


def test_a_group_counts_as_one_with_labels():
    crops = Judge([LOGITS], [4], labels=np.array([1, 0, 2, 0]), group_of=np.array([7, 7, 7, 3]))
    assert crops.loss([changed(3)]) == (0.5, paired_bound(1, 0, 2))


def test_the_divergence_of_a_group_is_the_mean_of_its_samples():
    one = Judge([LOGITS], [4]).divergence([changed(0)])
    grouped = Judge([LOGITS], [4], group_of=np.array([0, 1, 1, 1])).divergence([changed(0)])
    assert one > 0
    assert grouped == pytest.approx(2 * one)


def mean_of_the_largest(outputs, labels):
    return float(outputs["y"].max(axis=1).mean())


def test_a_metric_is_bounded_by_resampling():
    judge = Judge([LOGITS], [4], np.zeros(4), metric=mean_of_the_largest)
    loss, bound = judge.loss([{"y": LOGITS["y"] * np.float32(0.5)}])
    assert judge.name == "mean_of_the_largest"
    assert loss == pytest.approx(0.325)
    assert loss <= bound <= 0.5


def test_a_metric_without_labels_is_given_what_the_uncut_model_says():
    def alike(outputs, wanted):
        return float((outputs["y"] == wanted["y"]).mean())

    judge = Judge([LOGITS], [4], metric=alike)
    assert judge.loss([LOGITS]) == (0, 0)
    assert judge.loss([changed(0)])[0] == pytest.approx(0.25, abs=0.1)


def test_a_metric_is_resampled_group_by_group():
    seen = set()

    def sizes(outputs, labels):
        seen.add(
            tuple(np.unique(labels, return_counts=True)[1] // np.array([3 if label == 5 else 1 for label in np.unique(labels)]))
        )
        return 0.0

    groups = np.array([5, 5, 5, 1])
    Judge([LOGITS], [4], groups, metric=sizes, group_of=groups).loss([LOGITS])
    assert seen == {(1, 1), (2,)}  # never a part of a photo


def test_finds_of_any_number_are_given_to_a_metric_one_by_one():
    found = [{"boxes": np.ones((n, 4))} for n in (2, 0, 3)]

    def recall(outputs, wanted):
        return sum(len(boxes) for boxes in outputs["boxes"]) / max(1, sum(len(boxes) for boxes in wanted["boxes"]))

    judge = Judge(found, [1, 1, 1], metric=recall)
    assert judge.loss([found[1], *found[1:]])[0] == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("metric", "says"),
    [(lambda outputs, labels: np.nan, "gave nan"), (lambda outputs, labels: outputs["x"], "failed: KeyError: 'x'")],
)
def test_a_metric_that_does_not_work_is_refused_at_once(metric, says):
    with pytest.raises(InvalidInput, match=says):
        Judge([LOGITS], [4], metric=metric)


def test_resamples_without_a_score_are_left_out():
    """Such as those with one class only."""

    def needs_both(outputs, labels):
        return float(outputs["y"].mean()) if len(set(labels)) == 2 else np.nan

    judge = Judge([LOGITS], [4], np.array([0, 1, 0, 1]), metric=needs_both)
    assert judge.loss([LOGITS]) == (0, 0)
    alone = Judge([LOGITS], [4], np.array([0, 1, 1, 1]), metric=lambda outputs, labels: 1.0 if 0 in labels else np.nan)
    assert alone.loss([LOGITS]) == (0, 0)


def test_a_metric_that_has_no_score_for_most_resamples_needs_more_samples():
    judge = Judge([LOGITS], [4], np.arange(4), metric=lambda outputs, labels: 1.0 if len(set(labels)) == 4 else np.nan)
    with pytest.raises(InvalidInput, match="give more samples"):
        judge.loss([LOGITS])


def test_a_plan_without_a_score_scores_nothing():
    judge = Judge([LOGITS], [4], metric=lambda outputs, wanted: 0.75 if outputs["y"].any() else np.nan)
    assert judge.loss([{"y": np.zeros_like(LOGITS["y"])}]) == (0.75, 0.75)


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
