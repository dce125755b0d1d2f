"""What a benchmark says: rows with a goal, and whether it was met. `met` is computed here, nowhere else."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PACKAGES = ("splitinfer", "onnxruntime", "numpy", "grpcio", "protobuf", "zstandard", "onnx", "ray")


@dataclass(frozen=True, slots=True)
class Goal:
    """A bar: at most (`<=`) or at least (`>=`) so much."""

    sense: str
    value: float

    def met(self, value: float) -> bool:
        """Whether a value reaches it; NaN never does."""
        return value <= self.value if self.sense == "<=" else value >= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: the figure that the goal is about.
        unit: of value.
        goal: the bar; None = for information.
        rival: what it is compared with, where it is.
        ratio: value over the rival's, in the same run.
        n: number of measurements.
        spread: of the measurements, in the unit of the value: half the distance of p10 and p90, or a standard error where said.
    """

    name: str
    value: float
    unit: str
    goal: Goal | None = None
    rival: str | None = None
    ratio: float | None = None
    n: int = 1
    spread: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        return None if self.goal is None else self.goal.met(self.value)

    def as_object(self) -> dict[str, Any]:
        """As JSON (docs/json.md)."""
        return asdict(self) | {"goal": None if self.goal is None else str(self.goal), "met": self.met}


def spread_of(values: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    """Half the distance of the 10th and the 90th percentile; None where one of the values is not finite."""
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, [10, 90])
    return float(high - low) / 2


def at_most(value: float) -> Goal:
    """A bar from above."""
    return Goal("<=", value)


def at_least(value: float) -> Goal:
    """A bar from below."""
    return Goal(">=", value)


def as_object(rows: Iterable[Row]) -> dict[str, Any]:
    """A benchmark's result as JSON."""
    return {"machine": machine(), "versions": versions(), "rows": [row.as_object() for row in rows]}


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {"cpu": _cpu(), "cores": cpu_count(), "system": platform.system()}


def _cpu() -> str:
    """The processor's own name where the system tells it (Linux), else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Of Python and the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
