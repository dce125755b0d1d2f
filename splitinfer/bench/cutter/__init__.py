"""`splitinfer bench cutter`: what the cutter promises, over traps and over real networks.

traps        models that each hold one thing that makes cutting hard, and any folder of models
zoo          every cut of real networks against the original file in plain ONNX Runtime
cpu          what crossing a cut costs both sides
frontier     the latency that few cuts lose against all
building     how long a build takes

attempt and networks are what the parts measure with.
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
        models: a folder of more .onnx files for `traps`.
        tell: progress.
    """
    return {
        "traps": _part("traps", models, tell),
        "zoo": _part("zoo", tell),
        "cpu": _part("cpu", tell),
        "frontier": _part("frontier", tell),
        "build-time": _part("building", tell),
    }


def _part(module: str, *arguments: object) -> Callable[[], list[Row]]:
    """Imports its module when it is called: the times of one must not pay for what another loads."""

    def measure() -> list[Row]:
        rows: list[Row] = import_module(f"{__name__}.{module}").measure(*arguments)
        return rows

    return measure
