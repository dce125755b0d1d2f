"""Sizes as people type them."""

from __future__ import annotations

from math import isfinite

import click


def megabytes(text: str) -> int:
    """A number of megabytes (1 MB = 1 000 000 bytes) as bytes; the type of an option."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number <= 0:
        raise click.BadParameter(f"{text!r} is no number of megabytes above 0")
    return round(number * 1e6)
