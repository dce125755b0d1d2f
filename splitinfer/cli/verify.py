"""`splitinfer verify`: every cut against the uncut model (all segments joined and run as one), on an input of yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from splitinfer.bundle import Bundle
from splitinfer.cli.feeds import read_feeds
from splitinfer.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from splitinfer.build import CutCheck


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--input", "source", required=True, type=click.Path(exists=True, path_type=Path), help=".npz, .npy, .jpg or .png."
)
@json_option
def command(bundle: Path, source: Path, as_json: bool) -> int:
    """Check every cut of BUNDLE against the uncut model, which is all its segments run as one."""
    from splitinfer.build import verify

    opened = Bundle.open(bundle)
    checks = verify(opened, [read_feeds(source, opened.model)])
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "cuts": [_row(check) for check in checks]})
    else:
        columns = ("cut", "id", "max abs error", "max rel error", "")
        print_table(
            columns, [tuple("" if cell is None else cell for cell in _row(check).values()) for check in checks], sentences=True
        )
        click.echo("every cut gives the same answer" if ok else "SOME CUTS DIFFER from the uncut model by more than 1e-4")
    return 0 if ok else 1


def _row(check: CutCheck) -> dict[str, Any]:
    return {
        "index": check.index,
        "id": check.id,
        "max_abs_error": check.max_abs_error,
        "max_rel_error": check.max_rel_error,
        "objection": None if check.ok else check.objection,
    }
