"""Random numbers without a generator: each is a hash of a seed and of where it is used.

So a recorded log replays exactly, and two policies that are compared in a simulation meet the same world whatever each of
them asks for. splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014) in whole numbers,
the same on every machine.
"""

from __future__ import annotations

from math import log
from statistics import NormalDist

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_normal = NormalDist().inv_cdf


def bits(seed: int, *place: int) -> int:
    """64 of them, for one place."""
    state = seed & _MASK
    for index in place or (0,):
        state = (state + _GOLDEN * (index + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def uniform(seed: int, *place: int) -> float:
    """In the open interval (0, 1): 52 bits, since with one more the largest would round to 1."""
    return ((bits(seed, *place) >> 12) + 0.5) * 2.0**-52


def normal(seed: int, *place: int) -> float:
    """Mean 0, standard deviation 1."""
    return _normal(uniform(seed, *place))


def exponential(seed: int, *place: int) -> float:
    """Mean 1."""
    return -log(uniform(seed, *place))
