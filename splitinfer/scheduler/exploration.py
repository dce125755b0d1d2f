"""When to look at a link that nobody uses. Knows no clock: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.events import Event, ProbeDue

PROBE_BYTES = (256, 16_384)
"""A small one for the delay, then a larger one for the rate."""
PROBE_GAP_MS = 1_000.0
"""From one probe to the next; grows each time by half ..."""
PROBE_GAP_GROWTH = 1.5
PROBE_GAP_MAX_MS = 30_000.0
"""... up to this."""


@dataclass(slots=True)
class Exploration:
    """When to look at the link again: after it came up, then ever more rarely, and only if a request came since."""

    due_at_ms: float = 0.0
    requested: bool = False
    _gap_ms: float = PROBE_GAP_MS
    _open: int = 0

    def restart(self, due_at_ms: float) -> None:
        """Begins anew with short gaps."""
        self.due_at_ms, self._gap_ms, self._open = due_at_ms, PROBE_GAP_MS, 0

    def probe(self, now_ms: float) -> list[Event]:
        """Notes that the probes are sent now."""
        self.postpone(now_ms)
        self._open = len(PROBE_BYTES)
        return [ProbeDue(nbytes) for nbytes in PROBE_BYTES]

    def postpone(self, now_ms: float) -> None:
        """Waits for another request, and longer than the last time."""
        self.requested = False
        self.due_at_ms = now_ms + self._gap_ms
        self._gap_ms = min(PROBE_GAP_GROWTH * self._gap_ms, PROBE_GAP_MAX_MS)

    def answered(self) -> bool:
        """Notes a transfer; whether a probe was out."""
        was_open, self._open = self._open > 0, max(self._open - 1, 0)
        return was_open
