"""`splitinfer bench`: measures splitinfer against its goals, in one run with its rivals."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from splitinfer.bench.rows import Row, as_object
from splitinfer.cli.output import json_option, print_json, print_table, progress_console

BENCHES = {"main": "the goals of the main job: same answer, overheads, the demo, failures, TLS"}


@click.command("bench")
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--only", multiple=True, help="Only these parts (see --list).")
@click.option("--list", "listing", is_flag=True, help="List the parts.")
@click.option("--models", type=click.Path(exists=True, path_type=Path), help="Folder of more .onnx models for `same-answer`.")
@json_option
def command(name: str, only: tuple[str, ...], listing: bool, models: Path | None, as_json: bool) -> int:
    """Run a benchmark; every row says its goal and whether it was met."""
    parts = import_module(f"splitinfer.bench.{name}").parts(models)
    if listing:
        click.echo("\n".join(parts))
        return 0
    if unknown := set(only) - set(parts):
        raise click.BadParameter(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    rows: list[Row] = []
    for part, measure in parts.items():
        if not only or part in only:
            progress_console.print(f"measuring {part} ...")
            rows += measure()
    if as_json:
        print_json(as_object(rows))
    else:
        _print(rows)
    return 0


def _print(rows: list[Row]) -> None:
    print_table(
        ("", "value", "unit", "goal", "met", "rival", "ratio", "n", "spread"),
        [
            (
                row.name,
                row.value,
                row.unit,
                row.goal,
                {True: "yes", False: "NO", None: ""}[row.met],
                row.rival,
                row.ratio,
                row.n,
                row.spread,
            )
            for row in rows
        ],
    )
