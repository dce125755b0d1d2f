"""The range of a uniform quantiser that leaves the least mean squared error over samples.

Few levels are better spent on where most values lie than on the rare extremes. A plain search: the two ends are drawn in
towards the median in turn until neither gets better. Deterministic, so that a bundle built twice has the same digest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ends = npt.NDArray[np.float64]

_MOST_VALUES = 1 << 16
_ROUNDS = 3
_SHARES = tuple(share / 40 for share in range(40, 1, -1))
"""Of the way from the median to the extreme."""


def best_clip(samples: Sequence[Floats], levels: int) -> tuple[float, float] | None:
    """Searches the range of all values.

    Args:
        samples: flat arrays; values that are not finite are left out.
        levels: the highest symbol, 2**bits - 1.

    Returns:
        lo, hi, both exact in float32; None where there is no finite value.
    """
    values: Floats = np.concatenate([*samples, np.empty(0, np.float32)])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    (lo, hi), _ = best_clips(_thinned(values[np.newaxis]), levels)
    return float(lo[0]), float(hi[0])


def best_clips(rows: Floats, levels: int) -> tuple[Floats, float]:
    """Searches a range for each row.

    Args:
        rows: [rows, values], finite, not empty.
        levels: the highest symbol, 2**bits - 1.

    Returns:
        [2, rows], the lowest ends and the highest; the mean squared error with them.
    """
    ends = np.stack([rows.min(axis=1), rows.max(axis=1)]).astype(np.float64)
    values = _thinned(rows)
    middle = np.median(values, axis=1)
    tried = middle + (ends[:, np.newaxis] - middle) * np.array(_SHARES)[:, np.newaxis]
    for _ in range(_ROUNDS):
        before = ends.copy()
        ends[1] = _best(tried[1], [_errors(values, ends[0], hi, levels) for hi in tried[1]])
        ends[0] = _best(tried[0], [_errors(values, lo, ends[1], levels) for lo in tried[0]])
        if np.array_equal(ends, before):
            break
    return ends.astype(np.float32), float(_errors(values, ends[0], ends[1], levels).mean())


def _thinned(rows: Floats) -> Floats:
    """All values, or 65536 spread over the rows by a multiplicative hash, which no period of a feature map matches."""
    count, size = rows.shape
    most = max(1, _MOST_VALUES // count)
    return rows[:, np.arange(most) * 2654435761 % size] if size > most else rows


def _best(tried: Ends, errors: Sequence[Ends]) -> Ends:
    """Of each row the end with the least error, the outermost of equals."""
    best = np.argmin(errors, axis=0)[np.newaxis]
    found: Ends = np.take_along_axis(tried, best, axis=0)[0]
    return found


def _errors(values: Floats, lo: Ends, hi: Ends, levels: int) -> Ends:
    """Mean squared error of each row."""
    low, high = lo.astype(np.float32)[:, np.newaxis], hi.astype(np.float32)[:, np.newaxis]
    step = np.maximum((hi - lo) / levels, float(np.finfo(np.float32).tiny)).astype(np.float32)[:, np.newaxis]
    clipped = np.minimum(np.maximum(values, low), high)
    error = np.rint((clipped - low) / step) * step + low - values
    return np.asarray(np.mean(np.square(error, dtype=np.float64), axis=1))
