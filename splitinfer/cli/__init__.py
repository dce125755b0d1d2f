"""The command line. One file per command; its imports are its own, so that a device needs no ray and no onnx to run `infer`."""

from __future__ import annotations

import sys

from splitinfer.errors import MissingExtra


def main() -> None:
    """Entry point of `splitinfer`."""
    try:
        from splitinfer.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(MissingExtra("cli", "the command line"), file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(run(sys.argv[1:]))
