"""Whether the cutter does the right thing with a trap.

Right is what plain ONNX Runtime answers to the file as it is: the cutter's own idea of the uncut model is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime as ort

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.traps.trap import Trap
from splitinfer.build import BuildOptions, build
from splitinfer.bundle import Bundle
from splitinfer.engine import Held
from splitinfer.errors import SplitInferError, UnsupportedModel
from splitinfer.model import Array, Tensors

TOLERANCE = 1e-4
"""Largest max|d| / max|y| of a float output that is still the same answer."""
SMALL_BYTES = 128
"""What may cross beside a demanded live set: shapes, flags, a mask."""
_SILENT = 4  # ONNX Runtime's log level that says only what is fatal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a trap.

    Attributes:
        right: whether it was cut right everywhere, or refused where that is right.
        cuts: that were offered, the first and the last included; 0 where it was refused.
        worst_error: max|d| / max|y| of the worst output at the worst cut; 0 where it was refused.
        reason: what is wrong; of a right refusal its message; else empty.
    """

    right: bool
    cuts: int
    worst_error: float
    reason: str


def judge(trap: Trap, folder: Path) -> Verdict:
    """Builds a trap in an empty folder and looks at every cut.

    Raises:
        Exception: whatever the cutter lets through that is no `SplitInferError` is a bug, and shown as one.
    """
    path = trap.write(folder)
    return _refusal(trap, path, folder) if trap.expect == "refused" else _cutting(trap, path, folder)


def _refusal(trap: Trap, path: Path, folder: Path) -> Verdict:
    out = folder / "refused.bundle"
    try:
        bundle = build(path, out, BuildOptions(cuts="all", codecs=("raw",)))
    except UnsupportedModel as error:
        return _message(trap, str(error), left=out.exists())
    except SplitInferError as error:
        return Verdict(False, 0, 0.0, f"refused with the wrong type {type(error).__name__}: {error}")
    return Verdict(False, len(bundle.model.cuts), 0.0, "it was cut")


def _message(trap: Trap, message: str, left: bool) -> Verdict:
    missing = [word for word in trap.says if word.lower() not in message.lower()]
    if missing:
        return Verdict(False, 0, 0.0, f"the message does not name {', '.join(missing)}: {message}")
    if not any(mark in message for mark in (": ", "; ", ", ")):
        return Verdict(False, 0, 0.0, f"the message does not say what to do: {message}")
    return Verdict(False, 0, 0.0, "a refused model left a bundle") if left else Verdict(True, 0, 0.0, message)


def _cutting(trap: Trap, path: Path, folder: Path) -> Verdict:
    cuts, worst = 0, 0.0
    try:
        for kind in ("all", "frontier"):
            bundle = build(path, folder / f"{kind}.bundle", BuildOptions(cuts=kind, codecs=("raw",)))
            if kind == "all":
                cuts = len(bundle.model.cuts)
                wrong = _wrong_cuts(trap, bundle)
                if wrong:
                    return Verdict(False, cuts, worst, wrong)
            error, where = _worst(trap, path, bundle)
            worst = max(worst, error)
            if error > (0.0 if trap.exact else TOLERANCE):
                return Verdict(False, cuts, worst, f"{kind} cuts: error {error:.1e} {where}")
    except SplitInferError as error:
        return Verdict(False, cuts, worst, f"{type(error).__name__}: {error}")
    return Verdict(True, cuts, worst, "")


def _wrong_cuts(trap: Trap, bundle: Bundle) -> str:
    """What is wrong with the cuts that are offered; nothing where they are right."""
    cuts = bundle.model.cuts
    if len({cut.name for cut in cuts}) < len(cuts) or len({cut.id for cut in cuts}) < len(cuts):
        return "two cuts have the same name or id"
    offered = ", ".join(cut.name for cut in cuts)
    crossing = list(_crossing(bundle, trap.feeds()[0]))
    for wanted in trap.must_cross:
        if not any(_is(tensors, wanted) for tensors in crossing):
            return f"no cut at {'+'.join(sorted(wanted))}; there are {offered}"
    never = {name for tensors in crossing for name in tensors} & trap.never_cross
    if never:
        return f"{', '.join(sorted(never))} must not cross; there are {offered}"
    return f"fewer than {trap.cuts_min} cuts: {offered}" if len(cuts) < trap.cuts_min else ""


def _crossing(bundle: Bundle, feed: Tensors) -> Iterator[Tensors]:
    """What crosses at each cut."""
    engine = OrtEngine(bundle)
    held: Held = engine.hold(0, feed)
    for at in range(bundle.model.n):
        yield held.plain()
        held = engine.run(at, at + 1, held)


def _is(tensors: Tensors, wanted: frozenset[str]) -> bool:
    """Whether these cross, and beside them nothing but small ones."""
    return wanted <= tensors.keys() and all(
        array.nbytes <= SMALL_BYTES for name, array in tensors.items() if name not in wanted
    )


def _worst(trap: Trap, path: Path, bundle: Bundle) -> tuple[float, str]:
    """The worst error over feeds and cuts, and where it is."""
    worst, where = 0.0, ""
    engine = OrtEngine(bundle)
    plain = _plain_session(trap, path)
    for (run, feed), by_segment in product(enumerate(trap.feeds()), (False, True)):
        want = _plain(plain, feed)
        for at, got in _segments(engine, feed) if by_segment else _halves(engine, feed):
            error = max(_distance(got.get(name), array) for name, array in want.items())
            error = error if got.keys() == want.keys() else float("inf")
            if error > worst:
                cut = bundle.model.cuts[at]
                worst, where = error, f"at cut {at} ({cut.name}), feed {run}{', segment by segment' if by_segment else ''}"
    return worst, where


def _plain_session(trap: Trap, path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _SILENT
    model = str(path) if trap.same_as is None else trap.same_as().SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _plain(session: ort.InferenceSession, feed: Tensors) -> Tensors:
    """What ONNX Runtime answers to the file."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def _halves(engine: OrtEngine, feed: Tensors) -> Iterator[tuple[int, Tensors]]:
    """Each cut: all before it as one range; then, from plain arrays, all behind it as one."""
    n = engine.model.n
    for at in range(n + 1):
        head: Held = engine.run(0, at, engine.hold(0, feed))
        tail = engine.run(at, n, _crossed(engine, head)).outputs() if at < n else {}
        yield at, {**head.outputs(), **tail}


def _crossed(engine: OrtEngine, held: Held) -> Held:
    """What arrives on the other side. Nothing empty crosses: there the device goes on by itself."""
    plain = held.plain()
    return engine.hold(held.at, plain) if all(array.size for array in plain.values()) else held


def _segments(engine: OrtEngine, feed: Tensors) -> Iterator[tuple[int, Tensors]]:
    """All cuts crossed in one run."""
    n = engine.model.n
    held: Held = engine.hold(0, feed)
    outputs: dict[str, Array] = {}
    for at in range(n):
        held = engine.run(at, at + 1, _crossed(engine, held))
        outputs |= held.outputs()
    yield n, outputs


def _distance(got: Array | None, want: Array) -> float:
    """max|d| / max|y|; whatever is no float must be equal."""
    if got is None or got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(got, want) else float("inf")
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    delta = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)).max(initial=0.0)
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return float(delta / scale) if scale > 0 and np.isfinite(delta) else float("inf") if delta else 0.0
