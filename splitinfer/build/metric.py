"""Metrics of one's own: what they are given, and how they are found by name.

Knows no metric itself; docs/scorecard.md shows two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import Signature, signature
from pathlib import Path
from typing import Any

from splitinfer.errors import InvalidInput
from splitinfer.model import Array

Rows = Mapping[str, Array | Sequence[Array]]
"""Output name -> one row a sample; where outputs have no rows (what a detector found), -> one array a sample."""

Metric = Callable[[Any, Any], float]
"""(outputs, labels) -> score, higher is better. Outputs are `Rows`; so are labels where none were given: those of the uncut
model."""


def metric_name(metric: Metric) -> str:
    """What it is called."""
    return str(getattr(metric, "__name__", "metric"))


def call(metric: Metric, outputs: Rows, labels: Array | Rows) -> float:
    """The score; not finite where there is none for these samples.

    Raises:
        InvalidInput: it fails, or gives no number; says which metric and how.
    """
    try:
        return float(metric(outputs, labels))
    except Exception as error:  # somebody else's function: whatever it raises is to be said with its name
        raise InvalidInput(f"the metric {metric_name(metric)} failed: {type(error).__name__}: {error}") from error


def load_metric(path: str) -> Metric:
    """The function that "module:function" names, in the current folder or installed.

    Raises:
        InvalidInput: there is none; says what is missing.
    """
    module_name, colon, name = path.partition(":")
    if not (colon and all(map(str.isidentifier, (*module_name.split("."), name)))):
        raise InvalidInput(f"--metric {path}: write module:function, for example quality:f1 for f1 in quality.py")
    module = _module(module_name, path)
    function = getattr(module, name, None)
    if function is None:
        raise InvalidInput(f"--metric {path}: module {module_name} has no {name!r}")
    if not callable(function) or not _takes_two(function):
        raise InvalidInput(f"--metric {path}: {name!r} is no function that takes (outputs, labels)")
    found: Metric = function
    return found


def _module(name: str, path: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidInput(f"--metric {path}: there is no module {name!r}, neither here nor installed") from error
        raise InvalidInput(f"--metric {path}: {name} needs {error.name!r}, which is not installed") from error
    except (ImportError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"--metric {path}: {name} cannot be imported: {error}") from error
    finally:
        sys.path.remove(here)


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        found: Signature = signature(function)
    except ValueError:  # written in C: it does not say
        return True
    try:
        found.bind({}, {})
    except TypeError:
        return False
    return True
