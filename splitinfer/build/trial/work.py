"""What the child of a trial does: runs a model as it is, or a bundle by halves or segment by segment, and reads its memory.

Holds one thing at a time, since each holds weights. Knows no process and no message.
"""

from __future__ import annotations

from pathlib import Path

from splitinfer.backends.memory import Growth
from splitinfer.backends.ort import OrtEngine, Uncut
from splitinfer.build.walk import Progress
from splitinfer.bundle import Bundle
from splitinfer.engine import Engine
from splitinfer.errors import EngineError
from splitinfer.model import Array, Tensors


class Bench:
    """The one model or bundle that is worked on."""

    def __init__(self) -> None:
        self._uncut: Uncut | None = None
        self._bundle: Bundle | None = None
        self._engine: tuple[int | None, OrtEngine] | None = None

    def load(self, model: bytes, folder: Path | None) -> None:
        """Loads a model as it is, instead of the one before.

        Raises:
            EngineError: the runtime cannot.
        """
        self._uncut = None
        self._uncut = Uncut(model, folder)

    def run(self, feed: Tensors) -> Tensors:
        """Runs the model that is loaded.

        Raises:
            EngineError: the runtime failed, or none is loaded.
        """
        if self._uncut is None:
            raise EngineError("no model is loaded: load one first")
        return self._uncut.run(feed)

    def engine(self, path: Path, cut: int | None = None) -> OrtEngine:
        """An engine for a bundle; the same one until another bundle or cut is asked for.

        One a cut: sessions of all heads and tails together would hold the weights many times.

        Raises:
            CorruptBundle: it cannot be opened.
        """
        if self._bundle is None or self._bundle.path != path:
            self._engine = None
            self._bundle = Bundle.open(path, verify=False)  # whoever asks has read or written it
        if self._engine is None or self._engine[0] != cut:
            self._engine = (cut, OrtEngine(self._bundle))
        return self._engine[1]


def halves(engine: Engine, at: int, feed: Tensors) -> Tensors:
    """What a device with this cut would answer: outputs of the head, and those of a tail that got plain tensors."""
    n = engine.model.n
    head = engine.run(0, at, engine.hold(0, feed))
    if at == n:
        return head.outputs()
    return {**head.outputs(), **engine.run(at, n, engine.hold(at, head.plain())).outputs()}


def chain(engine: Engine, feed: Tensors, progress: Progress) -> Tensors:
    """The answer of all segments, each of which gets plain tensors from the one before."""
    n = engine.model.n
    held = engine.hold(0, feed)
    outputs: dict[str, Array] = {}
    for index in range(n):
        held = engine.run(index, index + 1, engine.hold(index, held.plain()))
        outputs.update(held.outputs())
        progress(index + 1, n)
    return outputs


def peaks(engine: Engine, feed: Tensors, progress: Progress) -> list[int | None]:
    """For each cut, the resident bytes that loading and running the segments before it took at most, above what was there.

    Every segment stays loaded, as on a device. Means something only in a process that ran nothing before.

    Returns:
        One entry a cut, 0 to n; None where the system does not tell.
    """
    n = engine.model.n
    growth, held = Growth(), engine.hold(0, feed)
    found: list[int | None] = [0]
    for index in range(n):
        held = engine.run(index, index + 1, held)
        found.append(growth.nbytes())
        progress(index + 1, n)
    return found
