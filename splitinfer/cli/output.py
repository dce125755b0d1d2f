"""What commands print: one JSON object for machines, tables for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])

console = Console()
"""Results go to stdout; what is piped is not wrapped."""
if not console.is_terminal:
    console.width = 200
progress_console = Console(stderr=True)
"""Progress goes to stderr, so that stdout can be piped."""


def json_option(command: F) -> F:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def print_json(value: Any) -> None:
    """One JSON object on stdout; infinities and NaN, which JSON does not have, become null."""
    click.echo(json.dumps(_finite(value), indent=2))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, sentences: bool = False
) -> None:
    """A table; numbers to the right, the first column to the left, and so the last one if it holds sentences."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        words = index == 0 or (sentences and index == len(columns) - 1)
        table.add_column(column, justify="left" if words else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def kilobytes(nbytes: float) -> str:
    """Bytes for people (1 KB = 1000 bytes)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes:.0f} B"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return "∞" if math.isinf(value) else f"{value:.4g}" if abs(value) < 1 else f"{value:.1f}"
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
