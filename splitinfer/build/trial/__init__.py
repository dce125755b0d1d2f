"""Running models that may crash or hang: in a child, so that they cost a process and not the build.

    process     a child, seen from here      child       the program that it runs
    frames      messages between them        work        what it does with a model

A child is started at first use, and another one after it died. Whoever asks gets an answer, the runtime's own refusal, or an
error that says what the child died of. Nothing of a model is run in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from splitinfer.build.trial.frames import Message
from splitinfer.build.trial.process import Child
from splitinfer.build.walk import Progress
from splitinfer.errors import CorruptBundle, EngineError, InvalidCut, InvalidInput
from splitinfer.model import Array, Tensors

_REFUSALS = {kind.__name__: kind for kind in (CorruptBundle, EngineError, InvalidCut, InvalidInput)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        seconds: of one request, or of one segment where a request goes through several; of the clock, and of the CPU.
        memory_bytes: address space; None = as much as the machine has memory.
    """

    seconds: float = 120.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Uncut:
    """A model as it is, kept to be loaded again."""

    model: Array
    folder: Path | None


class Trial:
    """A child that runs models. For one thread. Use it as a context manager, or close it.

    Its methods raise `UnsupportedModel` where the child crashed, took too long or got no more memory, and `EngineError` where
    the runtime refused. After either, the next request is answered as if nothing had happened.

    Args:
        limits: of each child.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._child: Child | None = None
        self._loaded: _Uncut | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the child; None where there is none."""
        return None if self._child is None else self._child.pid

    def uncut(self, model: bytes, folder: Path | None) -> Callable[[Tensors], Tensors]:
        """Loads a model as it is.

        Args:
            model: a serialised ModelProto.
            folder: where the weights lie that are stored outside it.

        Returns:
            Runs it: gives its outputs for inputs. Loads it again where the child is another, or was given another model.

        Raises:
            UnsupportedModel: the child died of it.
            EngineError: the runtime cannot load it.
        """
        source = _Uncut(np.frombuffer(model, np.uint8), folder)

        def run(feed: Tensors) -> Tensors:
            self._load(source)
            return self._ask("ran the model", {"do": "run"}, feed).tensors

        self._load(source)
        return run

    def halves(self, bundle: Path, cut: int, feed: Tensors) -> Tensors:
        """The outputs of head and tail of a cut, where the tail gets plain tensors.

        Args:
            bundle: its folder, which does not change while it is in use here.
            cut: index.
            feed: inputs.

        Raises:
            UnsupportedModel: the child died of it.
            EngineError: the runtime failed.
            InvalidInput: the feed does not fit.
            InvalidCut: segments are not held.
            CorruptBundle: the bundle cannot be opened.
        """
        return self._ask(f"ran cut {cut}", {"do": "halves", "bundle": str(bundle.absolute()), "cut": cut}, feed).tensors

    def chain(self, bundle: Path, feed: Tensors, progress: Progress) -> Tensors:
        """The outputs of all segments, each of which gets plain tensors from the one before.

        Args:
            bundle: as for `halves`.
            feed: inputs.
            progress: hears how many segments of how many are done.

        Raises:
            UnsupportedModel: the child died of it.
            EngineError, InvalidInput, InvalidCut, CorruptBundle: as for `halves`.
        """
        return self._ask("ran segment 0", {"do": "chain", "bundle": str(bundle.absolute())}, feed, progress).tensors

    def peaks(self, bundle: Path, feed: Tensors) -> tuple[int | None, ...]:
        """For each cut, the resident memory that loading and running the segments before it took at most, in a new child.

        Segments stay loaded, as on a device. What the process needs without any (Python, the runtime's code) is left out.

        Args:
            bundle: as for `halves`.
            feed: inputs.

        Returns:
            Bytes, one entry for each cut 0 to n; None where the system does not tell.

        Raises:
            UnsupportedModel: the child died of it.
            EngineError, InvalidInput, InvalidCut, CorruptBundle: as for `halves`.
        """
        with Trial(self._limits) as fresh:
            reply = fresh._ask("ran segment 0", {"do": "peaks", "bundle": str(bundle.absolute())}, feed)
        return tuple(reply.fields["peaks"])

    def close(self) -> None:
        """Ends the child, for good: what is asked afterwards is a `ValueError`."""
        self._closed = True
        self._drop()

    def _load(self, source: _Uncut) -> None:
        if self._loaded is source and self._child is not None and self._child.alive:
            return
        self._loaded = None
        folder = None if source.folder is None else str(source.folder.absolute())
        self._ask("loaded the model", {"do": "load", "folder": folder}, {"model": source.model})
        self._loaded = source

    def _ask(self, doing: str, fields: dict[str, object], tensors: Tensors, progress: Progress | None = None) -> Message:
        child = self._running()
        try:
            reply = child.ask(doing, Message(fields, tensors), progress)
        except BaseException:  # even by Ctrl-C: it may stand between two messages now
            self._drop()
            raise
        if "error" in reply.fields:
            raise _REFUSALS.get(reply.fields["error"], EngineError)(reply.fields["words"])
        return reply

    def _running(self) -> Child:
        """The child; another one where it died while nobody asked it anything."""
        if self._closed:
            raise ValueError("the trial is closed")
        if self._child is not None and not self._child.alive:
            self._drop()
        if self._child is None:
            self._child = Child(self._limits.seconds, self._limits.memory_bytes or _machine_bytes())
        return self._child

    def _drop(self) -> None:
        child, self._child, self._loaded = self._child, None, None
        if child is not None:
            child.end()


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
