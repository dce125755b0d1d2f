"""`splitinfer bench main`: the goals of the main job, each measured in one run with what it is compared with.

answers     every cut of real networks against the original file in plain ONNX Runtime
overheads   what cutting, deciding and driving cost; serving: what the server adds to the runtime
footprint   what a device imports and installs
reactions   triggers (in triggers), events without requests, observers that sleep
uploads     the link after an upload that was cancelled
security    who gets in
commute     the demo's table, its plan changes, and the battery; rides makes the rows of it

bundles, cloud and certificates are what the parts measure with.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from splitinfer.bench.rows import Row

Tell = Callable[[str], None]
"""Hears what is going on, for people."""


def parts(models: Path | None = None, tell: Tell = lambda _text: None) -> dict[str, Callable[[], list[Row]]]:
    """The parts of the benchmark by name, in order; each measures when it is called.

    Args:
        models: a folder of more .onnx files for `same-answer`.
        tell: progress.
    """
    return {
        "same-answer": _part("answers", models, tell),
        "overheads": _part("overheads"),
        "footprint": _part("footprint"),
        "reactions": _part("reactions"),
        "uploads": _part("uploads"),
        "security": _part("security"),
        "demo": _part("commute", tell),
    }


def _part(module: str, *arguments: object) -> Callable[[], list[Row]]:
    """Imports its module when it is called: one needs Ray, another must not be slowed by it."""

    def measure() -> list[Row]:
        rows: list[Row] = import_module(f"{__name__}.{module}").measure(*arguments)
        return rows

    return measure
