"""Reads recordings from a file. Strict and bounded: what is not as it was written is an error that names the line.

A file may hold several, one behind the other. The last line of each may be torn, since that is what a crash leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from splitinfer.errors import RecordingError
from splitinfer.events import Recorded
from splitinfer.recording.lines import event_of, is_start, parse, start_of
from splitinfer.recording.start import Start

LINE_BYTES_MAX = 16 << 20
"""The longest line is that of a model with its scorecard: some hundred kilobytes."""
FILE_BYTES_MAX = 1 << 30


@dataclass(frozen=True)
class Recording:
    """What a scheduler was told and what it said.

    Attributes:
        start: what it was made of.
        events: in order; numbered from 0, none is missing.
        line: of the file on which it starts.
        torn: its last line was cut off, so answers to the last event may be missing.
    """

    start: Start
    events: tuple[Recorded, ...]
    line: int = 1
    torn: bool = False

    def line_of(self, recorded: Recorded) -> int:
        """Where an event stands in the file."""
        return self.line + 1 + recorded.seq


def read(path: str | Path) -> tuple[Recording, ...]:
    """Reads every recording of a file, at least one.

    Raises:
        RecordingError: a line is not what a recording holds, or one is missing; says which.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        if file.seek(0, 2) > FILE_BYTES_MAX:
            raise RecordingError(f"{path} is larger than {FILE_BYTES_MAX >> 30} GiB: split it where a line begins a recording")
        file.seek(0)
        recordings = [_recording(part) for part in _parts(file)]
    if not recordings:
        raise RecordingError(f"{path} holds no recording: write one with --events, or with Settings(events_file=...)")
    return tuple(recordings)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: its number, and what it says or why it says nothing."""

    number: int
    raw: dict[str, Any] | None
    why: str = ""
    ended: bool = True


def _parts(file: BinaryIO) -> Iterator[list[_Line]]:
    """Lines of one recording after the other."""
    part: list[_Line] = []
    for line in _lines(file):
        if part and line.raw is not None and is_start(line.raw):
            yield part
            part = []
        part.append(line)
    if part:
        if part[-1].raw is None and part[-1].ended:
            raise RecordingError(f"line {part[-1].number}: {part[-1].why}")
        yield part


def _lines(file: BinaryIO) -> Iterator[_Line]:
    number = 0
    while data := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(data) > LINE_BYTES_MAX:
            raise RecordingError(f"line {number}: it is longer than {LINE_BYTES_MAX >> 20} MiB")
        ended = data.endswith(b"\n")
        try:
            yield _Line(number, parse(data.decode("utf-8")), ended=ended)
        except ValueError as error:  # of which UnicodeDecodeError is one
            why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            yield _Line(number, None, why, ended)


def _recording(part: list[_Line]) -> Recording:
    """What lines say, of which the last one may be torn."""
    first, *rest = part
    torn = bool(rest) and rest[-1].raw is None
    if torn:
        rest.pop()
    if first.raw is None or not is_start(first.raw):
        why = first.why or "no recording starts here (it may be a log of an older splitinfer, which cannot be replayed)"
        raise RecordingError(f"line {first.number}: {why}")
    return Recording(_start(first), tuple(_event(line, seq) for seq, line in enumerate(rest)), first.number, torn)


def _start(line: _Line) -> Start:
    assert line.raw is not None
    try:
        return start_of(line.raw)
    except ValueError as error:
        raise RecordingError(f"line {line.number}: {error}") from error


def _event(line: _Line, seq: int) -> Recorded:
    try:
        if line.raw is None:
            raise ValueError(line.why)
        recorded = event_of(line.raw)
    except ValueError as error:
        raise RecordingError(f"line {line.number}: {error}") from error
    if recorded.seq != seq:
        raise RecordingError(
            f"line {line.number}: event {recorded.seq} stands where {seq} should: events were dropped, the file was edited, or "
            "two clients wrote into it at once"
        )
    return recorded
