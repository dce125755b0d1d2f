"""A stand-in for a slower device: an engine that sleeps in proportion to what it computed.

For demonstrations and tests on one machine. It sleeps rather than computes, so that device and cloud do not fight for the same
cores, and what is shown depends on the factor alone. Knows no runtime.
"""

from __future__ import annotations

import threading
import time

from splitinfer.engine import Engine, Held, Stop
from splitinfer.errors import Stopped
from splitinfer.model import Model, Tensors


class Slowed:
    """An engine that takes `factor` times as long.

    The time to stretch is CPU time of the calling thread: on a machine that others use too it does not grow with their load.
    So the inner engine must compute in the thread that calls it (`OrtEngine(threads=1)` does). Getting ready is not stretched.

    Args:
        engine: does the work.
        factor: 1 or more.
    """

    def __init__(self, engine: Engine, factor: float) -> None:
        if not factor >= 1:
            raise ValueError(f"a device can be slowed by a factor of 1 or more, not {factor}")
        self._engine = engine
        self._factor = factor

    @property
    def model(self) -> Model:
        """What it runs."""
        return self._engine.model

    @property
    def name(self) -> str:
        """The inner engine's, and the factor."""
        return f"{self._engine.name} slowed x{self._factor:g}"

    def hold(self, at: int, tensors: Tensors) -> Held:
        """As the inner engine, at full speed."""
        return self._engine.hold(at, tensors)

    def prepare(self, start: int, stop: int) -> None:
        """As the inner engine, at full speed."""
        self._engine.prepare(start, stop)

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        """As the inner engine, then sleeps `factor - 1` times the CPU time that it took.

        Raises:
            Stopped: the stopper was asked, while it computed or while it slept.
            InvalidCut: a segment of the range is not held.
            EngineError: the runtime failed.
        """
        if start < stop:
            self._engine.prepare(start, stop)
        before_s = time.thread_time()
        result = self._engine.run(start, stop, held, stopper)
        _sleep((self._factor - 1) * (time.thread_time() - before_s), stopper)
        return result


def _sleep(duration_s: float, stopper: Stop | None) -> None:
    woken = threading.Event()
    if stopper is not None:
        stopper.when_asked(woken.set)
    if woken.wait(duration_s):
        raise Stopped("a slowed run was stopped")
