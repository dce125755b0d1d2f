"""`splitinfer bench main`: one row for each goal of the main job."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from splitinfer.bench.rows import Row


def parts(models: Path | None = None) -> dict[str, Callable[[], list[Row]]]:
    """The parts of the benchmark by name, in order; each measures when it is called.

    Args:
        models: a folder of more .onnx files for `same-answer`.
    """
    from splitinfer.bench.main import answers, commute, footprint, overheads, reactions, security, uploads

    return {
        "same-answer": partial(answers.measure, models),
        "overheads": overheads.measure,
        "footprint": footprint.measure,
        "reactions": reactions.measure,
        "uploads": uploads.measure,
        "security": security.measure,
        "demo": commute.measure,
    }
