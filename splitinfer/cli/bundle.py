"""`splitinfer bundle`: what can be done with a bundle as files."""

from __future__ import annotations

from pathlib import Path

import click

from splitinfer.bundle import Bundle, longest_head, trim
from splitinfer.cli.inspect import describe
from splitinfer.cli.output import json_option, kilobytes, print_json
from splitinfer.cli.sizes import megabytes


@click.group("bundle")
def command() -> None:
    """Copy bundles."""


@command.command("trim")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--max-mb",
    "max_bytes",
    type=megabytes,
    help="Keep as many of the first segments as fit in so much (1 MB = 1 000 000 bytes).",
)
@click.option("--segments", type=click.IntRange(min=1), help="Keep so many of the first segments.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--force", is_flag=True, help="Replace --out if it is a bundle.")
@json_option
def trim_command(bundle: Path, max_bytes: int | None, segments: int | None, out: Path, force: bool, as_json: bool) -> int:
    """Copy BUNDLE without its last segments, for devices that cannot hold all of it. The digest stays the same."""
    if (max_bytes is None) == (segments is None):
        raise click.UsageError("give either --max-mb or --segments")
    whole = Bundle.open(bundle)
    kept = longest_head(whole, max_bytes) if max_bytes is not None else segments or 0
    trimmed = trim(whole, out, kept, overwrite=force)
    if as_json:
        print_json(describe(trimmed) | {"path": str(out)})
    else:
        click.echo(left_out(trimmed))
    return 0


def left_out(trimmed: Bundle) -> str:
    """What a trimmed bundle has and has not, for people."""
    model = trimmed.model
    if model.whole:
        return f"All {model.n} segments fit: nothing was left out."
    held, kept = kilobytes(trimmed.nbytes), len(model.holds)
    return (
        f"Holds {kept} of {model.n} segments ({held}), so it hands over at cuts 0 to {kept}, and every answer needs the cloud. "
        f"The cloud serves the whole bundle, digest {model.digest[:12]}."
    )
