"""What is believed of the link, of the device's own speed and of its inputs, from what requests measured.

Knows no clock, no socket and no policy: measured times go in, `Uplink` and `Profile` values come out. The link has two
unknowns and every transfer is one equation in them,

    elapsed_ms = rtt_ms + 8e3 * nbytes / rate_bps

so one extended Kalman filter holds both as logarithms: small transfers teach it the delay, large ones the rate, and its
covariance says which of the two is still open. (Dividing bytes by the whole elapsed time blames the rate for the delay.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt
from statistics import median
from typing import Protocol

from splitinfer.plan import ASSUMED_UPLINK, Plan, Profile, Uplink

RATE_DRIFT = 0.08
"""Variance that ln(rate) gains in each second without a transfer (fits LTE, WiFi and 3G recordings)."""
RATE_DRIFT_MAX = 0.5
"""What it gains at most: after some seconds a link is as unknown as after minutes."""
RTT_DRIFT = 0.01
RTT_DRIFT_MAX = 0.2
SHORT_TERM = 0.04
"""Variance of ln(rate) from one transfer to the next while the median stays."""
JITTER_MS = 1.0
JITTER_SHARE = 0.05
"""Standard deviation of the delay: so much, and this share of it."""
NEW_RATE_VARIANCE = 1.0
NEW_RTT_VARIANCE = 0.6
"""Of a link that nobody measured yet."""
VARIANCE_MAX = 2.0
VARIANCE_MIN = 1e-6
"""No link is less known than that (a factor of four either way), and none is known for certain."""
FIRST_VARIANCE = 0.4
"""Slow start and handshake are in the first transfer of a connection: it tells less."""
CLIP = 2.0
"""Innovations beyond this many standard deviations are cut: one stall is not a new link ..."""
SURPRISE_VARIANCE = 1.0
SURPRISE_RTT_VARIANCE = 0.3
"""... but from the second in a row on the link is taken for another one."""
FAR = 0.5
FAR_STEPS = 3
"""An innovation above this (a factor of 1.6) is linearised so often; below it, iterating would only fit the noise."""
WINDOW_BYTES = 32_768
"""Bytes that may be on their way without being acknowledged."""
DRIFT_WEIGHT = 0.25
"""Of the newest request."""
DRIFT_SHARE = 0.5
"""From so many odd requests on inputs are unlike the samples: 0.25, 0.44, 0.58 is the third in a row."""
TRIAL_SHARE = 0.45
"""What is believed after a rest: the next odd request is one too many, the third or a later one is not."""
CALM_SHARE = 0.1
"""Below it the last drift is forgotten: the next rest is a short one."""
REST_MS = 30_000.0
REST_MAX_MS = 600_000.0
TIME_RANGE_MS = (1e-3, 3.6e6)
TAIL_SCALE_RANGE = (0.01, 1e4)
LOG_RATE_RANGE = (log(1e2), log(1e12))
LOG_RTT_RANGE = (log(0.01), log(1e5))
"""What is believed of reports, and what may follow from them: ln(bits per second), ln(milliseconds)."""


class Transfer(Protocol):
    """What the filter reads of a transfer; `events.Transferred` is one."""

    @property
    def nbytes(self) -> int: ...  # noqa: D102
    @property
    def elapsed_ms(self) -> float: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102
    @property
    def first(self) -> bool: ...  # noqa: D102
    @property
    def attempted_bytes(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean and covariance of (ln rate_bps, ln rtt_ms).

    Attributes:
        log_rate: median of the rate.
        log_rtt: median of the round trip.
        rate_variance: of log_rate.
        rtt_variance: of log_rtt.
        covariance: of the two; a transfer that was slow makes both suspect.
        measured_at_ms: when the last transfer ended; None = nothing measured.
        surprises: transfers in a row that had to be clipped.
    """

    log_rate: float = log(ASSUMED_UPLINK.rate_bps)
    log_rtt: float = log(ASSUMED_UPLINK.rtt_ms)
    rate_variance: float = NEW_RATE_VARIANCE
    rtt_variance: float = NEW_RTT_VARIANCE
    covariance: float = 0.0
    measured_at_ms: float | None = None
    surprises: int = 0


