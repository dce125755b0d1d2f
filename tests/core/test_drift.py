"""When inputs count as unlike the samples, and for how long lossy plans rest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.estimate import Drift
from splitinfer.estimate.drift import REST_MAX_MS, REST_MS


def after(departed: str, drift: Drift = Drift(), at_ms: float = 0.0) -> Drift:  # noqa: B008
    """Takes in one request a millisecond: "x" = a tensor departed, "." = none did."""
    for index, mark in enumerate(departed):
        drift = drift.saw(mark == "x", at_ms + index)
    return drift


@pytest.mark.parametrize("departed", ["", "x", "xx", "xx......xx", "x.x.x.", "x..." * 20, "." * 50 + "xx"])
def test_some_odd_inputs_are_no_drift(departed: str) -> None:
    assert not after(departed).rests(len(departed))


@pytest.mark.parametrize("departed", ["xxx", "." * 50 + "xxx", "xx.xx", "xx..xx", "xxx......"])
def test_three_in_a_row_or_most_of_them_are(departed: str) -> None:
    assert after(departed).rests(len(departed))


def test_a_rest_ends_by_itself_and_hears_nothing() -> None:
    resting = after("xxx")
    assert after("....xxxxx", resting, 10.0) == resting
    assert resting.rests(2.0 + REST_MS - 1.0)
    assert not resting.rests(2.0 + REST_MS)


def test_on_trial_one_odd_input_is_enough_and_each_rest_is_twice_as_long() -> None:
    drift, now_ms, rests_ms = after("xxx"), 2.0, []
    for _ in range(8):
        rests_ms.append(drift.until_ms - now_ms)
        now_ms = drift.until_ms
        drift = drift.saw(True, now_ms)
        assert drift.rests(now_ms)
    assert rests_ms == [min(REST_MS * 2**k, REST_MAX_MS) for k in range(8)]


def test_some_usual_inputs_end_the_trial_and_more_of_them_forget_it() -> None:
    tried = after("xxx")
    now_ms = tried.until_ms
    assert after(".x", tried, now_ms).rests(now_ms + 1)
    assert not after("..x", tried, now_ms).rests(now_ms + 2)
    assert after("......", tried, now_ms).rest_ms == REST_MS
    assert after("...", tried, now_ms).rest_ms == 2 * REST_MS


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1e6)), max_size=60))
def test_no_story_makes_a_rest_longer_than_the_longest(story: list[tuple[bool, float]]) -> None:
    drift, now_ms = Drift(), 0.0
    for departed, gap_ms in story:
        now_ms += gap_ms
        drift = drift.saw(departed, now_ms)
        assert 0.0 <= drift.share <= 1.0
        assert drift.until_ms <= now_ms + REST_MAX_MS
        assert REST_MS <= drift.rest_ms <= REST_MAX_MS
    assert not drift.rests(now_ms + REST_MAX_MS)
