"""Ridge regression in closed form; its penalty is chosen on rows that are held out. Knows no picture.

W = (X'X + p I)^-1 X'Y. Source: Hoerl and Kennard, Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from splitinfer.build.leak.planes import Floats

Mask = npt.NDArray[np.bool_]

PENALTIES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Tried until one does worse than the one before; in shares of the mean eigenvalue of X'X."""
EVERY = 4
"""Every so many known inputs are held out: they choose the penalty, and the attacker."""


@dataclass(frozen=True)
class Attempt:
    """What an attacker achieved on known inputs that he held out, and how he rebuilds the hidden ones."""

    error: float
    rebuild: Callable[[], Floats]


def held_out(known: int) -> Mask:
    """Which of the known inputs."""
    return np.asarray(np.arange(known) % EVERY == EVERY - 1)


@dataclass(frozen=True)
class Map:
    """A linear map that was fitted.

    Attributes:
        weights: [features, targets]; add `offset` to what it gives.
        offset: [targets].
        error: mean squared error on the rows that were held out.
    """

    weights: Floats
    offset: Floats
    error: float


def fit(rows: Floats, targets: Floats, chooses: Mask) -> Map:
    """The map from rows to targets whose penalty does best on rows that were held out, fitted once more on all rows.

    Args:
        rows: [n, features].
        targets: [n, targets].
        chooses: [n], true for the rows that choose the penalty.
    """
    some = _Moments.of(rows[~chooses], targets[~chooses])
    seen, wanted = rows[chooses] - some.row, targets[chooses] - some.target
    penalty, error = PENALTIES[0], np.inf
    for tried in PENALTIES:
        found = float(np.mean(np.square(seen @ some.solved(tried) - wanted)))
        if found > error:
            break
        penalty, error = tried, found
    every = _Moments.of(rows, targets)
    weights = every.solved(penalty)
    return Map(weights, every.target - every.row @ weights, error)


@dataclass(frozen=True)
class _Moments:
    """Means of rows X and targets Y, and X'X and X'Y around them."""

    row: Floats
    target: Floats
    square: Floats
    mixed: Floats

    @classmethod
    def of(cls, rows: Floats, targets: Floats) -> _Moments:
        row, target = rows.mean(axis=0), targets.mean(axis=0)
        centred = rows - row
        return cls(row, target, centred.T @ centred, centred.T @ (targets - target))

    def solved(self, penalty: float) -> Floats:
        """The weights."""
        mean = float(np.trace(self.square)) / len(self.square) or 1.0
        ridge = np.float32(penalty * mean) * np.eye(len(self.square), dtype=np.float32)
        return np.linalg.solve(self.square + ridge, self.mixed)
