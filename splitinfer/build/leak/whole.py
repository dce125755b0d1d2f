"""The attacker of the whole: one linear map from everything that crosses to the whole input.

There are fewer known inputs than numbers, so it is kernel ridge regression with the linear kernel: the rows are the inputs seen
in the principal components of the known ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from splitinfer.build.leak.planes import Floats, drawn, line, numbers, resized, single
from splitinfer.build.leak.ridge import Attempt, fit, held_out
from splitinfer.build.leak.secret import Secret
from splitinfer.model import Array, Tensors

COLUMNS = 16384
"""Numbers of an item that are looked at, drawn where there are more."""


def whole(secret: Secret, crossed: Sequence[Tensors]) -> Attempt | None:
    """Attacks; None where no numbers cross that have a form in common.

    Args:
        secret: the inputs.
        crossed: what arrived, for the known inputs and then for the hidden ones.
    """
    known = len(secret.known)
    parts = list(_columns(crossed, known))
    if not parts:
        return None
    columns = np.concatenate(parts, axis=1)
    values, vectors = np.linalg.eigh((columns[:known] @ columns[:known].T).astype(np.float64))
    kept = values > 1e-6 * max(values[-1], 1e-30)
    axes = columns[:known].T @ np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)
    rows = columns @ axes
    found = fit(rows[:known], secret.known.reshape(known, -1), held_out(known))

    def rebuilt() -> Floats:
        return np.reshape(rows[known:] @ found.weights + found.offset, secret.hidden.shape)

    return Attempt(found.error, rebuilt)


def _columns(crossed: Sequence[Tensors], known: int) -> Iterator[Floats]:
    """Each tensor as [items, numbers], of mean 0 and variance 1 over the known ones."""
    total = sum(array.size for array in crossed[0].values())
    for name, first in crossed[0].items():
        chosen = drawn(first.size, max(COLUMNS * first.size // max(total, 1), 1))
        items = [_like(single(tensors[name]), single(first)) for tensors in crossed]
        rows = [numbers(item.ravel()[chosen]) for item in items if item is not None]
        if len(rows) < len(crossed):
            continue
        columns = np.stack(rows)
        columns -= columns[:known].mean(axis=0)
        scale = float(columns[:known].std())
        if scale > 0:
            yield columns / np.float32(scale)


def _like(item: Array, first: Array) -> Array | None:
    """An item with as many numbers as the first one: stretched along its first axis where that is of another length."""
    if item.dtype.kind not in "fiub" or not item.size:
        return None
    if item.shape == first.shape:
        return item
    stretched, wanted = line(item), line(first)
    return resized(stretched, len(wanted), 1) if stretched.shape[2] == wanted.shape[2] else None