def uplink(estimate: Estimate, now_ms: float) -> Uplink | None:
    """The link as a policy wants it; None while nothing was measured. The spread grows with the time since."""
    if estimate.measured_at_ms is None:
        return None
    aged = _aged(estimate, now_ms)
    return Uplink(exp(aged.log_rate), sqrt(aged.rate_variance + SHORT_TERM), exp(aged.log_rtt))


def network_changed(estimate: Estimate) -> Estimate:
    """What is left of an estimate when the connection is a new one: the guess stays, the certainty goes."""
    return replace(
        estimate,
        rate_variance=max(estimate.rate_variance, NEW_RATE_VARIANCE),
        rtt_variance=max(estimate.rtt_variance, NEW_RTT_VARIANCE),
        covariance=0.0,
        surprises=0,
    )


def observe(estimate: Estimate, transfer: Transfer, now_ms: float) -> Estimate:
    """Takes a transfer in that ended at `now_ms`.

    A transfer that was broken off is a bound: it counts only where the estimate contradicts it. What is not a measurement
    (no time, hours, not a number) changes nothing.
    """
    elapsed_ms = transfer.elapsed_ms
    if not _is_time(elapsed_ms) or transfer.nbytes < 0:
        return estimate
    prior = _aged(estimate, now_ms - elapsed_ms)
    nbytes: float | None = transfer.nbytes if transfer.complete else _contradicted(prior, transfer)
    if nbytes is None:
        return estimate
    posterior = _update(prior, transfer, nbytes)
    if posterior.surprises > 1:
        doubted = _widened(prior, SURPRISE_VARIANCE, SURPRISE_RTT_VARIANCE)
        posterior = replace(_update(doubted, transfer, nbytes), surprises=posterior.surprises)
    return replace(posterior, measured_at_ms=now_ms)


def _expected_ms(estimate: Estimate, nbytes: float) -> tuple[float, float]:
    """(delay, sending)."""
    return exp(estimate.log_rtt), 8e3 * nbytes * exp(-estimate.log_rate)


def _contradicted(prior: Estimate, transfer: Transfer) -> float | None:
    """The bound that the estimate violates: bytes that did arrive in that time, or bytes that did not; None = neither."""
    rtt_ms, sending_ms = _expected_ms(prior, transfer.nbytes)
    if transfer.nbytes and rtt_ms + sending_ms > transfer.elapsed_ms:
        return transfer.nbytes
    missing = transfer.nbytes + WINDOW_BYTES
    if transfer.attempted_bytes is not None:
        missing = min(missing, max(transfer.attempted_bytes, transfer.nbytes))
    return missing if sum(_expected_ms(prior, missing)) < transfer.elapsed_ms else None


def _is_time(ms: float) -> bool:
    return TIME_RANGE_MS[0] <= ms <= TIME_RANGE_MS[1]


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _aged(estimate: Estimate, now_ms: float) -> Estimate:
    """What is left of it after the time since the last transfer."""
    if estimate.measured_at_ms is None:
        return estimate
    idle_s = max(now_ms - estimate.measured_at_ms, 0.0) / 1e3
    return _widened(estimate, min(RATE_DRIFT * idle_s, RATE_DRIFT_MAX), min(RTT_DRIFT * idle_s, RTT_DRIFT_MAX))


