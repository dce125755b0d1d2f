"""Every cut against the uncut model: head, then tail from plain tensors, must give the answer of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.build.walk import MANY_CUTS
from splitinfer.bundle import Bundle
from splitinfer.engine import Engine
from splitinfer.errors import UnsupportedModel
from splitinfer.model import Array, Tensors

TOLERANCE = 1e-4
"""Largest max|d| / max|y| of an output that is still the same answer."""

Step = Callable[[int, int], None]
"""Hears how many of how many are done."""


@dataclass(frozen=True, slots=True)
class CutCheck:
    """How far head and tail of one cut are from the uncut model, worst output and worst feed.

    Attributes:
        index: of the cut.
        id: of the cut.
        max_abs_error: max|d|.
        max_rel_error: max|d| / max|y|.
    """

    index: int
    id: str
    max_abs_error: float
    max_rel_error: float

    @property
    def ok(self) -> bool:
        """Whether it is the same answer."""
        return self.max_rel_error <= TOLERANCE


def verify(bundle: Bundle, feeds: Sequence[Tensors], uncut: Callable[[Tensors], Tensors] | None = None) -> list[CutCheck]:
    """Compares every cut of a bundle with the uncut model.

    Up to 16 cuts, head and tail of each are run as they are used, one session each. With more, the segments are run one
    after the other, so that each cut is crossed in plain form: what comes out is the answer of all cuts together, and the
    error that is reported for each is theirs together.

    Args:
        bundle: must hold all its segments.
        feeds: inputs of the model, one mapping a run.
        uncut: gives the outputs to compare with; by default all segments joined and run as one.

    Raises:
        InvalidInput: a feed does not fit.
        InvalidCut: the bundle does not hold all its segments.
        EngineError: the runtime failed.
    """
    return check(bundle, feeds, uncut or _joined(bundle), lambda done, total: None)


def check(bundle: Bundle, feeds: Sequence[Tensors], uncut: Callable[[Tensors], Tensors], step: Step) -> list[CutCheck]:
    """As `verify`, and says how far it is."""
    model = bundle.model
    for feed in feeds:
        model.check_inputs(feed)
    wanted = [uncut(feed) for feed in feeds]
    if model.n > MANY_CUTS:
        errors = _worst(_chain(bundle, feed, want, step) for feed, want in zip(feeds, wanted, strict=True))
        return [CutCheck(cut.index, cut.id, *errors) for cut in model.cuts]
    checks = []
    for cut in model.cuts:
        engine = OrtEngine(bundle)  # one a cut: sessions of all heads and tails together would hold the weights many times
        errors = _worst(difference(_halves(engine, cut.index, feed), want) for feed, want in zip(feeds, wanted, strict=True))
        checks.append(CutCheck(cut.index, cut.id, *errors))
        step(cut.index + 1, len(model.cuts))
    return checks


def refuse_wrong(bundle: Bundle, checks: Sequence[CutCheck]) -> None:
    """Stops a build whose halves give another answer.

    Raises:
        UnsupportedModel: names the worst cut.
    """
    worst = max(checks, key=lambda check: check.max_rel_error)
    if not worst.ok:
        cut = bundle.model.cuts[worst.index]
        narrow = any(spec.dtype == "float16" for spec in (*cut.tensors, *bundle.model.outputs))
        raise UnsupportedModel(
            f"cut {worst.index} ({cut.name}) gives another answer than the uncut model: error {worst.max_rel_error:.1e} of the "
            f"largest value, at most {TOLERANCE:.0e} is the same answer; "
            + ("float16 is not that exact, export the model in float32" if narrow else "choose other cuts with --cut")
        )


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


def _joined(bundle: Bundle) -> Callable[[Tensors], Tensors]:
    engine = OrtEngine(bundle)
    return lambda feed: engine.run(0, bundle.model.n, engine.hold(0, feed)).outputs()


def _halves(engine: Engine, at: int, feed: Tensors) -> Tensors:
    """What a device with this plan would answer: outputs of the head, and those of a tail that got plain tensors."""
    n = engine.model.n
    head = engine.run(0, at, engine.hold(0, feed))
    if at == n:
        return head.outputs()
    return {**head.outputs(), **engine.run(at, n, engine.hold(at, head.plain())).outputs()}


def _chain(bundle: Bundle, feed: Tensors, want: Tensors, step: Step) -> tuple[float, float]:
    engine = OrtEngine(bundle)
    held = engine.hold(0, feed)
    outputs: dict[str, Array] = {}
    for index in range(bundle.model.n):
        held = engine.run(index, index + 1, engine.hold(index, held.plain()))
        outputs.update(held.outputs())
        step(index + 1, bundle.model.n)
    return difference(outputs, want)


def _worst(errors: Iterable[tuple[float, float]]) -> tuple[float, float]:
    pairs = list(errors)
    return max(a for a, _ in pairs), max(r for _, r in pairs)
