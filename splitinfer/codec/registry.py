"""Codecs by their ids: `name[:step][+zstd1]`.

A family is a name, the steps it takes and a factory. What is composed is no family of its own: `+zstd1` may follow every codec
whose chunks have a bound (`SizedItemCodec`). A name that is none of ours may be a third party's (`installed`); a name of ours
never is. Knows no codec itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from splitinfer.codec.items import SizedItemCodec
from splitinfer.codec.protocol import Codec
from splitinfer.codec.zstd import Zstd
from splitinfer.errors import UnknownCodec

_ID = re.compile(r"([a-z][a-z0-9_-]{0,31})(?::([0-9A-Za-z._-]{1,31}))?(\+zstd1)?", re.ASCII)
_REMEMBERED = 256

Factory = Callable[[str], Codec]
"""Makes a codec from its step; "" where the id has none."""


@dataclass(frozen=True)
class Steps:
    """What may stand behind the colon of an id.

    Attributes:
        pattern: one spelling for each step, since ids are compared as text.
        says: the steps, for people.
        example: one of them.
    """

    pattern: str
    says: str
    example: str


NO_STEP = Steps("", "", "")
ANY_STEP = Steps(".*", "", "")
"""Whoever makes the codec says which steps there are."""


@dataclass(frozen=True)
class Family:
    """The codecs that share a name.

    Attributes:
        name: up to the colon.
        make: a codec.
        steps: that it takes.
        before_zstd: makes the codec that "+zstd1" compresses, where another layout compresses better.
        with_zstd: makes the whole codec that has "+zstd1" in its id, where it compresses itself.
    """

    name: str
    make: Factory
    steps: Steps = NO_STEP
    before_zstd: Factory | None = None
    with_zstd: Factory | None = None

    def takes(self, step: str) -> bool:
        """Whether there is a codec with this step."""
        return re.fullmatch(self.steps.pattern, step, re.ASCII) is not None

    @property
    def example(self) -> str:
        """An id."""
        return self.name + (f":{self.steps.example}" if self.steps.example else "")

    def __str__(self) -> str:
        return self.name + (f":{self.steps.says}" if self.steps.says else "")


class Registry:
    """Finds codecs, and makes each once."""

    def __init__(self, families: Iterable[Family], others: Callable[[str], Family | None]) -> None:
        """Makes a registry.

        Args:
            families: ours.
            others: finds a family by a name that is none of ours.
        """
        self._families = {family.name: family for family in families}
        self._others = others
        self._codec = lru_cache(_REMEMBERED)(self._make)

    def codec(self, id: str) -> Codec:
        """The codec with this id.

        Raises:
            UnknownCodec: there is none, or the package that offers it is broken.
        """
        return self._codec(id)

    def _make(self, id: str) -> Codec:
        name, step, composed = _parts(id)
        family = self._families.get(name) or (self._others(name) if name else None)
        if family is None or not family.takes(step):
            raise self._unknown(id)
        if not composed:
            return family.make(step)
        if family.with_zstd:
            return family.with_zstd(step)
        inner = (family.before_zstd or family.make)(step)
        if not isinstance(inner, SizedItemCodec):
            raise self._unknown(id)
        return Zstd(inner)

    def _unknown(self, id: str) -> UnknownCodec:
        known = ", ".join(map(str, self._families.values()))
        return UnknownCodec(f"no codec {id[:40]!r}; there are {known} (+zstd1 may follow those that are no files)")


def _parts(id: str) -> tuple[str, str, bool]:
    """Name, step and whether "+zstd1" follows; no name where the id is not written like one."""
    match = _ID.fullmatch(id)
    return (match[1], match[2] or "", bool(match[3])) if match else ("", "", False)
