"""What a fresh connection and a sleeping radio add to an upload, and that the rate is not blamed for it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.energy import LTE, RADIOS, WIFI
from splitinfer.estimate import Opening
from splitinfer.estimate.opening import WAKE_MAX_MS, WINDOW_FIRST_BYTES, WINDOW_OPEN_BYTES
from splitinfer.events import LinkChanged, Transferred
from splitinfer.plan import Uplink
from splitinfer.policy import Robust
from splitinfer.scheduler import Scheduler

LINK = Uplink(rate_bps=20e6, spread=0.1, rtt_ms=50.0)
FRESH = replace(LINK, window_bytes=14_480.0)


# Slow start, by hand: a window leaves in 14480 * 8 / 20e6 s = 5.792 ms, its acknowledgement comes 50 ms after its first byte.


@pytest.mark.parametrize(
    ("nbytes", "waited_ms"),
    [
        (1_000, 0.0),
        (14_480, 0.0),
        (14_481, 50 - 5.792),
        (43_440, 50 - 5.792),
        (43_441, (50 - 5.792) + (50 - 11.584)),
        (150_000, (50 - 5.792) + (50 - 11.584) + (50 - 23.168)),
        (1_000_000, (50 - 5.792) + (50 - 11.584) + (50 - 23.168) + (50 - 46.336)),
        (100_000_000, (50 - 5.792) + (50 - 11.584) + (50 - 23.168) + (50 - 46.336)),
    ],
)
def test_slow_start_waits_for_each_window_until_one_hides_the_round_trip(nbytes: int, waited_ms: float) -> None:
    assert FRESH.opening_ms(nbytes) == pytest.approx(waited_ms)


def test_a_slow_link_hides_slow_start_and_a_fast_one_shows_it() -> None:
    assert FRESH.opening_ms(150_000, rate_bps=2e6) == 0.0, "a window takes 58 ms, longer than the round trip"
    assert FRESH.opening_ms(150_000, rate_bps=1e9) > FRESH.opening_ms(150_000) > 0.0
    assert FRESH.opening_ms(150_000, rate_bps=1e9) < 4 * 50.0


def test_a_warm_connection_waits_for_nothing_but_the_radio() -> None:
    assert LINK.opening_ms(1e9) == 0.0
    assert replace(LINK, wake_ms=260.0).opening_ms(1) == 260.0
    assert replace(FRESH, wake_ms=260.0).opening_ms(14_481) == pytest.approx(260 + 50 - 5.792)


# What is believed of the connection.


def uploaded(opening: Opening, *sizes: int) -> Opening:
    for nbytes in sizes:
        opening = opening.took(Transferred(nbytes, 10.0), LINK, None, 0.0)
    return opening


def test_a_connection_is_warm_until_a_fresh_one_is_said() -> None:
    assert Opening().seen(LINK, WIFI, sleeps=False) == LINK
    assert Opening().fresh().seen(LINK, WIFI, sleeps=False).window_bytes == WINDOW_FIRST_BYTES


def test_uploads_open_it_once() -> None:
    opening = uploaded(Opening().fresh(), 20_000)
    assert opening.window_bytes == WINDOW_FIRST_BYTES + 20_000
    assert 0.0 < opening.ms(100_000, LINK, WIFI, slept=False) < Opening().fresh().ms(100_000, LINK, WIFI, slept=False)
    opening = uploaded(opening, int(WINDOW_OPEN_BYTES))
    assert opening.window_bytes is None
    assert uploaded(opening, 1_000_000).window_bytes is None
    assert opening.fresh().window_bytes == WINDOW_FIRST_BYTES


def test_a_radio_that_sleeps_takes_what_is_published_until_it_was_measured() -> None:
    assert Opening().seen(LINK, LTE, sleeps=True).wake_ms == LTE.promotion_ms == 260.0
    assert Opening().seen(LINK, LTE, sleeps=False).wake_ms == 0.0
    assert Opening().seen(LINK, WIFI, sleeps=True).wake_ms == 0.0


@pytest.mark.parametrize("truth_ms", [80.0, 260.0, 900.0])
def test_the_wake_of_this_radio_is_learnt(truth_ms: float) -> None:
    opening = Opening()
    for _ in range(20):
        opening = opening.took(Transferred(20_000, truth_ms + 50.0 + 8.0), LINK, LTE, 0.0)
    assert opening.seen(LINK, LTE, sleeps=True).wake_ms == pytest.approx(truth_ms, rel=0.05)


def test_only_whole_uploads_of_a_radio_that_slept_teach_its_wake() -> None:
    slow = Transferred(20_000, 800.0)
    assert Opening().took(slow, LINK, None, 0.0).wake_ms is None
    assert Opening().took(slow, None, LTE, 0.0).wake_ms is None
    assert Opening().took(replace(slow, complete=False), LINK, LTE, 0.0).wake_ms is None
    assert Opening().took(slow, LINK, WIFI, 0.0).wake_ms is None, "it wakes at once"


def test_slow_start_is_not_taken_for_a_slow_radio() -> None:
    fresh = Opening().fresh()
    took_ms = 50.0 + 8e3 * 60_000 / 20e6 + 260.0 + FRESH.opening_ms(60_000)
    assert fresh.took(Transferred(60_000, took_ms), LINK, LTE, 0.0).wake_ms == pytest.approx(260.0)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**8), st.floats(0.0, 1e9), st.booleans(), st.sampled_from([None, *RADIOS.values()]), st.booleans()
        ),
        max_size=20,
    )
)
def test_whatever_uploads_took_what_they_wait_for_stays_bounded(story) -> None:
    opening = Opening().fresh()
    for nbytes, elapsed_ms, complete, woken, fresh in story:
        opening = opening.fresh() if fresh else opening
        opening = opening.took(Transferred(nbytes, elapsed_ms, complete), LINK, woken, 0.0)
        for radio in RADIOS.values():
            seen = opening.seen(LINK, radio, sleeps=True)
            assert 0.0 <= seen.wake_ms <= max(WAKE_MAX_MS, radio.promotion_ms)
            assert 0.0 <= seen.opening_ms(1e6) < WAKE_MAX_MS + 10 * LINK.rtt_ms
        assert opening.window_bytes is None or WINDOW_FIRST_BYTES <= opening.window_bytes < WINDOW_OPEN_BYTES


# In the scheduler.


def met(nbytes: int, window: float | None, wake_ms: float = 0.0, rate_bps: float = 20e6) -> Transferred:
    """An upload over a link of 20 Mbit/s and 50 ms, as slow start would have it."""
    link = replace(LINK, rate_bps=rate_bps, window_bytes=window, wake_ms=wake_ms)
    return Transferred(nbytes, 50.0 + 8e3 * nbytes / rate_bps + link.opening_ms(nbytes), first=window is not None)


def rate_bps(made: Scheduler) -> float:
    assert made.conditions.uplink is not None
    return made.conditions.uplink.rate_bps


def test_the_first_upload_of_a_fresh_connection_does_not_blacken_the_rate() -> None:
    made, now_ms = Scheduler(Robust()), 0.0
    made.handle(LinkChanged(True), now_ms)
    for nbytes in (150_000, 60_000, 256, 150_000, 60_000, 256):
        now_ms += 500.0
        made.handle(met(nbytes, 14_480.0 if now_ms == 500.0 else None), now_ms)
    before = rate_bps(made)
    assert before == pytest.approx(20e6, rel=0.15)
    for _ in range(3):
        made.handle(LinkChanged(True), now_ms + 400.0)
        now_ms += 1_000.0
        made.handle(met(60_000, 14_480.0), now_ms)
        assert 8e3 * 60_000 / (met(60_000, 14_480.0).elapsed_ms - 50.0) < 5e6, "divided, it looks like 5 Mbit/s"
        assert rate_bps(made) > 0.7 * before


def test_the_very_first_upload_is_soon_made_good() -> None:
    made = Scheduler(Robust())
    made.handle(LinkChanged(True), 0.0)
    made.handle(met(60_000, 14_480.0), 500.0)
    assert rate_bps(made) > 5e6
    for step in range(2, 5):
        made.handle(met(150_000, None), step * 500.0)
    assert rate_bps(made) == pytest.approx(20e6, rel=0.25)


def test_a_radio_that_sleeps_does_not_blacken_the_rate_either() -> None:
    made, now_ms = Scheduler(Robust()), 0.0
    made.handle(LinkChanged(True, radio="lte"), now_ms)
    for nbytes in (150_000, 60_000, 256) * 3:
        now_ms += 1_000.0
        made.handle(met(nbytes, None), now_ms)
    before = rate_bps(made)
    for _ in range(3):
        now_ms += 15_000.0
        made.handle(met(60_000, None, wake_ms=260.0), now_ms)
    assert rate_bps(made) == pytest.approx(before, rel=0.2)


def test_a_policy_sees_that_the_radio_sleeps_and_that_the_connection_is_fresh() -> None:
    made = Scheduler(Robust())
    made.handle(LinkChanged(True, radio="lte"), 0.0)
    made.handle(met(1_000, None), 1_000.0)
    assert made.conditions.uplink is not None
    assert made.conditions.uplink.window_bytes == WINDOW_FIRST_BYTES + 1_000
    assert made.conditions.uplink.wake_ms == 0.0
    made.handle(LinkChanged(True), 13_000.0)
    assert made.conditions.uplink is not None
    assert made.conditions.uplink.wake_ms > 0.0
    assert made.conditions.radio_idle_ms == pytest.approx(12_000.0)
    assert Scheduler(Robust()).conditions.radio_idle_ms < inf