def _widened(estimate: Estimate, rate_by: float, rtt_by: float) -> Estimate:
    """Less certain, up to a limit: transfers of one size may leave one of the two open for hours."""
    return replace(
        estimate,
        rate_variance=max(estimate.rate_variance, min(estimate.rate_variance + rate_by, VARIANCE_MAX)),
        rtt_variance=max(estimate.rtt_variance, min(estimate.rtt_variance + rtt_by, VARIANCE_MAX)),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """The model of ln(elapsed_ms), linearised at one point: its value, its slopes, and what the filter makes of them there.

    Attributes:
        value: ln(rtt_ms + sending_ms).
        by_rate: slope along ln(rate).
        by_rtt: slope along ln(rtt).
        pull_rate: covariance of ln(elapsed_ms) with ln(rate).
        pull_rtt: covariance of ln(elapsed_ms) with ln(rtt).
        variance: of ln(elapsed_ms), noise included.
    """

    value: float
    by_rate: float
    by_rtt: float
    pull_rate: float
    pull_rtt: float
    variance: float


def _line(prior: Estimate, transfer: Transfer, nbytes: float, log_rate: float, log_rtt: float) -> _Line:
    rtt_ms, sending_ms = exp(log_rtt), 8e3 * nbytes * exp(-log_rate)
    total_ms = rtt_ms + sending_ms
    by_rate, by_rtt = -sending_ms / total_ms, rtt_ms / total_ms
    pull_rate = prior.rate_variance * by_rate + prior.covariance * by_rtt
    pull_rtt = prior.covariance * by_rate + prior.rtt_variance * by_rtt
    jitter = (JITTER_MS + JITTER_SHARE * rtt_ms) / transfer.elapsed_ms
    noise = SHORT_TERM * by_rate**2 + jitter**2 + (FIRST_VARIANCE if transfer.first else 0.0)
    return _Line(log(total_ms), by_rate, by_rtt, pull_rate, pull_rtt, by_rate * pull_rate + by_rtt * pull_rtt + noise)


def _update(prior: Estimate, transfer: Transfer, nbytes: float) -> Estimate:
    """One measurement of ln(elapsed_ms): an extended Kalman step, linearised again where it arrives.

    A broken transfer moves the rate only: rates collapse every day, delays do not, and nothing in it tells the two apart.
    """
    line = _line(prior, transfer, nbytes, prior.log_rate, prior.log_rtt)
    limit = CLIP * sqrt(line.variance)
    innovation = log(transfer.elapsed_ms) - line.value
    clipped = _within(innovation, (-limit, limit))
    measured = line.value + clipped
    learn_rtt = 1.0 if transfer.complete else 0.0
    log_rate, log_rtt = prior.log_rate, prior.log_rtt
    for _ in range(FAR_STEPS if abs(clipped) > FAR else 1):
        line = _line(prior, transfer, nbytes, log_rate, log_rtt)
        back = line.by_rate * (prior.log_rate - log_rate) + line.by_rtt * (prior.log_rtt - log_rtt)
        error = (measured - line.value - back) / line.variance
        log_rate = _within(prior.log_rate + line.pull_rate * error, LOG_RATE_RANGE)
        log_rtt = _within(prior.log_rtt + learn_rtt * line.pull_rtt * error, LOG_RTT_RANGE)
    surprises = prior.surprises + 1 if clipped != innovation else 0
    return Estimate(
        log_rate=log_rate,
        log_rtt=min(log_rtt, log(transfer.elapsed_ms)),  # no delay is longer than what it is a part of
        rate_variance=max(prior.rate_variance - line.pull_rate**2 / line.variance, VARIANCE_MIN),
        rtt_variance=max(prior.rtt_variance - learn_rtt * line.pull_rtt**2 / line.variance, VARIANCE_MIN),
        covariance=prior.covariance - line.pull_rate * line.pull_rtt / line.variance,
        surprises=surprises,
    )


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the cloud is. What it said fades, because a device that turned away from a busy cloud hears no more from it.

    Attributes:
        queue_ms: waiting time at `at_ms`; it halves every 5 s.
        tail_scale: its tail time over the profile's; the difference from 1 halves every 30 s.
        at_ms: when it was said; None = never.
    """

    queue_ms: float = 0.0
    tail_scale: float = 1.0
    at_ms: float | None = None

    def at(self, now_ms: float) -> Load:
        """What is left of it."""
        if self.at_ms is None:
            return self
        age_s = max(now_ms - self.at_ms, 0.0) / 1e3
        return Load(self.queue_ms * 0.5 ** (age_s / 5.0), 1.0 + (self.tail_scale - 1.0) * 0.5 ** (age_s / 30.0), now_ms)

    def heard(self, queue_ms: float, tail_scale: float | None, now_ms: float) -> Load:
        """Takes a report in: half of it, so that one burst is not the new normal. Nonsense changes nothing."""
        old = self.at(now_ms)
        queue_ms = queue_ms if 0.0 <= queue_ms <= TIME_RANGE_MS[1] else old.queue_ms
        low, high = TAIL_SCALE_RANGE
        scale = tail_scale if tail_scale is not None and low <= tail_scale <= high else old.tail_scale
        return Load((old.queue_ms + queue_ms) / 2, (old.tail_scale + scale) / 2, now_ms)


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether inputs are unlike the samples that the codecs were made from: tensors depart from what they should be coded with.

    Three such requests in a row make a drift, one does not. Lossy plans then rest. While they do, nothing shows what inputs are
    like: so after the rest they are tried again, on trial, where one such request is enough for a rest twice as long. (A
    circuit breaker, half open.)

    Attributes:
        share: of the last requests that had a tensor depart, smoothed.
        rest_ms: how long lossy plans rest the next time.
        until_ms: end of the last rest.
    """

    share: float = 0.0
    rest_ms: float = REST_MS
    until_ms: float = -inf

    def rests(self, now_ms: float) -> bool:
        """Whether lossy plans rest."""
        return now_ms < self.until_ms

    def saw(self, departed: bool, now_ms: float) -> Drift:
        """Takes a request in whose tensors could depart. What was on its way when a rest began changes nothing."""
        if self.rests(now_ms):
            return self
        share = self.share + DRIFT_WEIGHT * (departed - self.share)
        if share >= DRIFT_SHARE:
            return Drift(TRIAL_SHARE, min(2 * self.rest_ms, REST_MAX_MS), now_ms + self.rest_ms)
        return replace(self, share=share, rest_ms=REST_MS if share < CALM_SHARE else self.rest_ms)


class LiveProfile:
    """A profile that follows what requests measure: a device that is throttled or shared is not the one that was profiled.

    What ran here counts as the median of its last times; what did not run is assumed to have changed as much as what did.
    `profile` moves in steps of more than `STEP` only, so that the table of plans is not made anew for noise.
    """

    STEP = 0.1
    KEEP = 5

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._base = profile
        self._requests = 0
        self._segments: dict[int, deque[float]] = {}
        self._encodes: dict[Plan, deque[float]] = {}

    def observe(self, plan: Plan, segment_ms: Sequence[float | None], encode_ms: float | None) -> bool:
        """Takes the times of one request in; True if `profile` is another one now. It is looked at every `KEEP` requests.

        Args:
            plan: that was carried out.
            segment_ms: of each segment; None where it did not run here.
            encode_ms: None = not of the plan's codec alone.
        """
        for index, (ms, reference) in enumerate(zip(segment_ms, self._base.segment_ms, strict=False)):
            if ms is not None and reference and _is_time(ms):
                self._segments.setdefault(index, deque(maxlen=self.KEEP)).append(ms)
        if plan in self._base.encode_ms and encode_ms is not None and _is_time(encode_ms):
            self._encodes.setdefault(plan, deque(maxlen=self.KEEP)).append(encode_ms)
        self._requests += 1
        if self._requests % self.KEEP:
            return False
        candidate = self._corrected()
        moved = self._moved(candidate)
        if moved:
            self.profile = candidate
        return moved

    def _corrected(self) -> Profile:
        segments = {i: median(times) for i, times in self._segments.items() if len(times) == self.KEEP}
        encodes = {plan: median(times) for plan, times in self._encodes.items() if len(times) == self.KEEP}
        reference_ms = sum(self._base.segment_ms[i] or 0.0 for i in segments)
        slowdown = sum(segments.values()) / reference_ms if segments else 1.0
        rest = self._base.slowed(slowdown)
        return replace(
            rest,
            segment_ms=tuple(segments.get(i, ms) for i, ms in enumerate(rest.segment_ms)),
            encode_ms={**rest.encode_ms, **encodes},
        )

    def _moved(self, candidate: Profile) -> bool:
        """Whether a time changed by more than the step; what is below 1 % of the model's time does not matter."""
        before = [ms or 0.0 for ms in self.profile.segment_ms] + [*self.profile.encode_ms.values()]
        after = [ms or 0.0 for ms in candidate.segment_ms] + [*candidate.encode_ms.values()]
        least_ms = 0.01 * self.profile.head_ms(len(self.profile.segment_ms))
        return any(abs(b - a) > max(self.STEP * a, least_ms) for a, b in zip(before, after, strict=True))
