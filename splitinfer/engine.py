"""The seam to a runtime: run segments i..j from what is held at cut i.

An engine knows no plan, no codec and no network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from splitinfer.model import Model, Tensors


class Stop:
    """A request to stop something that runs in another thread. Asking is final."""

    __slots__ = ("_hooks", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._hooks: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Asks. Every hook is called at least once; hooks must be idempotent."""
        self.asked = True
        for hook in tuple(self._hooks):
            hook()

    def when_asked(self, hook: Callable[[], None]) -> None:
        """Calls `hook` when somebody asks, at once if somebody did."""
        self._hooks.append(hook)
        if self.asked:
            hook()


class Held(Protocol):
    """What a runtime holds of one request between two runs, in whatever layout it likes."""

    @property
    def at(self) -> int:
        """The cut it stands at."""
        ...

    def plain(self) -> Tensors:
        """The tensors that cross at this cut, as ordinary C-contiguous arrays."""
        ...

    def outputs(self) -> Tensors:
        """The outputs of the model that are already computed."""
        ...


class Engine(Protocol):
    """Runs ranges of one model. Thread-safe."""

    @property
    def model(self) -> Model:
        """What it runs."""
        ...

    @property
    def name(self) -> str:
        """Runtime, version and threads: a `Profile` belongs to it."""
        ...

    def hold(self, at: int, tensors: Tensors) -> Held:
        """Takes plain tensors in at cut `at`.

        Raises:
            InvalidInput: they are not the tensors of that cut.
        """
        ...

    def prepare(self, start: int, stop: int) -> None:
        """Gets ready for segments start..stop-1, so that their first run costs no more than the next.

        `run` does it where nobody did.

        Raises:
            InvalidCut: a segment of the range is not held.
            EngineError: the runtime cannot load it.
        """
        ...

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        """Runs segments start..stop-1.

        Args:
            start: must be `held.at`.
            stop: the cut to arrive at.
            held: what was held before; it stays valid, so that a request can resume from it.
            stopper: asking it ends the run within milliseconds.

        Raises:
            Stopped: the stopper was asked.
            InvalidCut: a segment of the range is not held.
            EngineError: the runtime failed.
        """
        ...
