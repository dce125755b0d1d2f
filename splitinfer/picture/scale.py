"""From values to pixels: linear and logarithmic scales, and where their ticks stand. Knows no drawing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

LOG_AIR = 1.6
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values and the pixels they lie on.

    Attributes:
        low: least value; > 0 where the scale is logarithmic.
        high: greatest value, > low.
        start: pixel of `low`.
        stop: pixel of `high`; may be smaller than `start`.
        log: logarithmic.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is put on the edge."""
        value = min(max(value, self.low), self.high)
        part = (
            log10(value / self.low) / log10(self.high / self.low) if self.log else (value - self.low) / (self.high - self.low)
        )
        return self.start + part * (self.stop - self.start)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Round values in the range: powers of ten (and 2, 5 where there is room), or multiples of 1, 2 or 5."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)


def indices(last: int, most: int = 20) -> list[int]:
    """Indices 0 to `last` that are written at an axis: every one, or every 2nd, 5th, 10th ..."""
    every = next(step * 10**power for power in range(9) for step in (1, 2, 5) if last / (step * 10**power) <= most)
    return list(range(0, last + 1, every))


def log_scale(values: Iterable[float], start: float, stop: float) -> Scale:
    """A logarithmic scale around positive values; values <= 0 are ignored. So much air that 1, 2 or 5 of a decade is in it."""
    positive = [value for value in values if value > 0] or [1.0]
    return Scale(min(positive) / LOG_AIR, max(positive) * LOG_AIR, start, stop, log=True)


def linear_scale(values: Iterable[float], start: float, stop: float) -> Scale:
    """A linear scale from 0, with some air above."""
    return Scale(0.0, max((*values, 0.0)) * 1.12 or 1.0, start, stop)


def _linear_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    power = 10.0 ** floor(log10((high - low) / most))
    step = next(step * power for step in _STEPS if (high - low) / (step * power) <= most)
    return tuple(round(i * step, 10) for i in range(ceil(low / step), floor(high / step) + 1))


def _log_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = tuple(digit * 10.0**k for k in decades for digit in digits if low <= digit * 10.0**k <= high)
        if len(ticks) <= most:
            return ticks
    return ticks[:: ceil(len(ticks) / most)]
