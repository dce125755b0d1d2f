"""One half chooses, the other reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build.halves import Half, check_groups, halves
from splitinfer.errors import InvalidInput


def divided(total: int, groups=None, together: int = 1):
    every = Half({"x": np.arange(total)}, labels=np.arange(total) * 10, groups=None if groups is None else np.asarray(groups))
    return halves(every, together)


def test_without_groups_every_second_sample_reports():
    choosing, reporting = divided(7)
    assert choosing.samples["x"].tolist() == [0, 2, 4, 6]
    assert reporting.samples["x"].tolist() == [1, 3, 5]
    assert reporting.labels.tolist() == [10, 30, 50]
    assert reporting.groups is None


def test_samples_of_a_run_stay_together():
    choosing, reporting = divided(12, together=3)
    assert choosing.samples["x"].tolist() == [0, 1, 2, 6, 7, 8]
    assert reporting.samples["x"].tolist() == [3, 4, 5, 9, 10, 11]


def test_groups_are_dealt_to_the_half_that_has_fewer_samples():
    choosing, reporting = divided(8, ["b", "a", "a", "c", "b", "b", "d", "d"])
    assert choosing.groups.tolist() == ["b", "b", "b", "d", "d"]
    assert reporting.groups.tolist() == ["a", "a", "c"]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1))
def test_no_group_is_divided_and_no_half_is_empty(groups):
    choosing, reporting = divided(len(groups), groups)
    assert not set(choosing.groups) & set(reporting.groups)
    assert len(choosing.groups)
    assert len(reporting.groups)
    largest = max(map(groups.count, set(groups)))
    assert abs(len(choosing.groups) - len(reporting.groups)) <= largest


def test_a_run_is_of_one_group():
    choosing, reporting = divided(6, [1, 1, 2, 2, 1, 1], together=2)
    assert choosing.samples["x"].tolist() == [0, 1, 4, 5]
    assert reporting.samples["x"].tolist() == [2, 3]
    with pytest.raises(InvalidInput, match="2 samples at once"):
        divided(4, [1, 2, 2, 1], together=2)


@pytest.mark.parametrize(
    "groups", [np.arange(3), np.arange(8).reshape(4, 2), np.ones(4) / 2, np.zeros(4, int), np.array(["a"] * 4)]
)
def test_groups_that_do_not_fit_are_refused(groups):
    with pytest.raises(InvalidInput):
        check_groups(groups, 4)


@pytest.mark.parametrize("groups", [np.array([3, 3, 1, 1]), np.array(["a", "b", "a", "b"]), np.arange(4, dtype=np.uint8)])
def test_integers_and_texts_are_groups(groups):
    check_groups(groups, 4)
