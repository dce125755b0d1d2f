"""The group of commands: finds a command's module when it is asked for, and turns our errors into one line and an exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import click

import splitinfer
from splitinfer.errors import MissingExtra, SplitInferError

COMMANDS = {
    "build": "Cut an ONNX model into a bundle.",
    "inspect": "Show a bundle: cuts, segments, codecs, scorecard.",
    "bundle": "Trim a bundle for devices that cannot hold all of it.",
    "verify": "Check every cut against the uncut model.",
    "explain": "Show every plan with its predicted cost, the pick, and why.",
    "infer": "Run one input through a bundle.",
    "serve": "Serve bundles: the cloud.",
    "demo": "A real network, a real cloud, a link that changes; side by side with the rivals.",
    "link": "A TCP proxy that behaves like a slow link.",
    "replay": "Run a recorded log again: as it was, or with another policy.",
    "simulate": "Policies side by side over recorded links, in virtual time.",
    "bench": "Measure splitinfer against its goals and rivals.",
}

EXTRAS = {"onnx": "build", "PIL": "media", "ray": "cloud", "grpc_health": "cloud", "skimage": "demo", "sklearn": "demo"}
"""Module that is missing -> the extra that brings it."""


class _Group(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"splitinfer.cli.{name}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(splitinfer.__version__, prog_name="splitinfer")
@click.option("-v", "--verbose", is_flag=True, help="Log more, to stderr.")
def cli(verbose: bool) -> None:
    """Split inference: the head of a model on the device, the tail in the cloud."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s"
    )


def run(arguments: Sequence[str]) -> int:
    """Runs a command line; returns the exit code: 0 ok, 1 our error, 2 wrong usage, 130 interrupted."""
    try:
        result = cli.main(list(arguments), prog_name="splitinfer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except (SplitInferError, OSError) as error:
        return _failed(error, "--json" in arguments)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _failed(MissingExtra(extra, "this command"), "--json" in arguments)
    return result if isinstance(result, int) else 0


def _failed(error: Exception, as_json: bool) -> int:
    """One line on stderr, an object on stdout where it was asked for, and the exit code."""
    message = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
    if as_json:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message}}))
    click.echo(f"splitinfer: {message}", err=True)
    return 1
