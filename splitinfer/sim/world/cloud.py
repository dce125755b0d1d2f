"""A pool of tails in virtual time, that many devices share and strangers load. Knows no link and no plan.

How busy strangers keep it is a function of time alone, so that policies which are compared meet the same cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import exp

from splitinfer.draw import normal, uniform

REPEATS_S = 1 << 20
"""After twelve days strangers come as they came before: no run is that long, unless a figure in it is absurd."""
_LOAD, _BURST = 1, 2


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a request.

    Attributes:
        done_ms: when the answer is ready.
        queue_ms: it waited.
        tail_ms: it took.
        slow: the tail's time over the profile's.
    """

    done_ms: float
    queue_ms: float
    tail_ms: float
    slow: float


@dataclass(frozen=True, slots=True)
class CloudSetting:
    """How a cloud behaves; the figures are research's, fitted to nothing.

    Attributes:
        slots: tails at work at once.
        memory: of the load, from one second to the next.
        wobble: of the load in a second: |x| with x <- memory * x + wobble * N(0, 1), and a tail takes exp(|x|) times its time.
        bursts_per_s: how often strangers arrive in numbers.
        burst_s: for so long.
        burst_slow: a tail then takes so many times as long.
        down: (from, to) in ms during which nothing is answered.
    """

    slots: int = 4
    memory: float = 0.98
    wobble: float = 0.08
    bursts_per_s: float = 0.012
    burst_s: int = 8
    burst_slow: float = 6.0
    down: tuple[tuple[float, float], ...] = ()


class Cloud:
    """One pool."""

    def __init__(self, setting: CloudSetting, seed: int) -> None:
        self._setting = setting
        self._seed = seed
        self._free_ms = [0.0] * setting.slots
        heapify(self._free_ms)
        self._wobbles = [0.0]
        self._burst_until = 0
        self._slow: list[float] = []

    def slow(self, at_ms: float) -> float:
        """How many times as long a tail takes that begins then."""
        second = int(at_ms / 1e3) % REPEATS_S
        while len(self._slow) <= second:
            self._next()
        return self._slow[second]

    def answers(self, at_ms: float) -> bool:
        """Whether anybody is there."""
        return not any(start <= at_ms < end for start, end in self._setting.down)

    def expects(self, at_ms: float, tail_ms: float) -> Served:
        """What would become of a request that arrives then, if no other came before it."""
        starts_ms = max(at_ms, self._free_ms[0])
        slow = self.slow(starts_ms)
        return Served(starts_ms + slow * tail_ms, starts_ms - at_ms, slow * tail_ms, slow)

    def serve(self, at_ms: float, tail_ms: float) -> Served:
        """Takes one that arrives now; they must come in the order of time."""
        served = self.expects(at_ms, tail_ms)
        heapreplace(self._free_ms, served.done_ms)
        return served

    def _next(self) -> None:
        second, setting = len(self._slow), self._setting
        self._wobbles.append(setting.memory * self._wobbles[-1] + setting.wobble * normal(self._seed, _LOAD, second))
        if uniform(self._seed, _BURST, second) < setting.bursts_per_s:
            self._burst_until = second + setting.burst_s
        burst = setting.burst_slow if second < self._burst_until else 1.0
        self._slow.append(exp(abs(self._wobbles[-1])) * burst)
