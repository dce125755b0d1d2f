"""How sure a scorecard is, and how many samples more it takes."""

from __future__ import annotations

import pytest

from splitinfer.build.bounds import paired_bound, upper_bound
from splitinfer.build.certainty import certainty
from splitinfer.plan import Plan, PlanScore, Scorecard


def card(*scores: PlanScore, metric: str = "agreement") -> Scorecard:
    return Scorecard("d", {Plan(at, "half"): score for at, score in enumerate(scores)}, metric)


NOTHING = PlanScore(9, 9, 0.0, upper_bound(0, 32), 32)
LOSSLESS = PlanScore(9, 9, 0.0, 0.0, 32)
SOME = PlanScore(9, 9, 1 / 32, upper_bound(1, 32), 32)


def test_plans_that_changed_nothing_are_counted_and_lossless_ones_are_not():
    sure = certainty(card(NOTHING, LOSSLESS, SOME, NOTHING), 0.01)
    assert (sure.unchanged, sure.draws, sure.grouped) == (2, 32, False)
    assert sure.bound == pytest.approx(0.0894, abs=1e-4)
    assert (sure.wished, sure.needed) == (0.01, 2 * 299)


def test_an_answer_lost_and_one_won_is_not_nothing():
    evened = PlanScore(9, 9, 0.0, paired_bound(1, 1, 32), 32)
    assert certainty(card(evened, metric="accuracy"), 0.01).unchanged == 0


def test_groups_are_the_draws_where_there_are_any():
    sure = certainty(card(PlanScore(9, 9, 0.0, upper_bound(0, 8), 32, groups=8)), 0.05)
    assert (sure.unchanged, sure.draws, sure.grouped) == (1, 8, True)
    assert (sure.bound, sure.needed) == (upper_bound(0, 8), 2 * 59)


@pytest.mark.parametrize("scorecard", [card(), card(PlanScore(9, 9, 0.0, 0.0)), card(NOTHING, metric="f1")])
def test_nothing_is_said_without_samples_or_of_a_metric_of_ones_own(scorecard):
    assert certainty(scorecard, 0.01) is None
