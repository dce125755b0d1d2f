"""The estimate of the link beside its filter: how honest its spread is, what it comes back to, what it remembers."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from math import exp, inf, isfinite, log, nan, sqrt
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.estimate import Belief, Estimate, Harmonic, Prior
from splitinfer.events import LinkChanged, Transferred
from splitinfer.plan import Uplink
from splitinfer.policy import Neurosurgeon, Robust, belief
from splitinfer.scheduler import Scheduler


def transfer(nbytes: int, rate_bps: float, rtt_ms: float) -> Transferred:
    return Transferred(nbytes, rtt_ms + 8e3 * nbytes / rate_bps)


def known(estimate: Belief, now_ms: float) -> Uplink:
    link = estimate.uplink(now_ms)
    assert link is not None
    return link


def settled(rate_bps: float, rtt_ms: float = 30.0, n: int = 40) -> tuple[Estimate, float]:
    estimate, now_ms = Estimate(), 0.0
    for step in range(n):
        each = transfer((256, 100_000, 30_000)[step % 3], rate_bps, rtt_ms)
        now_ms += each.elapsed_ms + 200.0
        estimate = estimate.observe(each, now_ms)
    return estimate, now_ms


# How honest the spread is.

LINKS = {
    "usual": {},
    "calm": {"drift": 0.02, "noise": 0.05},
    "wild": {"drift": 0.2, "noise": 0.5},
    "fast": {"mean_bps": 60e6, "rtt_ms": 8.0},
    "slow": {"mean_bps": 0.7e6, "rtt_ms": 120.0, "jitter_ms": 30.0},
    "rare": {"gap_ms": 2_000.0},
    "one size": {"sizes": (4e4, 4.2e4)},
}


def covered(
    seed: int, *, drift=0.1, noise=0.2, mean_bps=8e6, rtt_ms=30.0, jitter_ms=4.0, gap_ms=200.0, sizes=(1e4, 1e6)
) -> float:
    """Share of transfers that took no longer than the 90 % quantile; ln(rate) is a random walk, drawn back to its mean."""
    rng, estimate, now_ms, log_rate, inside, n = random.Random(seed), Estimate(), 0.0, log(mean_bps), 0, 500
    for step in range(-30, n):
        log_rate += rng.gauss(0.0, drift * sqrt(gap_ms / 200)) + 0.02 * (log(mean_bps) - log_rate)
        nbytes = int(exp(rng.uniform(*map(log, sizes))))
        each = transfer(nbytes, exp(log_rate + rng.gauss(0.0, noise)), rtt_ms + jitter_ms * rng.random())
        now_ms += gap_ms
        link = estimate.uplink(now_ms)
        if step >= 0 and link is not None:
            inside += each.elapsed_ms <= link.rtt_ms + 8e3 * nbytes / link.rate_bps * exp(1.2816 * link.spread)
        now_ms += each.elapsed_ms
        estimate = estimate.observe(each, now_ms)
    return inside / n


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", LINKS)
def test_nine_of_ten_transfers_take_no_longer_than_it_says_of_nine_of_ten(kind: str, seed: int) -> None:
    assert 0.86 <= covered(seed, **LINKS[kind]) <= 0.95


def test_where_it_was_wrong_too_often_it_says_so() -> None:
    def usual_spread(noise: float) -> float:
        rng, estimate, spreads = random.Random(1), Estimate(), []
        for step in range(300):
            rate_bps = 8e6 * exp(rng.gauss(0.0, noise))
            estimate = estimate.observe(transfer((256, 100_000)[step % 2], rate_bps, 30.0), step * 1e3)
            spreads.append(known(estimate, step * 1e3).spread)
        return fmean(spreads[100:])

    calm, usual, wild = map(usual_spread, (0.02, 0.2, 0.7))
    assert 1.5 * calm < usual < wild / 1.5


# What it comes back to.


def test_after_a_while_without_transfers_it_is_the_usual_rate_again() -> None:
    estimate, now_ms = settled(20e6, n=120)
    for _ in range(6):
        now_ms += 1_000.0
        estimate = estimate.observe(transfer(100_000, 2e6, 30.0), now_ms)
    rates = [known(estimate, now_ms + idle_s * 1e3).rate_bps for idle_s in (0, 10, 60, 300, 3_600)]
    assert rates[0] == pytest.approx(2e6, rel=0.2)
    assert rates == sorted(rates)
    assert rates[2] > 2 * rates[0]
    assert 8e6 < rates[-1] < 22e6


def test_one_bad_transfer_hardly_moves_what_is_usual() -> None:
    estimate, now_ms = settled(20e6, n=120)
    after = estimate.observe(transfer(100_000, 0.5e6, 30.0), now_ms + 1e3)
    assert exp(after.home - estimate.home) > 0.9


def test_a_new_connection_begins_with_what_is_usual_and_not_with_how_the_old_one_broke() -> None:
    estimate, now_ms = settled(20e6, n=120)
    broken = estimate
    for step in range(4):
        broken = broken.observe(Transferred(0, 2_000.0, complete=False, attempted_bytes=100_000), now_ms + step * 3e3)
    assert known(broken, now_ms + 1e4).rate_bps < 5e6
    assert known(broken.network_changed(), now_ms + 1e4).rate_bps > 10e6
    assert known(broken.network_changed(), now_ms + 1e4).spread > 0.9


# What it remembers.


def test_a_prior_needs_some_transfers() -> None:
    assert settled(20e6, n=3)[0].prior() is None
    prior = settled(20e6, n=40)[0].prior()
    assert prior is not None
    assert prior.rate_bps == pytest.approx(20e6, rel=0.25)
    assert prior.rtt_ms == pytest.approx(30.0, rel=0.2)


def test_a_network_that_is_known_is_believed_but_not_for_certain() -> None:
    there = Estimate().elsewhere(Prior(3e6, 80.0), 1_000.0)
    link = known(there, 1_000.0)
    assert (link.rate_bps, link.rtt_ms) == pytest.approx((3e6, 80.0))
    assert 0.3 < link.spread < known(Estimate().observe(Transferred(1, 50.0), 0.0), 0.0).spread
    later = there.observe(transfer(100_000, 12e6, 80.0), 2_000.0)
    assert known(later, 2_000.0).rate_bps > 6e6


@pytest.mark.parametrize("prior", [None, Prior(0.0, 50.0), Prior(1e6, -1.0), Prior(nan, 50.0), Prior(1e6, nan)])
def test_a_network_of_which_nothing_is_known_starts_anew(prior: Prior | None) -> None:
    assert settled(20e6)[0].elsewhere(prior, 1e5) == Estimate()


def test_a_prior_of_nonsense_is_bounded() -> None:
    link = known(Estimate().elsewhere(Prior(inf, inf), 0.0), 0.0)
    assert isfinite(link.rate_bps)
    assert isfinite(link.rtt_ms)


def test_the_scheduler_remembers_networks_by_their_names() -> None:
    made, now_ms = Scheduler(Robust(), priors={"cafe": Prior(1e6, 90.0)}), 0.0

    def live(network: str, rate_bps: float, n: int = 30) -> float:
        """Its first belief there."""
        nonlocal now_ms
        made.handle(LinkChanged(True, network=network), now_ms)
        link = made.conditions.uplink
        for step in range(n):
            now_ms += 300.0
            made.handle(transfer((256, 200_000)[step % 2], rate_bps, 30.0), now_ms)
        return link.rate_bps if link else nan

    live("home", 40e6)
    assert live("cafe", 1.2e6) == pytest.approx(1e6)
    assert live("home", 40e6, n=0) == pytest.approx(40e6, rel=0.3)
    assert made.priors["cafe"].rate_bps == pytest.approx(1.2e6, rel=0.3)
    assert made.priors.keys() == {"home", "cafe"}


def test_the_same_network_again_is_a_new_connection_only() -> None:
    made, now_ms = Scheduler(Robust()), 0.0
    made.handle(LinkChanged(True, network="home"), 0.0)
    for step in range(20):
        now_ms = 300.0 * (step + 1)
        made.handle(transfer((256, 200_000)[step % 2], 40e6, 30.0), now_ms)
    before = made.conditions.uplink
    made.handle(LinkChanged(True, network="home"), now_ms)
    after = made.conditions.uplink
    assert before is not None
    assert after is not None
    assert after.rate_bps == pytest.approx(before.rate_bps, rel=0.2)
    assert after.spread > before.spread


# Any report.

ANY = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 1e-300, 1e300]) | st.floats(1e-3, 1e7)
REPORTS = st.builds(
    Transferred,
    st.integers(-1, 2**63) | st.integers(1, 10**6),
    ANY,
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(-1, 2**63),
)
STEPS = st.one_of(
    REPORTS, st.just("changed"), st.none() | st.builds(Prior, ANY | st.floats(1e3, 1e9), ANY | st.floats(1.0, 1e3))
)


@pytest.mark.parametrize("start", [Estimate(), Harmonic()], ids=["ours", "harmonic"])
@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(STEPS, st.floats(0.0, 1e6)), max_size=25))
def test_no_story_leaves_a_number_that_is_none(start: Belief, story: list[tuple[object, float]]) -> None:
    estimate, now_ms = start, 0.0
    for step, gap_ms in story:
        now_ms += gap_ms
        if isinstance(step, Transferred):
            estimate = estimate.observe(step, now_ms)
        elif step == "changed":
            estimate = estimate.network_changed()
        else:
            estimate = estimate.elsewhere(step if isinstance(step, Prior) else None, now_ms)
        values = [getattr(estimate, field.name) for field in fields(estimate)]  # type: ignore[arg-type]
        assert all(isfinite(value) for value in values if isinstance(value, float))
        link = estimate.uplink(now_ms + 10.0)
        if link is not None:
            assert 0 < link.rate_bps < (1e13 if isinstance(start, Estimate) else inf)
            assert 0 <= link.rtt_ms < 1e6  # the rival has it in its rate
            assert 0 <= link.spread < 20
        prior = estimate.prior()
        assert prior is None or (isfinite(prior.rate_bps) and isfinite(prior.rtt_ms))


# The rival's.


def test_the_harmonic_mean_is_of_bytes_over_all_of_the_time() -> None:
    rival = Harmonic()
    assert rival.uplink(0.0) is None
    for rate_bps in (8e6, 2e6):
        rival = rival.observe(Transferred(100_000, 8e8 / rate_bps), 0.0)
    link = known(rival, 0.0)
    assert link.rate_bps == pytest.approx(2 / (1 / 8e6 + 1 / 2e6))
    assert (link.spread, rival.surprised, rival.prior()) == (0.0, False, None)
    assert known(rival, 1e9) == link, "it does not age"


def test_the_harmonic_mean_blames_the_rate_for_the_delay_and_forgets_what_is_old() -> None:
    rival = Harmonic()
    for _ in range(30):
        rival = rival.observe(transfer(20_000, 20e6, 50.0), 0.0)
    assert known(rival, 0.0).rate_bps < 3e6
    for _ in range(5):
        rival = rival.observe(transfer(10**7, 20e6, 50.0), 0.0)
    assert known(rival, 0.0).rate_bps == pytest.approx(20e6, rel=0.02)
    assert rival.network_changed() == rival.elsewhere(Prior(1e6, 1.0), 0.0) == Harmonic()


def test_a_policy_gets_the_estimate_that_it_was_published_with() -> None:
    assert isinstance(belief("neurosurgeon"), Harmonic)
    for name in ("neurosurgeon+kalman", "robust", "thompson", "linucb", "static:0/raw"):
        assert isinstance(belief(name), Estimate)
    made = Scheduler(Neurosurgeon())
    made.handle(Transferred(100_000, 100.0), 1.0)
    assert made.conditions.uplink is not None
    assert made.conditions.uplink.spread == 0.0
    assert replace(made.conditions.uplink, doubt=None) == made.conditions.uplink
