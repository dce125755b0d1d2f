"""Ridge regression in closed form; its penalty is chosen on rows that are held out. Knows no picture.

W = (X'X + p I)^-1 X'Y. One eigendecomposition of X'X serves all penalties. Source: Hoerl and Kennard, Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from splitinfer.build.leak.planes import Floats

Mask = npt.NDArray[np.bool_]

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Tried; in shares of the mean eigenvalue of X'X."""
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
        offset: [targets], the mean of the targets.
        error: mean squared error on the rows that were held out.
    """

    weights: Floats
    offset: Floats
    error: float


def fit(rows: Floats, targets: Floats, chooses: Mask) -> Map:
    """The map from rows to targets whose penalty does best on rows that were held out, fitted once more on all rows.

    Args:
        rows: [n, features], of mean 0 or nearly.
        targets: [n, targets].
        chooses: [n], true for the rows that choose the penalty.
    """
    kept = ~chooses
    offset = targets[kept].mean(axis=0)
    found = _solved(rows[kept], targets[kept] - offset)
    wanted, turned = targets[chooses] - offset, rows[chooses] @ found.vectors
    errors = [float(np.mean(np.square(turned @ found.shrunk(penalty) - wanted))) for penalty in PENALTIES]
    best = int(np.argmin(errors))
    offset = targets.mean(axis=0)
    everything = _solved(rows, targets - offset)
    return Map(everything.vectors @ everything.shrunk(PENALTIES[best]), offset, errors[best])


@dataclass(frozen=True)
class _Solved:
    """X'X = vectors diag(values) vectors', and X'Y seen in these vectors."""

    values: Floats
    vectors: Floats
    turned: Floats

    def shrunk(self, penalty: float) -> Floats:
        """The weights, seen in the vectors."""
        scale = float(self.values.mean()) or 1.0
        return np.asarray(self.turned / (self.values[:, None] + np.float32(penalty * scale)), np.float32)


def _solved(rows: Floats, targets: Floats) -> _Solved:
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    turned = np.asarray(vectors, np.float32)
    return _Solved(np.maximum(values, 0).astype(np.float32), turned, turned.T @ (rows.T @ targets))
