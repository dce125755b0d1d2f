"""Runs atheris: `python -m tests.fuzz.fuzz DIR -runs=1000000`. DIR holds seeds, and gets what reaches new code; options are
libFuzzer's. `make fuzz` does the long run."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["splitinfer.codec", "splitinfer.payload"]):
    from tests.fuzz import target


def main() -> None:
    target.packer()
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
