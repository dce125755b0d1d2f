"""Codecs that installed packages offer, as entry points of the group `splitinfer.codecs`.

An entry point's name is the name of its family, its object a factory, `factory(step: str | None) -> Codec`. Packages are looked
through once, at the first name that is unknown here, and a package is loaded only when its name is asked for. Knows no name of
ours: the registry asks here only for what it does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from splitinfer.codec.protocol import Codec
from splitinfer.codec.registry import ANY_STEP, Family
from splitinfer.errors import SplitInferError, UnknownCodec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "splitinfer.codecs"


def family(name: str) -> Family | None:
    """The family with this name; None where no package offers it.

    Raises:
        UnknownCodec: the package that offers it is broken.
    """
    if name not in _entry_points():
        return None
    found = _load(name)
    if isinstance(found, _Broken):
        raise UnknownCodec(f"no codec {name!r}: {found.why}") from found.cause
    return found


@dataclass(frozen=True)
class _Broken:
    """Remembered, so that a broken package is not imported again for each request."""

    why: str
    cause: Exception | None = None


@cache
def _entry_points() -> dict[str, tuple[EntryPoint, ...]]:
    from importlib.metadata import entry_points  # takes longer than all codecs together, and most programs never get here

    found = entry_points(group=GROUP)
    return {name: tuple(found.select(name=name)) for name in found.names}


@cache
def _load(name: str) -> Family | _Broken:
    entry, *others = _entry_points()[name]
    if others:
        return _Broken(f"{len(others) + 1} packages offer it; uninstall all but one")
    try:
        factory = entry.load()
    except Exception as error:  # noqa: BLE001 (a foreign module may raise anything while it is imported)
        return _Broken(f"{_where(entry)} cannot be loaded ({type(error).__name__})", error)
    if not callable(factory):
        return _Broken(f"{_where(entry)} is no factory but {type(factory).__name__!r}")
    return Family(name, partial(_make, entry, factory), ANY_STEP)


def _make(entry: EntryPoint, factory: Callable[[str | None], Codec], step: str) -> Codec:
    """What the factory makes, if it has the id that was asked for."""
    id = f"{entry.name}:{step}" if step else entry.name
    try:
        made = factory(step or None)
        right = made.id == id
    except SplitInferError:
        raise
    except Exception as error:
        raise UnknownCodec(f"no codec {id!r}: {_where(entry)} made none ({type(error).__name__})") from error
    if not right:
        raise UnknownCodec(f"no codec {id!r}: {_where(entry)} made {made.id!r} instead")
    return made


def _where(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an unnamed package"
    return f"the entry point {entry.name!r} of {package}"
