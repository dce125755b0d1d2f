"""What a cloud says of itself, held against the device's own clock."""

from __future__ import annotations

from math import inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.estimate import Load


def test_an_answer_that_takes_what_was_predicted_says_nothing() -> None:
    load = Load().heard(10.0, 1.0, 0.0)
    assert load.answered(100.0, 100.0, 0.0) == load
    assert load.answered(150.0, 100.0, 0.0) == load, "a bad moment of the link"
    assert load.answered(5.0, 100.0, 0.0) == load


def test_what_nothing_explains_is_remembered_and_half_of_it_each_time() -> None:
    load = Load().answered(3_000.0, 100.0, 0.0)
    assert 1_000.0 < load.unexplained_ms < 1_500.0
    again = load.answered(3_000.0, 100.0 + load.unexplained_ms, 0.0)
    assert load.unexplained_ms < again.unexplained_ms < 2_900.0
    assert again.queue_ms == load.queue_ms == 0.0


def test_it_fades_and_honest_answers_forget_it_sooner() -> None:
    load = Load().answered(3_000.0, 100.0, 0.0)
    assert load.at(30_000.0).unexplained_ms == pytest.approx(load.unexplained_ms / 2)
    honest = load
    for step in range(1, 6):
        honest = honest.answered(100.0, 100.0 + honest.unexplained_ms, step * 200.0)
    assert honest.unexplained_ms < 0.1 * load.at(1_000.0).unexplained_ms


def test_what_a_server_says_of_itself_changes_nothing_of_it() -> None:
    load = Load().answered(3_000.0, 100.0, 0.0)
    assert load.heard(0.0, 0.01, 0.0).unexplained_ms == load.unexplained_ms


ANY = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 1e300]) | st.floats(0.0, 1e5)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), ANY, st.none() | ANY, st.floats(0.0, 1e6)), max_size=30))
def test_nothing_that_is_told_makes_it_anything_but_a_number(story: list[tuple[bool, float, float | None, float]]) -> None:
    load, now_ms = Load(), 0.0
    for said, first, second, gap_ms in story:
        now_ms += gap_ms
        load = load.heard(first, second, now_ms) if said else load.answered(first, 100.0 if second is None else second, now_ms)
        for value in (load.queue_ms, load.tail_scale, load.unexplained_ms):
            assert isfinite(value)
            assert value >= 0.0


def test_a_link_that_is_back_explains_what_was_not() -> None:
    doubted = Load(queue_ms=3.0).answered(900.0, 80.0, 0.0)
    assert doubted.unexplained_ms > 100.0
    assert doubted.reconnected().unexplained_ms == 0.0
    assert doubted.reconnected().queue_ms == doubted.queue_ms
