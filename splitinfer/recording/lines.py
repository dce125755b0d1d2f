"""Events and starts as lines of JSON, and back. Each line of an event holds all that `events.as_json` shows of it, and more.

What a line says is checked as far as a scheduler relies on it: a model that contradicts itself is refused here. Knows no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from splitinfer.events import EVENT_VERSION, Event, ModelReady, Recorded
from splitinfer.recording.forms import from_json, to_json
from splitinfer.recording.start import Start

FORMAT = 1
"""Of recordings: raised when an older reader would misunderstand a newer file."""
HEAD = "Recording"
"""Type of the first line."""

_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


def start_line(start: Start) -> str:
    """The first line of a recording."""
    return _line({"type": HEAD, "version": FORMAT}, start)


def event_line(recorded: Recorded) -> str:
    """One event.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    event = recorded.event
    head = {"type": type(event).__name__, "version": EVENT_VERSION, "seq": recorded.seq, "at_ms": to_json(recorded.at_ms)}
    return _line(head, event)


def parse(line: str) -> dict[str, Any]:
    """A line as an object.

    Raises:
        ValueError: it is none, or has a field twice.
    """
    try:
        raw = json.loads(line, parse_constant=_refuse, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError("it is not JSON") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise ValueError("it is no object with a type")
    return raw


def is_start(raw: dict[str, Any]) -> bool:
    """Whether a line begins a recording."""
    return bool(raw["type"] == HEAD)


def start_of(raw: dict[str, Any]) -> Start:
    """What a first line says.

    Raises:
        ValueError: it is none, or of a newer format.
    """
    _check_version(raw, FORMAT)
    start = from_json(Start, {name: value for name, value in raw.items() if name not in ("type", "version")})
    assert isinstance(start, Start)
    return start


def event_of(raw: dict[str, Any]) -> Recorded:
    """What another line says.

    Raises:
        ValueError: its type or a field is unknown, missing or wrong.
    """
    kind = _KINDS.get(raw["type"])
    if kind is None:
        raise ValueError(f"there is no event {raw['type'][:40]!r}: a newer splitinfer wrote it, or it was changed")
    _check_version(raw, EVENT_VERSION)
    seq, at_ms = from_json(int, raw.get("seq")), from_json(float, raw.get("at_ms"))
    event = from_json(kind, {name: value for name, value in raw.items() if name not in ("type", "version", "seq", "at_ms")})
    if isinstance(event, ModelReady):
        for objection in _objections(event):
            raise ValueError(f"the model contradicts itself: {objection}")
    return Recorded(seq, at_ms, event)


def _line(head: dict[str, object], value: Start | Event) -> str:
    plain = to_json(value)
    assert isinstance(plain, dict)
    return json.dumps(head | plain, allow_nan=False)


def _check_version(raw: dict[str, Any], known: int) -> None:
    version = from_json(int, raw.get("version"))
    if version != known:
        raise ValueError(f"{raw['type']} has version {version}, this splitinfer reads {known}")


def _refuse(constant: str) -> None:
    raise ValueError(f"a finite number was expected, {constant} came")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    raw = dict(pairs)
    if len(raw) < len(pairs):
        raise ValueError("a field comes twice")
    return raw


def _objections(ready: ModelReady) -> Iterator[str]:
    """What a scheduler takes for granted of a model and what was measured of it."""
    model, profile = ready.model, ready.profile
    n = model.n
    if n == 0 or [cut.index for cut in model.cuts] != list(range(n + 1)):
        yield "n segments need cuts 0 to n"
    if [segment.index for segment in model.segments] != list(range(n)) or not model.holds <= set(range(n)):
        yield "segments are numbered from 0"
    if not {profile.digest, ready.scorecard.digest} <= {model.digest}:
        yield "profile and scorecard are of another one"
    if len(profile.segment_ms) not in (0, n):
        yield "the profile has another number of segments"
    for spec in (spec for cut in model.cuts for spec in cut.tensors):
        if not _is_dtype(spec.dtype) or any(size is not None and size < 0 for size in spec.shape):
            yield f"{spec.name!r} has no such type or shape"


def _is_dtype(name: str) -> bool:
    try:
        return np.dtype(name).name == name
    except TypeError:
        return False
