"""A trap: a small model with one thing that makes cutting hard, what it is to be run with, and what is right.

Knows no cutter; `judge` does.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from splitinfer.bench.traps.parts import Feeds, ModelProto
from splitinfer.model import Tensors

Files: TypeAlias = "Callable[[ModelProto, Path], Path]"
"""Writes a model into an empty folder; returns the file to open."""


def one_file(model: ModelProto, folder: Path) -> Path:
    """Writes a model with its weights inside."""
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _none() -> tuple[Tensors, ...]:
    return ()


@dataclass(frozen=True)
class Trap:
    """A model that is hard to cut.

    Attributes:
        name: unique; a word.
        why: what makes it hard, one line.
        model: makes it.
        expect: "cut": right at every boundary; "refused": it must be, with a message that says enough.
        feeds: inputs to compare with; not only the sizes that a build would try.
        must_cross: live sets that have to be offered, or a cutter that refuses every boundary would pass. Small tensors
            (shapes, flags) may cross beside them.
        never_cross: tensors that must not cross, since something smaller or exact does in their place.
        cuts_min: cuts to be offered, the first and the last included.
        exact: whether floats must be equal, too. Whatever is no float must always be.
        says: words that the message of a refusal must have: node or tensor at fault.
        hostile: whether it hangs or exhausts a process that runs it unguarded.
        files: how it is stored.
        same_as: a model with the same answers, where ONNX Runtime itself does not take the file.
    """

    name: str
    why: str
    model: Callable[[], ModelProto]
    expect: Literal["cut", "refused"]
    feeds: Feeds = _none
    must_cross: tuple[frozenset[str], ...] = ()
    never_cross: frozenset[str] = frozenset()
    cuts_min: int = 2
    exact: bool = False
    says: tuple[str, ...] = ()
    hostile: bool = False
    files: Files = field(default=one_file)
    same_as: Callable[[], ModelProto] | None = None

    def write(self, folder: Path) -> Path:
        """Writes the model and what belongs to it; returns the file to open."""
        return self.files(self.model(), folder)


Crossing = str | Set[str]


def cut(
    model: Callable[[], ModelProto], feeds: Feeds, *must_cross: Crossing, never: Set[str] = frozenset(), **fields: Any
) -> Trap:
    """A trap that is to be cut. Name and reason are those of the function that makes it.

    Args:
        model: makes it.
        feeds: inputs to compare with.
        must_cross: live sets; a tensor that crosses alone is written as its name.
        never: tensors that must not cross.
        fields: further ones of `Trap`.
    """
    sets = tuple(frozenset({tensors}) if isinstance(tensors, str) else frozenset(tensors) for tensors in must_cross)
    return Trap(model.__name__, _why(model), model, "cut", feeds, sets, frozenset(never), **fields)


def refused(
    model: Callable[[], ModelProto],
    *says: str,
    hostile: bool = False,
    files: Files = one_file,
    name: str | None = None,
    why: str | None = None,
) -> Trap:
    """A trap that is to be refused. Name and reason are those of the function where they are not given."""
    return Trap(name or model.__name__, why or _why(model), model, "refused", says=says, hostile=hostile, files=files)


def _why(model: Callable[[], ModelProto]) -> str:
    assert model.__doc__ is not None, model
    return model.__doc__.splitlines()[0].rstrip(".")
