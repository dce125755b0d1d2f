"""Events as JSON Lines in a file, one object a line, each flushed: what was seen before a crash is on disk."""

from __future__ import annotations

import json
from pathlib import Path

from splitinfer.events import Recorded, as_json


class Journal:
    """Writes what it is given."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, recorded: Recorded) -> None:
        """Appends one line."""
        self._file.write(json.dumps(as_json(recorded)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
