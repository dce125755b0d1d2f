"""What is believed of the link, from what transfers measured.

Knows no clock, no socket and no policy: measured times go in, an `Uplink` comes out. The link has two
unknowns and every transfer is one equation in them,

    elapsed_ms = rtt_ms + 8e3 * nbytes / rate_bps

so one extended Kalman filter holds both as logarithms: small transfers teach it the delay, large ones the rate, and its
covariance says which of the two is still open. (Dividing bytes by the whole elapsed time blames the rate for the delay.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Protocol

from splitinfer.plan import ASSUMED_UPLINK, Uplink

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
FIRST_VARIANCE = 0.2
"""What a fresh connection or a waking radio adds is known roughly: the first transfer tells less."""
KNOWN_AFTER = 5
"""Complete transfers that make a prior of what was learnt."""
HOME_WEIGHT = 0.03
"""Of one transfer in the long-run mean of ln(rate), once there were many."""
HOME_AFTER_S = 60.0
"""Idle time after which more than half of the estimate is that mean: what was measured last is past by then."""
COVERED = 0.9
"""Share of transfers that should take no longer than `Uplink` says of this quantile ..."""
COVERED_Z = 1.2816
CALIBRATION_STEP = 0.2
CALIBRATION_RANGE = (0.25, 3.0)
"""... and how fast the spread follows if they do not: adaptive conformal inference (Gibbs and Candes, 2021), on ln(spread)."""
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
TIME_RANGE_MS = (1e-3, 3.6e6)
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
    @property
    def rtt_ms(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Prior:
    """What is remembered of a network: the usual rate and round trip."""

    rate_bps: float
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean and covariance of (ln rate_bps, ln rtt_ms), and what is remembered beside them.

    Attributes:
        log_rate: median of the rate.
        log_rtt: median of the round trip.
        rate_variance: of log_rate.
        rtt_variance: of log_rtt.
        covariance: of the two; a transfer that was slow makes both suspect.
        measured_at_ms: when the last transfer ended; None = nothing measured.
        surprises: transfers in a row that had to be clipped.
        calibration: what the spread is multiplied by, so that as many transfers are late as it says.
        home: long-run mean of ln(rate).
        count: complete transfers behind `home`.
    """

    log_rate: float = log(ASSUMED_UPLINK.rate_bps)
    log_rtt: float = log(ASSUMED_UPLINK.rtt_ms)
    rate_variance: float = NEW_RATE_VARIANCE
    rtt_variance: float = NEW_RTT_VARIANCE
    covariance: float = 0.0
    measured_at_ms: float | None = None
    surprises: int = 0
    calibration: float = 1.0
    home: float = log(ASSUMED_UPLINK.rate_bps)
    count: int = 0

    @property
    def surprised(self) -> bool:
        """Whether this is not the link that was known."""
        return self.surprises > 1

    def uplink(self, now_ms: float) -> Uplink | None:
        """The link as a policy wants it; None while nothing was measured. The spread grows with the time since."""
        if self.measured_at_ms is None:
            return None
        aged = _aged(self, now_ms)
        spread = aged.calibration * sqrt(aged.rate_variance + SHORT_TERM)
        return Uplink(exp(aged.log_rate), spread, exp(aged.log_rtt), doubt=sqrt(aged.rate_variance))

    def network_changed(self) -> Estimate:
        """What is left when the connection is a new one: the usual rate of this network, without certainty.

        What was measured last was measured while the old one broke.
        """
        return replace(
            self,
            log_rate=self.home if self.count else self.log_rate,
            rate_variance=max(self.rate_variance, NEW_RATE_VARIANCE),
            rtt_variance=max(self.rtt_variance, NEW_RTT_VARIANCE),
            covariance=0.0,
            surprises=0,
            calibration=max(self.calibration, 1.0),
        )

    def prior(self) -> Prior | None:
        """What is worth remembering; None = not enough was measured."""
        return Prior(exp(self.home), exp(self.log_rtt)) if self.count >= KNOWN_AFTER else None

    def elsewhere(self, prior: Prior | None, now_ms: float) -> Estimate:
        """A network of which this is remembered, or nothing."""
        if prior is None or not (prior.rate_bps > 0 and prior.rtt_ms > 0):
            return Estimate()
        log_rate, log_rtt = _within(log(prior.rate_bps), LOG_RATE_RANGE), _within(log(prior.rtt_ms), LOG_RTT_RANGE)
        known = Estimate(log_rate=log_rate, log_rtt=log_rtt, home=log_rate, count=1, measured_at_ms=now_ms)
        return replace(known, rate_variance=RATE_DRIFT_MAX, rtt_variance=RTT_DRIFT_MAX)

    def observe(self, transfer: Transfer, now_ms: float) -> Estimate:
        """Takes a transfer in that ended at `now_ms`.

        A transfer that was broken off is a bound: it counts only where the estimate contradicts it. What is not a measurement
        (no time, hours, not a number) changes nothing.
        """
        elapsed_ms = transfer.elapsed_ms
        if not is_time(elapsed_ms) or transfer.nbytes < 0:
            return self
        prior = _aged(self, now_ms - elapsed_ms)
        nbytes: float | None = transfer.nbytes if transfer.complete else _contradicted(prior, transfer)
        if nbytes is None:
            return self
        posterior = _update(prior, transfer, nbytes)
        if posterior.surprises > 1:
            doubted = _widened(prior, SURPRISE_VARIANCE, SURPRISE_RTT_VARIANCE)
            posterior = replace(_update(doubted, transfer, nbytes), surprises=posterior.surprises)
        if not transfer.complete:
            return replace(posterior, measured_at_ms=now_ms)
        count = posterior.count + 1
        return Estimate(
            posterior.log_rate,
            max(posterior.log_rtt, _least_log_rtt(transfer)),
            posterior.rate_variance,
            posterior.rtt_variance,
            posterior.covariance,
            now_ms,
            posterior.surprises,
            _calibrated(prior, transfer),
            posterior.home + max(1 / count, HOME_WEIGHT) * (posterior.log_rate - posterior.home),
            count,
        )


