"""The link and the device's speed, from what was measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import exp, isfinite, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.estimate import Estimate, LiveProfile, Load
from splitinfer.events import Transferred
from splitinfer.model import Digest
from splitinfer.plan import ASSUMED_UPLINK, Plan, Profile, Uplink


def transfer(nbytes: int, rate_bps: float, rtt_ms: float) -> Transferred:
    return Transferred(nbytes, rtt_ms + 8e3 * nbytes / rate_bps)


def fed(transfers: list[Transferred], estimate: Estimate | None = None, start_ms: float = 0.0) -> tuple[Estimate, float]:
    """After one transfer every 200 ms; the estimate and the time."""
    estimate, now_ms = estimate or Estimate(), start_ms
    for each in transfers:
        now_ms += each.elapsed_ms + 200.0
        estimate = estimate.observe(each, now_ms)
    return estimate, now_ms


STEADY = [transfer(n, 10e6, 20.0) for n in (256, 16_384, 100_000, 200_000, 100_000) * 3]
"""A link of 10 Mbit/s and 20 ms, known well."""


def link(estimate: Estimate, now_ms: float) -> Uplink:
    known = estimate.uplink(now_ms)
    assert known is not None
    return known


def expected_ms(known: Uplink, nbytes: int) -> float:
    return known.rtt_ms + 8e3 * nbytes / known.rate_bps


def test_nothing_measured_is_unknown_not_zero() -> None:
    assert Estimate().uplink(1e6) is None
    assert exp(Estimate().log_rate) == pytest.approx(ASSUMED_UPLINK.rate_bps)
    assert sqrt(Estimate().rate_variance) == ASSUMED_UPLINK.spread


@pytest.mark.parametrize(("rate_bps", "rtt_ms"), [(40e6, 6.0), (6e6, 50.0), (0.5e6, 100.0), (100e6, 2.0)])
def test_transfers_of_different_sizes_tell_delay_and_rate_apart(rate_bps: float, rtt_ms: float) -> None:
    sizes = [256, 16_384, 100_000, 2_000, 50_000, 256, 200_000, 30_000] * 3
    known = link(*fed([transfer(n, rate_bps, rtt_ms) for n in sizes]))
    assert known.rate_bps == pytest.approx(rate_bps, rel=0.05)
    assert known.rtt_ms == pytest.approx(rtt_ms, rel=0.25)
    assert known.doubt is not None
    assert known.doubt < 0.3


def test_the_delay_is_not_blamed_on_the_rate() -> None:
    estimate, now_ms = fed([transfer(n, 20e6, 50.0) for n in (10_000, 40_000, 10_000, 120_000) * 4])
    naive_bps = 8e3 * 10_000 / transfer(10_000, 20e6, 50.0).elapsed_ms
    assert naive_bps < 2e6
    assert link(estimate, now_ms).rate_bps == pytest.approx(20e6, rel=0.1)


def test_small_transfers_leave_the_rate_open() -> None:
    small, now_ms = fed([transfer(500, 20e6, 50.0)] * 20)
    large, _ = fed([transfer(200_000, 20e6, 50.0)] * 20)
    assert link(small, now_ms).spread > 2 * link(large, now_ms).spread
    assert link(small, now_ms).rtt_ms == pytest.approx(50.0, rel=0.05)


def test_a_day_of_tiny_transfers_leaves_the_rate_open_but_bounded() -> None:
    estimate, now_ms = fed([Transferred(64, 20.0)] * 20_000)
    assert link(estimate, now_ms).spread < 1.5
    estimate, now_ms = fed([transfer(n, 2e6, 20.0) for n in (50_000, 256, 50_000)], estimate, now_ms)
    assert link(estimate, now_ms).rate_bps == pytest.approx(2e6, rel=0.2)


def test_uncertainty_grows_while_nothing_is_measured_but_not_for_ever() -> None:
    estimate, now_ms = fed(STEADY)
    spreads = [link(estimate, now_ms + idle_ms).spread for idle_ms in (0, 1_000, 5_000, 60_000, 3_600_000)]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.3
    assert spreads[3] == spreads[4] < 1.0


def test_one_stall_does_not_destroy_the_estimate() -> None:
    estimate, now_ms = fed(STEADY)
    estimate, now_ms = fed([Transferred(100_000, 20_000.0)], estimate, now_ms)
    assert link(estimate, now_ms).rate_bps > 5e6
    estimate, now_ms = fed(STEADY[:4], estimate, now_ms)
    assert link(estimate, now_ms).rate_bps == pytest.approx(10e6, rel=0.1)


@pytest.mark.parametrize("after_bps", [1e6, 100e6])
def test_a_silent_change_of_the_link_is_followed_within_a_few_transfers(after_bps: float) -> None:
    estimate, now_ms = fed(STEADY)
    estimate, now_ms = fed([transfer(100_000, after_bps, 20.0)] * 6, estimate, now_ms)
    assert expected_ms(link(estimate, now_ms), 100_000) == pytest.approx(transfer(100_000, after_bps, 20.0).elapsed_ms, rel=0.1)
    estimate, now_ms = fed([transfer(n, after_bps, 20.0) for n in (256, 16_384, 200_000)], estimate, now_ms)
    assert link(estimate, now_ms).rate_bps == pytest.approx(after_bps, rel=0.3)


def test_a_new_network_is_believed_at_once() -> None:
    known, now_ms = fed(STEADY)
    slow = transfer(100_000, 1e6, 50.0)
    told, later_ms = fed([slow], known.network_changed(), now_ms)
    untold, _ = fed([slow], known, now_ms)
    assert link(known.network_changed(), now_ms).rate_bps == pytest.approx(link(known, now_ms).rate_bps, rel=0.02)
    assert link(known.network_changed(), now_ms).spread > 0.95
    assert expected_ms(link(told, later_ms), 100_000) > 0.5 * slow.elapsed_ms
    assert expected_ms(link(untold, later_ms), 100_000) < 0.25 * slow.elapsed_ms


def test_the_first_transfer_of_a_connection_counts_less() -> None:
    slow = Transferred(50_000, 400.0)
    first, now_ms = fed([replace(slow, first=True)])
    later, _ = fed([slow])
    assert link(first, now_ms).rate_bps > link(later, now_ms).rate_bps
    assert link(first, now_ms).spread > link(later, now_ms).spread


def test_a_broken_transfer_is_a_bound_and_counts_only_where_it_is_violated() -> None:
    estimate, now_ms = fed(STEADY)

    def after(broken: Transferred) -> float:
        return link(estimate.observe(broken, now_ms), now_ms).rate_bps

    before = link(estimate, now_ms).rate_bps
    assert after(Transferred(20_000, 50.0, complete=False, attempted_bytes=500_000)) == before
    assert after(Transferred(0, 500.0, complete=False, attempted_bytes=100_000)) < 0.9 * before
    assert after(Transferred(10_000, 500.0, complete=False, attempted_bytes=1_000_000)) < 0.9 * before
    assert after(Transferred(400_000, 100.0, complete=False, attempted_bytes=1_000_000)) > 1.1 * before


def test_broken_transfers_alone_lower_the_estimate_until_it_agrees_with_them() -> None:
    estimate, now_ms = fed(STEADY)
    assert expected_ms(link(estimate, now_ms), 150_000) < 200.0
    estimate, now_ms = fed([Transferred(0, 600.0, complete=False, attempted_bytes=150_000)] * 6, estimate, now_ms)
    assert expected_ms(link(estimate, now_ms), 150_000) > 550.0
    assert link(estimate, now_ms).rtt_ms == pytest.approx(20.0, rel=0.2)


def test_with_noise_the_spread_says_how_wrong_it_is() -> None:
    rng = random.Random(5)
    inside, total = 0, 0
    estimate, now_ms, log_rate = Estimate(), 0.0, log(8e6)
    for step in range(600):
        log_rate += rng.gauss(0.0, 0.1)
        log_rate = min(max(log_rate, log(1e6)), log(50e6))
        nbytes = int(exp(rng.uniform(log(5e3), log(3e5))))
        each = transfer(nbytes, exp(log_rate + rng.gauss(0.0, 0.2)), 30.0 + rng.random() * 4)
        if step > 20:
            known = link(estimate, now_ms + 200)
            bound_ms = known.rtt_ms + 8e3 * nbytes / known.rate_bps * exp(1.28 * known.spread)
            inside, total = inside + (each.elapsed_ms <= bound_ms), total + 1
        now_ms += 200 + each.elapsed_ms
        estimate = estimate.observe(each, now_ms)
    assert 0.85 <= inside / total <= 0.99


REAL = st.floats(allow_nan=True, allow_infinity=True)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(-1, 2**63), REAL, st.booleans(), st.booleans(), st.none() | st.integers(-1, 2**63)), max_size=20
    )
)
def test_no_report_makes_the_estimate_anything_but_finite(reports: list[tuple[int, float, bool, bool, int | None]]) -> None:
    estimate = Estimate()
    for step, (nbytes, elapsed_ms, complete, first, attempted) in enumerate(reports):
        estimate = estimate.observe(Transferred(nbytes, elapsed_ms, complete, first, attempted), step * 100.0)
        known = estimate.uplink(step * 100.0 + 50)
        if known is not None:
            assert 0 < known.rate_bps < 1e13
            assert 0 < known.rtt_ms < 1e6
            assert known.spread > 0
            assert isfinite(known.spread)


# How busy the cloud is.


def test_load_fades() -> None:
    load = Load().heard(400.0, 3.0, 0.0)
    assert (load.queue_ms, load.tail_scale) == (200.0, 2.0)
    assert load.at(5_000.0).queue_ms == pytest.approx(100.0)
    assert load.at(30_000.0).tail_scale == pytest.approx(1.5)
    assert load.at(1e9) == Load(0.0, 1.0, 1e9)
    assert Load().at(1e9) == Load()


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0])
def test_nonsense_about_the_load_changes_nothing(nonsense: float) -> None:
    load = Load().heard(400.0, 3.0, 0.0)
    assert load.heard(nonsense, nonsense, 0.0) == load


# How fast this device is.

PROFILE = Profile(
    Digest("0" * 64),
    "here",
    "engine",
    segment_ms=(10.0, 20.0, 30.0, None),
    encode_ms={Plan(1, "int8"): 1.0, Plan(2, "int8"): 2.0},
)


def live(times: Sequence[tuple[float | None, ...]], encode_ms: float = 0.0) -> tuple[LiveProfile, list[bool]]:
    profile = LiveProfile(PROFILE)
    return profile, [profile.observe(Plan(1, "int8"), each, encode_ms) for each in times]


def test_noise_leaves_the_profile_alone() -> None:
    rng = random.Random(1)
    profile, moved = live([(10 * rng.uniform(0.95, 1.05), 20.0, 30.0, None) for _ in range(50)], encode_ms=1.02)
    assert not any(moved)
    assert profile.profile is PROFILE


def test_what_did_not_run_changes_with_what_did() -> None:
    profile, moved = live([(20.0, None, None, None)] * 5)
    assert moved == [False] * 4 + [True]
    assert profile.profile.segment_ms == (20.0, 40.0, 60.0, None)
    assert profile.profile.encode_ms == {Plan(1, "int8"): 2.0, Plan(2, "int8"): 4.0}


def test_each_segment_and_each_codec_has_its_own_time() -> None:
    profile, _ = live([(10.0, 60.0, 30.0, None)] * 5, encode_ms=9.0)
    assert profile.profile.segment_ms == (10.0, 60.0, 30.0, None)
    assert profile.profile.encode_ms[Plan(1, "int8")] == 9.0


def test_one_outlier_is_not_a_slow_device() -> None:
    _, moved = live([(10.0, 20.0, 30.0, None)] * 7 + [(900.0, 20.0, 30.0, None)] + [(10.0, 20.0, 30.0, None)] * 7)
    assert not any(moved)


def test_a_device_that_recovers_is_fast_again() -> None:
    profile, _ = live([(50.0, 100.0, 150.0, None)] * 5 + [(10.0, 20.0, 30.0, None)] * 5)
    assert profile.profile.segment_ms == PROFILE.segment_ms


def test_times_that_are_none_are_ignored() -> None:
    _, moved = live([(float("nan"), float("inf"), -1.0, 5.0, 7.0, 8.0)] * 10, encode_ms=float("nan"))
    assert not any(moved)
