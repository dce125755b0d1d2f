"""Sizes as people type them."""

from __future__ import annotations

from math import isfinite

import click


class _Megabytes(click.ParamType):
    """A number of megabytes (1 MB = 1 000 000 bytes), read as bytes."""

    name = "megabytes"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):  # bytes already: click converts what it has converted
            return value
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of megabytes", param, ctx)
        if not isfinite(number) or number <= 0:
            self.fail(f"{value} megabytes is no size: give a number above 0", param, ctx)
        return round(number * 1e6)


MEGABYTES = _Megabytes()
