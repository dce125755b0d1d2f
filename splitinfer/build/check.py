"""Every cut against the uncut model: head, then tail from plain tensors, must give the answer of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from splitinfer.build.trial import Trial
from splitinfer.build.walk import MANY_CUTS, Progress
from splitinfer.bundle import Bundle
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Array, Cut, Tensors

TOLERANCE = 1e-4
"""Largest max|d| / max|y| of an output that is still the same answer."""
TOLERANCE_IN_FEW_BITS = TOLERANCE / 10
"""The same where a model computes in few bits. There an answer is the same or a whole step off, and how large a step is beside
the largest value is chance: what is 9e-5 for one input was 1.5e-4 for the next (a float16 transformer)."""


@dataclass(frozen=True, slots=True)
class CutCheck:
    """How far head and tail of one cut are from the uncut model, worst output and worst feed.

    Attributes:
        index: of the cut.
        id: of the cut.
        max_abs_error: max|d|.
        max_rel_error: max|d| / max|y|.
        crash: what happened where there was no answer at all; None where there was one.
        tolerance: largest max|d| / max|y| that is still the same answer.
    """

    index: int
    id: str
    max_abs_error: float
    max_rel_error: float
    crash: str | None = None
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether it is the same answer."""
        return self.crash is None and self.max_rel_error <= self.tolerance

    @property
    def objection(self) -> str:
        """What is wrong with it, where it is not."""
        return self.crash or (
            f"head and tail give another answer than the uncut model: error {self.max_rel_error:.1e} of the largest value, "
            f"at most {self.tolerance:.0e} is the same answer"
        )


def verify(bundle: Bundle, feeds: Sequence[Tensors], uncut: Callable[[Tensors], Tensors] | None = None) -> list[CutCheck]:
    """Compares every cut of a bundle with the uncut model, in a child process.

    Up to 16 cuts, head and tail of each are run as they are used, one session each. With more, the segments are run one
    after the other, so that each cut is crossed in plain form: if what comes out is the right answer, the error that is
    reported for each cut is theirs together. If not, each cut is run on its own.

    Args:
        bundle: must hold all its segments.
        feeds: inputs of the model, one mapping a run.
        uncut: gives the outputs to compare with; by default all segments joined and run as one.

    Raises:
        InvalidInput: a feed does not fit.
        InvalidCut: the bundle does not hold all its segments.
        EngineError: the runtime failed to run the uncut model.
    """
    with Trial() as trial:
        return check(trial, bundle, feeds, uncut or (lambda feed: trial.halves(bundle.path, bundle.model.n, feed)))


def check(
    trial: Trial,
    bundle: Bundle,
    feeds: Sequence[Tensors],
    uncut: Callable[[Tensors], Tensors],
    progress: Progress = lambda done, total: None,
    *,
    each: bool = False,
) -> list[CutCheck]:
    """As `verify`, in a child that is there already; says how far it is.

    Where that is asked, each cut is run on its own, and held to `TOLERANCE_IN_FEW_BITS`.
    """
    for feed in feeds:
        bundle.model.check_inputs(feed)
    pairs = [(feed, uncut(feed)) for feed in feeds]
    cuts = bundle.model.cuts
    tolerance = TOLERANCE_IN_FEW_BITS if each else TOLERANCE
    chain = _checked(cuts[0], pairs, lambda feed: trial.chain(bundle.path, feed, progress))
    together = replace(chain, tolerance=tolerance)
    if together.ok and len(cuts) > MANY_CUTS + 1 and not each:
        return [replace(together, index=cut.index, id=cut.id) for cut in cuts]
    checks = []
    for cut in cuts:
        found = _checked(cut, pairs, partial(trial.halves, bundle.path, cut.index))
        checks.append(replace(found, tolerance=tolerance))
        progress(cut.index + 1, len(cuts))
    if not together.ok and all(check.ok for check in checks):  # each is right, but not all of them after each other
        worst = max(checks[1:-1], key=lambda check: check.max_rel_error, default=checks[0])
        checks[worst.index] = replace(together, index=worst.index, id=worst.id)
    return checks


def _checked(cut: Cut, pairs: Sequence[tuple[Tensors, Tensors]], answer: Callable[[Tensors], Tensors]) -> CutCheck:
    try:
        errors = _worst(_difference(answer(feed), want) for feed, want in pairs)
    except (UnsupportedModel, EngineError, InvalidInput) as error:  # the last: a tensor has another shape than declared
        return CutCheck(cut.index, cut.id, float("inf"), float("inf"), str(error))
    return CutCheck(cut.index, cut.id, *errors)


def _difference(got: Tensors, want: Tensors) -> tuple[float, float]:
    """As `difference`; but what is no float is either equal or altogether wrong."""
    absolute, relative = difference(got, want)
    if relative <= TOLERANCE:
        unequal = any(array.dtype.kind != "f" and not np.array_equal(got[name], array) for name, array in want.items())
        return absolute, float("inf") if unequal else relative
    return absolute, relative


def difference(got: Tensors, want: Tensors) -> tuple[float, float]:
    """max|d| and max|d| / max|y| of the worst output.

    Infinities and NaNs at the same places are no difference; another shape is infinite.
    """
    if got.keys() != want.keys():
        return float("inf"), float("inf")
    return _worst(_distance(got[name], want[name]) for name in want)


def _distance(got: Array, want: Array) -> tuple[float, float]:
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf"), float("inf")
    if np.array_equal(got, want, equal_nan=want.dtype.kind == "f"):
        return 0.0, 0.0
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    delta = float(np.where(same, 0.0, np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b))).max())
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    if not np.isfinite(delta) or not scale:
        return (delta, float("inf")) if delta else (0.0, 0.0)
    return delta, delta / scale


def _worst(errors: Iterable[tuple[float, float]]) -> tuple[float, float]:
    pairs = list(errors)
    return max(a for a, _ in pairs), max(r for _, r in pairs)
