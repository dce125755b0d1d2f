"""`splitinfer bench`: measures splitinfer against its goals, in one run with its rivals."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import nan
from pathlib import Path
from typing import Any

import click

from splitinfer.bench.rows import Row, as_object, at_least
from splitinfer.cli.output import json_option, print_json, print_table, progress_console
from splitinfer.errors import SplitInferError

BENCHES = {
    "main": "the goals of the main job: same answer, overheads, the demo, failures, TLS",
    "codecs": "the goals of the codecs: bytes at equal answers beside coded photos and plain quantisers, CPU, guards",
    "policies": "the goals of the scheduler: regret beside rivals and one who knows the future, estimates, battery, outages",
    "cutter": "the goals of the cutter: traps, real networks, what cuts cost, what few cuts lose, build times",
}


@click.command("bench")
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--only", multiple=True, help="Only these parts (see --list).")
@click.option("--list", "listing", is_flag=True, help="List the parts.")
@click.option(
    "--models",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of more .onnx models for `same-answer`, `traps` and `tiny`.",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="codecs: folder of photos with labels.csv (columns file,imagenet_class; without classes no row of top-1).",
)
@click.option(
    "--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="codecs: any image classifier, an .onnx file."
)
@click.option("--image-input", "image", help="codecs: how pixels become the input of --model, as in `splitinfer build`.")
@click.option(
    "--traces",
    type=click.Path(exists=True, path_type=Path),
    help="policies: folder of recorded links (*.csv with columns t_s,up_mbps); families weigh equally.",
)
@json_option
def command(name: str, only: tuple[str, ...], listing: bool, models: Path | None, as_json: bool, **given: Any) -> int:
    """Run a benchmark; every row says its goal and whether it was met."""
    parts = _parts(name, models, given)
    if listing:
        click.echo("\n".join(parts))
        return 0
    if unknown := set(only) - set(parts):
        raise click.BadParameter(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    rows = [row for part, measure in parts.items() if not only or part in only for row in _measured(part, measure)]
    if as_json:
        print_json(as_object(rows))
    else:
        _print(rows)
    return 0


def _parts(name: str, models: Path | None, given: dict[str, Any]) -> dict[str, Callable[[], list[Row]]]:
    """The parts of a benchmark; some of them are told what to measure on."""
    make = import_module(f"splitinfer.bench.{name}").parts
    found: dict[str, Callable[[], list[Row]]]
    traces = given.pop("traces")
    if name == "codecs":
        from splitinfer.bench.codecs.subject import Given

        found = make(Given(models=models, **given), _tell)
    else:
        found = make(traces if name == "policies" else models, _tell)
    if name != "codecs" and any(given.values()):
        raise click.BadParameter(f"--photos, --model and --image-input are for `bench codecs`, not for `bench {name}`")
    if name != "policies" and traces is not None:
        raise click.BadParameter(f"--traces is for `bench policies`, not for `bench {name}`")
    return found


def _measured(part: str, measure: Callable[[], list[Row]]) -> list[Row]:
    """Its rows; where it could not be measured, one that says so and is not met, so that the other parts are not lost."""
    _tell(f"measuring {part} ...")
    try:
        return measure()
    except SplitInferError as error:
        return [Row(f"{part}: could not be measured: {error}", nan, "", at_least(1), n=0)]


def _tell(text: str) -> None:
    progress_console.print(text)


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
