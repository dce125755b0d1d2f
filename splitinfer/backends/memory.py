"""Reads how much memory this process takes, from /proc (Linux). Knows no model: it is asked before and after the work."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc/self")
_RESET_PEAK = "5"


class Growth:
    """How much resident memory this process took at most, beyond what it had when this was made.

    Where the system lets a process reset its peak (`VmHWM`), what was freed again counts too; else what is resident at the
    moment of asking. All threads count, and memory that the process already had to spare does not.

    https://www.kernel.org/doc/html/latest/filesystems/proc.html: `status`, `clear_refs`.
    """

    def __init__(self, root: Path = PROC) -> None:
        self._root = root
        self._field = "VmHWM" if _reset_peak(root) else "VmRSS"
        self._before = _read(root, "VmRSS")
        self._most = 0

    def nbytes(self) -> int | None:
        """Bytes until now, never less than before; None where the system does not tell."""
        now = _read(self._root, self._field)
        if now is None or self._before is None:
            return None
        self._most = max(self._most, now - self._before)
        return self._most


def _reset_peak(root: Path) -> bool:
    try:
        (root / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _read(root: Path, field: str) -> int | None:
    try:
        text = (root / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
