"""A value in a JSON document that knows where it stands, so that an error can say which one and what was expected there."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Never

from splitinfer.errors import SimulationError

COUNT_MAX = 1 << 40
"""A terabyte: no tensor is larger."""
SHOWN = 40
"""Characters of a wrong value that an error shows."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value and its place, for example `plans[3].bytes_p50`. Each method raises SimulationError if it is something else."""

    value: object
    where: str

    def refuse(self, expected: str) -> Never:
        """Says what should have been here."""
        shown = json.dumps(self.value)
        shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
        raise SimulationError(f"{self.where or 'the document'}: expected {expected}, got {shown}")

    def fields(self, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Place]:
        """An object with these fields and no other; those that are optional may be left out."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        at = f"{self.where}: " if self.where else ""
        for name in required:
            if name not in self.value:
                raise SimulationError(f"{at}the field {name!r} is missing")
        for name in self.value:
            if name not in required and name not in optional:
                known = ", ".join([*required, *optional])
                raise SimulationError(f"{at}unknown field {name[:SHOWN]!r}; expected {known}")
        return {name: Place(value, f"{self.where}.{name}".lstrip(".")) for name, value in self.value.items()}

    def entries(self) -> dict[str, Place]:
        """An object whose fields may have any name."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return self.fields(tuple(self.value))

    def items(self, least: int = 0) -> list[Place]:
        """A list."""
        if not isinstance(self.value, list) or len(self.value) < least:
            self.refuse(f"a list of at least {least}" if least else "a list")
        return [Place(value, f"{self.where}[{index}]") for index, value in enumerate(self.value)]

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            self.refuse("a text")
        return self.value

    def count(self) -> int:
        """A whole number from 0 to `COUNT_MAX`."""
        if type(self.value) is not int or self.value < 0:
            self.refuse("a whole number of at least 0")
        if self.value > COUNT_MAX:
            self.refuse(f"a whole number of at most {COUNT_MAX}")
        return self.value

    def number(self, least: float = 0.0, most: float = 1e300) -> float:
        """A finite number from `least` to `most`."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:  # NaN is not, either
            self.refuse(f"a finite number of at least {least:g}" if most >= 1e300 else f"a number from {least:g} to {most:g}")
        return float(value)

    def maybe_number(self, least: float = 0.0, most: float = 1e300) -> float | None:
        """A number from `least` to `most`, or null."""
        return None if self.value is None else self.number(least, most)


def parse(document: str) -> Place:
    """A whole document.

    Raises:
        SimulationError: it is not JSON; names line and column.
    """
    try:
        return Place(json.loads(document), "")
    except json.JSONDecodeError as error:
        raise SimulationError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise SimulationError("not JSON: it is nested too deeply, or a number in it has too many digits") from error
