"""Frozen dataclasses as JSON, and back: by their own type hints, so that a new field needs no line here.

Floats keep every digit; infinities and NaN are refused both ways. Reading is strict: a field that is unknown, missing or of
another type is an error that says where. Knows no event and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from numbers import Integral, Real
from types import NoneType
from typing import Any, NewType, cast, get_args, get_origin, get_type_hints

from splitinfer.plan import Cost, Plan, Scorecard

_DERIVED: dict[type, dict[str, Callable[[Any], object]]] = {
    Cost: {"latency_ms": lambda cost: cost.latency_ms},
    Scorecard: {"plans": lambda scorecard: len(scorecard.scores)},
}
"""Written beside the fields for whoever reads the file; follows from them, so it is not read."""


def to_json(value: object) -> object:
    """A value as what `json` can write.

    Raises:
        ValueError: a number is not finite.
        TypeError: it is no value of ours.
    """
    match value:
        case None | bool() | str():
            return value
        case Integral():
            return int(value)
        case Real():
            return _finite(float(value))
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case frozenset():
            return sorted(to_json(item) for item in value)  # type: ignore[type-var]  # of one kind, which sorts
        case tuple():
            return [to_json(item) for item in value]
        case _ if is_dataclass(value):
            plain = {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
            return plain | {name: derive(value) for name, derive in _DERIVED.get(type(value), {}).items()}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def from_json(hint: Any, raw: object) -> Any:
    """The value of a type that `to_json` made this of.

    Raises:
        ValueError: it is none; the message says what is wrong, and where.
    """
    if isinstance(hint, NewType):
        return from_json(hint.__supertype__, raw)
    kinds = get_args(hint)
    if NoneType in kinds:
        return None if raw is None else from_json(kinds[0], raw)
    origin = get_origin(hint)
    if origin in (tuple, frozenset):
        return origin(from_json(kinds[0], item) for item in _of(list, raw))
    if origin is Mapping:
        return {_key(kinds[0], key): _within(key, kinds[1], item) for key, item in _of(dict, raw).items()}
    if is_dataclass(hint):
        return _dataclass(cast("type", hint), _of(dict, raw))
    return _plain(hint, raw)


def _dataclass(kind: type, raw: dict[str, object]) -> object:
    hints = _hints(kind)
    if unknown := raw.keys() - hints.keys() - _DERIVED.get(kind, {}).keys():
        raise ValueError(f"{kind.__name__} has no field {min(unknown)!r}")
    if missing := _required(kind) - raw.keys():
        raise ValueError(f"{kind.__name__} lacks the field {min(missing)!r}")
    return kind(**{name: _within(name, hint, raw[name]) for name, hint in hints.items() if name in raw})


def _within(name: str, hint: Any, raw: object) -> Any:
    try:
        return from_json(hint, raw)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _key(kind: type, text: str) -> object:
    return Plan.parse(text) if kind is Plan else text


def _plain(kind: type, raw: object) -> object:
    if kind is float:
        return _number(raw)
    if issubclass(kind, StrEnum):
        return kind(_of(str, raw))
    return _of(kind, raw)


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"a number was expected, {_shown(raw)} came")
    try:
        return _finite(float(raw))
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def _of(kind: type, raw: object) -> Any:
    if type(raw) is not kind:  # bool is an int elsewhere, not here
        raise ValueError(f"{_NAMES[kind]} was expected, {_shown(raw)} came")
    return raw


def _finite(number: float) -> float:
    if not isfinite(number):
        raise ValueError(f"a finite number was expected, {number} came")
    return number


def _shown(raw: object) -> str:
    return _NAMES.get(type(raw), "nothing") if isinstance(raw, dict | list | NoneType) else repr(raw)[:40]


_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number", bool: "true or false", NoneType: "null"}


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: hint for name, hint in get_type_hints(kind).items() if name in names}


@lru_cache
def _required(kind: type) -> frozenset[str]:
    """Fields without a default; one that has one may be missing in what an older version wrote."""
    return frozenset(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
