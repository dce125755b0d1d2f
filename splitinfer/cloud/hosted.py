"""One bundle in a server: its engine, what its tails take here, and the work of one request.

Knows no network; `answer` runs in a thread of the server's pool.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.engine import Engine, Stop
from splitinfer.errors import EngineError, InvalidCut
from splitinfer.model import Cut, Tensors
from splitinfer.payload import Packer, Payload
from splitinfer.plan import Profile

SMOOTHING = 0.1
"""Weight of the newest measurement."""
WARM_MAX = 16
"""Tails that are loaded before the first request. Each keeps its own weights, and a bundle with every cut has a hundred."""
ITEMS_MAX = 64
"""Larger batches count as this many."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs that a tail computed, coded, and how long each stage took."""

    payload: Payload
    decode_ms: float
    tail_ms: float
    encode_ms: float

    @property
    def service_ms(self) -> float:
        """All of the time in the thread."""
        return self.decode_ms + self.tail_ms + self.encode_ms


class Hosted:
    """A bundle, ready to serve.

    Args:
        engine: runs its segments.
        packer: reads and writes its payloads.
        profile: the reference, for `tail_scale` and for the first estimates; None = there is none.
    """

    def __init__(self, engine: Engine, packer: Packer, profile: Profile | None = None) -> None:
        self.model = engine.model
        self._engine = engine
        self._packer = packer
        self._profile = profile
        self._service_ms: dict[int, float] = {}
        self._batched = [{t.name for t in cut.tensors if t.shape[:1] == (None,)} for cut in self.model.cuts]
        self.tail_scale: float | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens a bundle, verifies it and warms its tails. Takes seconds.

        Raises:
            CorruptBundle: it is none, or was changed.
            InvalidCut: it was trimmed for devices.
        """
        bundle = Bundle.open(path)
        check_tails(bundle)
        hosted = cls(OrtEngine(bundle), Packer(bundle.model, bundle.tables), bundle.profile)
        hosted.warm()
        return hosted

    def check(self, cut: int) -> None:
        """Refuses a cut that has no tail here.

        Raises:
            InvalidCut: there is no such cut, nothing is left to do there, or its segments are not held.
        """
        if not 0 <= cut < self.model.n or not self.model.holds_range(cut, self.model.n):
            raise InvalidCut(f"no tail for cut {cut} here: `splitinfer inspect` lists the cuts of a bundle")

    def service_ms(self, payload: Payload) -> float:
        """What this request will take in a thread, in proportion to its batch; 0 = not known yet."""
        # The shape is not checked yet, and this counts in the queue: a lie must not look longer than real work could be.
        return self._service_ms.get(payload.cut, 0.0) * min(self._items(payload), ITEMS_MAX)

    def doubt(self, cut: int) -> None:
        """Somebody was refused because of an estimate. It fades: only runs correct it, and one slow run must not shut a cut."""
        self._service_ms[cut] *= 1 - SMOOTHING

    def answer(self, payload: Payload, stopper: Stop) -> Answer:
        """Decodes, runs the tail, encodes.

        Raises:
            CodecError: the payload is not what it says.
            Stopped: the stopper was asked.
            EngineError: the runtime failed.
        """
        started = time.perf_counter()
        held = self._engine.hold(payload.cut, self._packer.unpack(payload))
        decoded = time.perf_counter()
        outputs = self._engine.run(payload.cut, self.model.n, held, stopper).outputs()
        ran = time.perf_counter()
        reply = self._packer.pack_outputs(outputs)
        packed = time.perf_counter()
        return Answer(reply, (decoded - started) * 1e3, (ran - decoded) * 1e3, (packed - ran) * 1e3)

    def learn(self, payload: Payload, answer: Answer) -> None:
        """Takes a measurement into the estimates."""
        cut, items = payload.cut, self._items(payload)
        self._service_ms[cut] = _smooth(self._service_ms.get(cut), answer.service_ms / items)
        reference_ms = self._reference_ms(cut)
        if reference_ms > 0:
            self.tail_scale = _smooth(self.tail_scale, answer.tail_ms / items / reference_ms)

    def _items(self, payload: Payload) -> int:
        """The batch: axis 0 of a tensor where that is dynamic."""
        batched = self._batched[payload.cut]
        return max([1, *(part.shape[0] for part in payload.parts if part.name in batched and part.shape)])

    def _reference_ms(self, cut: int) -> float:
        tails_ms = self._profile.tail_ms if self._profile else ()
        return tails_ms[cut] if cut < len(tails_ms) else 0.0

    def warm(self) -> None:
        """Runs tails twice on zeros, so that the first request is as fast as the others and its time is known."""
        for cut in self.model.cuts[: min(self.model.n, WARM_MAX)]:
            if not self.model.holds_range(cut.index, self.model.n):
                continue
            try:
                self._run(cut)
                self._service_ms[cut.index] = self._run(cut)
            except EngineError:
                # Zeros at batch 1 are a guess; a model that refuses them may still take what devices send.
                _log.warning("the tail of cut %d could not be tried on zeros; its first request will be slower", cut.index)

    def _run(self, cut: Cut) -> float:
        started = time.perf_counter()
        self._engine.run(cut.index, self.model.n, self._engine.hold(cut.index, _zeros(cut)))
        return (time.perf_counter() - started) * 1e3


def check_tails(bundle: Bundle) -> None:
    """Refuses a bundle that can finish no request.

    Raises:
        InvalidCut: the last segment is missing, as where a bundle was trimmed for devices.
    """
    model = bundle.model
    if model.n - 1 not in model.holds:
        raise InvalidCut(
            f"{bundle.path} was trimmed for devices: without segment {model.n - 1} it can finish no request; "
            f"serve the whole bundle, which has the same digest {model.digest[:12]}"
        )


def _zeros(cut: Cut) -> Tensors:
    return {t.name: np.zeros([1 if d is None else d for d in t.shape], t.dtype) for t in cut.tensors}


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
