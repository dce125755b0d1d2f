"""`splitinfer bench main`: the goals of the main job, each measured in one run with what it is compared with.

answers     every cut of real networks against the original file in plain ONNX Runtime
overheads   what cutting, deciding and driving cost; serving: what the server adds to the runtime
footprint   what a device imports and installs
reactions   triggers, events without requests, observers that sleep
uploads     the link after an upload that was cancelled
security    who gets in
commute     the demo's table, its plan changes, and the battery

bundles, cloud and certificates are what the parts measure with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    from splitinfer.bench.main import answers, commute, footprint, overheads, reactions, security, serving, uploads

    return {
        "same-answer": partial(answers.measure, models, tell),
        "overheads": lambda: overheads.measure() + serving.measure(),
        "footprint": footprint.measure,
        "reactions": reactions.measure,
        "uploads": uploads.measure,
        "security": security.measure,
        "demo": partial(commute.measure, tell),
    }
