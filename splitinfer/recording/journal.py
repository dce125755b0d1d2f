"""Writes a recording, each line flushed: what was seen before a crash is on disk."""

from __future__ import annotations

import os
from pathlib import Path

from splitinfer.events import Recorded
from splitinfer.recording.lines import event_line, start_line
from splitinfer.recording.start import Start


class Journal:
    """Appends one recording to a file, behind those that are there. Events must come in the order in which they were said."""

    def __init__(self, path: Path, start: Start) -> None:
        torn = _is_torn(path)
        self._file = path.open("a", encoding="utf-8")
        self._append(("\n" if torn else "") + start_line(start))

    def write(self, recorded: Recorded) -> None:
        """Appends one event.

        Raises:
            ValueError: it holds a number that is not finite; nothing was written.
        """
        self._append(event_line(recorded))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()


def _is_torn(path: Path) -> bool:
    """Whether a crash has left a line without its end."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
