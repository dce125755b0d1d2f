"""The range of a uniform quantiser that leaves the least mean squared error over samples.

Few levels are better spent on where most values lie than on the rare extremes. A plain search: the two ends are drawn in
towards the median in turn until neither gets better. Deterministic, so that a bundle built twice has the same digest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_MOST_VALUES = 1 << 16
_ROUNDS = 3
_SHARES = tuple(share / 40 for share in range(40, 1, -1))
"""Of the way from the median to the extreme."""


def best_clip(samples: Sequence[Floats], levels: int) -> tuple[float, float] | None:
    """Searches the range.

    Args:
        samples: flat arrays; values that are not finite are left out.
        levels: the highest symbol, 2**bits - 1.

    Returns:
        lo, hi, both exact in float32; None where there is no finite value.
    """
    values = _thinned(samples)
    if not values.size:
        return None
    middle, lo, hi = float(np.median(values)), float(values.min()), float(values.max())
    lows = [middle + (lo - middle) * share for share in _SHARES]
    highs = [middle + (hi - middle) * share for share in _SHARES]
    for _ in range(_ROUNDS):
        before = lo, hi
        hi = min(highs, key=lambda end: _error(values, lo, end, levels))
        lo = min(lows, key=lambda end: _error(values, end, hi, levels))
        if (lo, hi) == before:
            break
    return float(np.float32(lo)), float(np.float32(hi))


def _thinned(samples: Sequence[Floats]) -> Floats:
    """All finite values, or 65536 spread over them by a multiplicative hash, which no period of a feature map matches."""
    values: Floats = np.concatenate([*samples, np.empty(0, np.float32)])
    values = values[np.isfinite(values)]
    if len(values) > _MOST_VALUES:
        values = values[np.arange(_MOST_VALUES) * 2654435761 % len(values)]
    return values


def _error(values: Floats, lo: float, hi: float, levels: int) -> float:
    step = np.float32(max((hi - lo) / levels, float(np.finfo(np.float32).tiny)))
    clipped = np.clip(values, np.float32(lo), np.float32(hi))
    error = np.rint((clipped - np.float32(lo)) / step) * step + np.float32(lo) - values
    return float(np.mean(np.square(error, dtype=np.float64)))