def _least_log_rtt(transfer: Transfer) -> float:
    """The kernel's shortest round trip is a bound from below: something on the way may have answered in the server's place."""
    least_ms = transfer.rtt_ms
    if least_ms is None or not is_time(least_ms):
        return LOG_RTT_RANGE[0]
    return log(min(least_ms, transfer.elapsed_ms))


def _calibrated(prior: Estimate, transfer: Transfer) -> float:
    """Corrects the spread by whether the prior would have covered this transfer."""
    rtt_ms, sending_ms = _expected_ms(prior, transfer.nbytes)
    spread = prior.calibration * sqrt(prior.rate_variance + SHORT_TERM)
    covered = transfer.elapsed_ms <= rtt_ms + sending_ms * exp(COVERED_Z * spread)
    step = COVERED - 1 if covered else COVERED
    return _within(prior.calibration * exp(CALIBRATION_STEP * step), CALIBRATION_RANGE)


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


def is_time(ms: float) -> bool:
    """Whether a report may be one of a duration: from a microsecond to an hour."""
    return TIME_RANGE_MS[0] <= ms <= TIME_RANGE_MS[1]


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _aged(estimate: Estimate, now_ms: float) -> Estimate:
    """What is left of it after the time since the last transfer."""
    if estimate.measured_at_ms is None:
        return estimate
    idle_s = max(now_ms - estimate.measured_at_ms, 0.0) / 1e3
    away = 1 - 0.5 ** (idle_s / HOME_AFTER_S) if estimate.count else 0.0
    rate_by, rtt_by = min(RATE_DRIFT * idle_s, RATE_DRIFT_MAX), min(RTT_DRIFT * idle_s, RTT_DRIFT_MAX)
    return _widened(estimate, rate_by, rtt_by, estimate.log_rate + away * (estimate.home - estimate.log_rate))


def _widened(estimate: Estimate, rate_by: float, rtt_by: float, log_rate: float | None = None) -> Estimate:
    """Less certain, up to a limit: transfers of one size may leave one of the two open for hours."""
    return Estimate(  # written out here and below: `replace` takes longer than all the rest of an update
        estimate.log_rate if log_rate is None else log_rate,
        estimate.log_rtt,
        max(estimate.rate_variance, min(estimate.rate_variance + rate_by, VARIANCE_MAX)),
        max(estimate.rtt_variance, min(estimate.rtt_variance + rtt_by, VARIANCE_MAX)),
        estimate.covariance,
        estimate.measured_at_ms,
        estimate.surprises,
        estimate.calibration,
        estimate.home,
        estimate.count,
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
    return Estimate(
        log_rate,
        min(log_rtt, log(transfer.elapsed_ms)),  # no delay is longer than what it is a part of
        max(prior.rate_variance - line.pull_rate**2 / line.variance, VARIANCE_MIN),
        max(prior.rtt_variance - learn_rtt * line.pull_rtt**2 / line.variance, VARIANCE_MIN),
        prior.covariance - line.pull_rate * line.pull_rtt / line.variance,
        prior.measured_at_ms,
        prior.surprises + 1 if clipped != innovation else 0,
        prior.calibration,
        prior.home,
        prior.count,
    )
