"""How sure a measured loss is: upper bounds, one-sided at 95 %, of the mean of independent draws.

Each holds for one plan looked at by itself. Where several plans are compared and the best is taken, that one may have been
lucky. Knows no plan and no model.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, e, exp, lgamma, log, log1p, sqrt

import numpy as np

from splitinfer.model import Array

CONFIDENCE = 0.95
_HALVINGS = 60


def share_bound(values: Array) -> float:
    """Upper bound of the mean of values in 0..1.

    Where each is 0 or 1, Clopper and Pearson's; where some lie between (the share of the crops of one photo whose answer
    changed), Hoeffding and Bentkus's, which holds for whatever values and equals the former where all are 0.
    """
    total = float(values.sum())
    if np.isin(values, (0, 1)).all():
        return upper_bound(round(total), len(values))
    return _hoeffding_bentkus(total / len(values), len(values))


def drop_bound(values: Array) -> float:
    """Upper bound of the mean of values in -1..1: right answers lost less those won, one value a sample or a group.

    Where each is -1, 0 or 1, `paired_bound`; else the wins are left out, which can only make it larger.
    """
    if np.isin(values, (-1, 0, 1)).all():
        return paired_bound(int((values == 1).sum()), int((values == -1).sum()), len(values))
    return share_bound(np.maximum(values, 0))


def upper_bound(changed: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson upper bound of a share, one-sided.

    The largest p for which seeing at most `changed` of `n` still has a probability of 1 - confidence; found by bisection on the
    binomial distribution. Source: Clopper and Pearson, Biometrika 26 (1934).

    Args:
        changed: of the samples.
        n: samples; at least 1.
        confidence: 0..1.
    """
    if changed >= n:
        return 1.0
    return _last(lambda p: _at_most(changed, n, p) > 1 - confidence, changed / n)


def paired_bound(lost: int, won: int, n: int) -> float:
    """Upper bound of the drop of a share that is measured twice on the same samples: P(lost) - P(won), at least 0.

    Tango's score bound (Statistics in Medicine 17, 1998): the largest d for which (lost - won)/n lies no more than z standard
    errors below d, these being computed under d. For few changes z = 1.645 is too small (93 % are covered, not 95 %), so z is
    what makes the bound exact where nothing changed; and the bound is never below Clopper and Pearson's of the net loss.
    Covered is then at least 95 %, by summing over all outcomes for n = 20 to 600 (tests/core/test_build_bounds.py).

    Args:
        lost: right before and wrong after.
        won: wrong before and right after.
        n: samples; at least 1.
    """
    nothing = upper_bound(0, n)
    z_squared = n * nothing / (1 - nothing)
    net = max(lost - won, 0)

    def possible(d: float) -> bool:
        below = lost - won - n * d
        return below >= 0 or below**2 <= z_squared * _variance(lost, won, n, d)

    return max(upper_bound(net, n), _last(possible, net / n))


def samples_needed(bound: float, confidence: float = CONFIDENCE) -> int:
    """How many samples without a single changed answer it takes to be sure that at most this share changes.

    The least n with (1 - bound)^n <= 1 - confidence: 299 for 1 %.
    """
    return max(1, ceil(log(1 - confidence) / log1p(-bound)))


def _variance(lost: int, won: int, n: int, d: float) -> float:
    """Of lost - won where the drop is d; P(won) is the most likely one under d (Tango's equation, in his order of terms)."""
    a, b, c = 2 * n, -lost - won + (2 * n - lost + won) * d, -won * d * (1 - d)
    p_won = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return n * (2 * p_won + d * (1 - d))


def _hoeffding_bentkus(mean: float, n: int) -> float:
    """The largest p under which a mean as small as this still has a probability of 5 %, whatever the values in 0..1.

    Source: Bates et al., Distribution-free, risk-controlling prediction sets, JACM 68 (2021), proposition 6.
    """
    if mean >= 1:
        return 1.0

    def possible(p: float) -> bool:
        far = (log(mean / p) * mean if mean else 0.0) + (1 - mean) * log((1 - mean) / (1 - p))
        return min(exp(-n * far), e * _at_most(ceil(n * mean), n, p)) > 1 - CONFIDENCE

    return _last(possible, mean)


def _last(possible: Callable[[float], bool], low: float) -> float:
    """The largest share that is possible, where `low` is and everything above some point is not."""
    high = 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if possible(middle) else (low, middle)
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial X(n, p), 0 < p < 1."""
    terms = [lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p) for i in range(k + 1)]
    return float(np.exp(terms).sum())
