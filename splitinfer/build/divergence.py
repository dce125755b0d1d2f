"""How far the outputs of a plan are from the uncut model's, as one number a sample: finer than whether the answer changed.

A classifier's answer is a float output of two dimensions with at least two columns. Rows that are shares (none negative, sum 1)
are taken as they are, others as scores, of which softmax makes shares; the divergence is Kullback and Leibler's, of the plan's
shares from the uncut model's, in nats. Anything else is measured by its squared error over the squared size of what is wanted.
Knows no plan and no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array

Floats = npt.NDArray[np.float64]

SHARES_SUM = 1e-3
"""How far from 1 the sum of shares may be."""
_LEAST = 1e-12
"""A share of 0 in the plan's answer counts as this much: finite, however wrong."""


def divergence(
    got: Sequence[Array], wanted: Sequence[Array], items: Sequence[int], *, classifies: bool = True
) -> Floats | None:
    """The divergence of each item.

    Args:
        got: the output with the plan, run by run.
        wanted: of the uncut model.
        items: how many there are in each run: one a row of axis 0, or one for all that the run gives.
        classifies: False = it is no classifier, whatever the output looks like.

    Returns:
        float64 [items]; None where it cannot be told: another shape, no number, or nothing to compare the error with.
    """
    if any(after.shape != before.shape for after, before in zip(got, wanted, strict=True)):
        return None
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is told below
        if classifies and all(map(_is_of_a_classifier, wanted, items)):
            found = _kullback_leibler(_float64(got), _float64(wanted))
        else:
            found = _squared_error(_float64(got), _float64(wanted), items)
    return found if found.size and np.isfinite(found).all() else None


def _is_of_a_classifier(array: Array, items: int) -> bool:
    return array.dtype.kind == "f" and array.ndim == 2 and array.shape[0] == items and array.shape[1] > 1


def _float64(arrays: Sequence[Array]) -> list[Floats]:
    return [array.astype(np.float64) for array in arrays]


def _kullback_leibler(got: Sequence[Floats], wanted: Sequence[Floats]) -> Floats:
    logs = _log_of_shares if all(map(_are_shares, wanted)) else _log_softmax
    pairs = [(logs(after), logs(before)) for after, before in zip(got, wanted, strict=True)]
    return np.concatenate([np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0) for log_q, log_p in pairs])


def _are_shares(rows: Floats) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) <= SHARES_SUM).all())


def _log_of_shares(rows: Floats) -> Floats:
    shares = np.maximum(rows, _LEAST)
    logs: Floats = np.log(shares / shares.sum(axis=1, keepdims=True))
    return logs


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _squared_error(got: Sequence[Floats], wanted: Sequence[Floats], items: Sequence[int]) -> Floats:
    """Of each item, over the mean squared size of all items: one that is all 0 has no size of its own."""
    errors = [after - before for after, before in zip(got, wanted, strict=True)]
    found, sizes = (np.concatenate(list(map(_squares, each, items))) for each in (errors, wanted))
    size = sizes.mean()
    return found / size if size else np.where(found == 0, 0.0, np.nan)


def _squares(values: Floats, items: int) -> Floats:
    return np.asarray((values.reshape(items, -1) ** 2).sum(axis=1))
