"""Which plans are worth keeping."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.build.front import pareto
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard

LOSSY = ("half", "half+zstd1", "int8", "int8+zstd1", "int6+zstd1", "int4+zstd1", "jpeg:90", "jpeg:75")


def kept(rows: dict[str, tuple[int, float, float, float]], cut: int = 1) -> set[str]:
    """codec -> bytes, loss, bound, coding ms."""
    scores = {Plan(cut, codec): PlanScore(nbytes, nbytes, loss, bound, 100) for codec, (nbytes, loss, bound, _) in rows.items()}
    profile = Profile("d", "a desk", "some engine", (), encode_ms={Plan(cut, codec): row[3] for codec, row in rows.items()})
    card = pareto(Scorecard("d", scores), profile)
    assert card.dropped == len(rows) - len(card.scores)
    return {plan.codec for plan in card.scores}


def test_a_plan_that_another_beats_or_equals_in_all_is_dropped():
    assert kept({"half": (900, 0.0, 0.03, 0.5), "int8": (500, 0.0, 0.03, 0.1)}) == {"int8"}
    assert kept({"int8": (500, 0.0, 0.03, 0.1), "int4+zstd1": (200, 0.0, 0.03, 0.1)}) == {"int4+zstd1"}


@pytest.mark.parametrize(
    "other",
    [(400, 0.01, 0.04, 0.5), (600, 0.0, 0.03, 0.5), (400, 0.0, 0.03, 0.7), (400, 0.0, 0.04, 0.5)],
    ids=["loses more", "is larger", "is slower", "is less sure"],
)
def test_a_plan_that_is_worse_in_something_drops_none(other):
    assert "half" in kept({"half": (500, 0.0, 0.03, 0.5), "int8": other})


def test_of_equals_the_quickest_stays():
    assert kept({"half": (500, 0.0, 0.03, 2.0), "int8": (500, 0.0, 0.03, 1.0)}) == {"int8"}
    assert len(kept({"half": (500, 0.0, 0.03, 1.0), "int8": (500, 0.0, 0.03, 1.0)})) == 1


def test_times_that_differ_by_the_noise_of_a_clock_are_equal():
    assert kept({"half": (500, 0.0, 0.03, 1.0), "int8": (400, 0.0, 0.03, 1.08)}) == {"int8"}
    assert kept({"half": (500, 0.0, 0.03, 0.01), "int8": (400, 0.0, 0.03, 0.03)}) == {"int8"}


def test_lossless_plans_always_stay():
    assert kept({"raw": (900, 0, 0, 0.1), "shuffle+zstd1": (950, 0, 0, 0.5), "int8": (500, 0, 0, 0.1)}) == {
        "raw",
        "shuffle+zstd1",
        "int8",
    }


def test_a_lossless_plan_drops_what_loses_and_is_no_smaller():
    assert kept({"png": (300, 0, 0, 1.0), "jpeg:90": (400, 0.01, 0.05, 1.0)}, cut=0) == {"png"}


def test_cuts_do_not_compete():
    scores = {Plan(1, "int8"): PlanScore(500, 500, 0, 0.03, 9), Plan(2, "int8"): PlanScore(100, 100, 0, 0.03, 9)}
    assert pareto(Scorecard("d", scores), Profile("d", "", "", ())).scores == scores


rows = st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.1]), st.sampled_from([0.2, 0.3]), st.integers(1, 30))


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from(LOSSY), rows, min_size=1))
def test_what_was_dropped_is_beaten_by_what_was_kept(measured):
    names = kept({codec: (*row[:3], row[3] / 10) for codec, row in measured.items()})
    assert names
    for codec, row in measured.items():
        beaten = [other for other in names - {codec} if all(a <= b for a, b in zip(measured[other][:3], row[:3], strict=True))]
        assert codec in names or beaten
