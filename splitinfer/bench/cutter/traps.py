"""Models that are hard to cut: ours, and any that lie in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from splitinfer.bench.cutter.attempt import attempt
from splitinfer.bench.rows import Row, at_least
from splitinfer.bench.traps import TRAPS
from splitinfer.bench.traps.judge import judge
from splitinfer.build.check import TOLERANCE


def measure(models: Path | None, tell: Callable[[str], None]) -> list[Row]:
    """How many traps were done right, a row for each that was not, and a row for each model of the folder.

    Args:
        models: a folder of .onnx files; whatever they are, they must be cut right or be refused.
        tell: progress.
    """
    return [*_ours(tell), *(_row(path, tell) for path in sorted(models.glob("*.onnx") if models else ()))]


def _ours(tell: Callable[[str], None]) -> list[Row]:
    wrong = []
    for trap in TRAPS:
        tell(f"  {trap.name}")
        with tempfile.TemporaryDirectory() as folder:
            verdict = judge(trap, Path(folder))
        if not verdict.right:
            wrong.append(Row(f"trap {trap.name}: {verdict.reason}", 0, "right", at_least(1), n=verdict.cuts))
    total = len(TRAPS)
    return [
        Row("traps cut right at every boundary, or rightly refused", total - len(wrong), "traps", at_least(total), n=total),
        *wrong,
    ]


def _row(path: Path, tell: Callable[[str], None]) -> Row:
    tell(f"  {path.stem}")
    with tempfile.TemporaryDirectory() as folder:
        found = attempt(path, Path(folder))
    right = found.refused or found.worst_error <= TOLERANCE
    outcome = found.message or f"cut, worst error {found.worst_error:.1e}"
    return Row(f"{path.stem}: {outcome}", int(right), "right", at_least(1), n=found.cuts)
