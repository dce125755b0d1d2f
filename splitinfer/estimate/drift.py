"""Whether inputs are still like the samples of the build, from the tensors that departed.

Knows no clock: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

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
