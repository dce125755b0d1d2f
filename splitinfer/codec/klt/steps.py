"""The step of the quantiser, and the quarter octaves in which it and the spread of coefficients are measured.

Which table codes a coefficient must be the same on every machine, so that it is worked out in integers: 4 log2(step), rounded,
is found by comparing exact powers of two.
"""

from __future__ import annotations

from fractions import Fraction

PATTERN = r"[1-9][0-9]{0,2}|(?:[1-9][0-9]{0,2}|0)\.[0-9]{0,2}[1-9]"
"""A decimal above 0 with at most three digits behind the point, written in one way only."""
PER_OCTAVE = 4


def quarter_octaves(step: str) -> int:
    """4 log2(step), rounded to the nearest integer k: 2^(2k-1) <= step^8 < 2^(2k+1)."""
    power = Fraction(step) ** (2 * PER_OCTAVE)
    k = 0
    while power >= _two_to(2 * k + 1):
        k += 1
    while power < _two_to(2 * k - 1):
        k -= 1
    return k


def _two_to(exponent: int) -> Fraction:
    return Fraction(2) ** exponent
