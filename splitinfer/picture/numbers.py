"""Figures for people, with their units. `None` is unknown and never looks like 0."""

from __future__ import annotations

from math import isfinite

from splitinfer.model import TensorSpec

UNKNOWN = "–"


def size(nbytes: float | None) -> str:
    """Bytes, powers of 1000."""
    if nbytes is None:
        return UNKNOWN
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if nbytes >= one:
            return f"{brief(nbytes / one)} {unit}"
    return f"{nbytes:.0f} B"


def millis(ms: float | None) -> str:
    """A time."""
    return UNKNOWN if ms is None else f"{brief(ms)} ms"


def share(value: float | None) -> str:
    """A share of 1, as per cent."""
    return UNKNOWN if value is None else f"{brief(value * 100)} %"


def brief(value: float | None) -> str:
    """A figure with three digits that count."""
    if value is None:
        return UNKNOWN
    if not isfinite(value):
        return "∞"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def dims(spec: TensorSpec) -> str:
    """Shape of a tensor; a dynamic dimension is written ?."""
    return "×".join("?" if d is None else str(d) for d in spec.shape) or "scalar"


def shape(spec: TensorSpec) -> str:
    """Shape and type of a tensor."""
    return f"{dims(spec)} {spec.dtype}"
