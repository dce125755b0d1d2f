"""An uplink in virtual time: a fluid queue over a trace, and what real connections and radios add.

Slow start happens once for each connection and does not come back after a pause; a radio that slept wakes first; an upload that
is cancelled still sends what was on its way. Loss is not modelled, nor is what other applications send. Knows no plan and no
device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from splitinfer.energy import Radio
from splitinfer.estimate.opening import WINDOW_FIRST_BYTES
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world.agenda import Agenda

OVERHEAD = 1500 / 1448
"""Bytes on the wire for each byte of payload: IP and TCP headers of full segments."""
ON_ITS_WAY_BYTES = 32_768
"""Of a cancelled upload, so much at most still leaves."""
RTT_MS = {"wifi": 12.0, "lte": 50.0, "3g": 100.0, "5g": 30.0, "satellite": 40.0, "wired": 10.0}
"""Where a trace tells none: typical round trips."""


@dataclass(slots=True)
class Upload:
    """Bytes on their way.

    Attributes:
        nbytes: of payload.
        began_ms: when they were handed over.
        first: the first on its connection.
        departs_ms: when the last one leaves; infinity = never.
        starts_ms: when the first one could leave.
        cancelled: nobody waits for it any more.
    """

    nbytes: int
    began_ms: float
    first: bool
    starts_ms: float
    departs_ms: float
    cancelled: bool = False


class Uplink:
    """One device's way up; uploads leave in order.

    Attributes:
        sent_bytes: payload that left, for the ledger.
    """

    def __init__(self, agenda: Agenda, trace: LinkTrace, radio: Radio, from_ms: float = 0.0) -> None:
        """Takes a trace from `from_ms` on."""
        self._agenda = agenda
        self._trace = trace
        self._from_ms = from_ms
        self.radio = radio
        self.sent_bytes = 0
        self._free_ms = 0.0
        self._used_ms = -inf
        self._window: float | None = WINDOW_FIRST_BYTES

    def rtt_ms(self, at_ms: float) -> float:
        """Of a tiny message."""
        rtt_ms = self._trace.at(at_ms + self._from_ms).rtt_ms
        return RTT_MS.get(self.radio.name, 50.0) if rtt_ms is None else rtt_ms

    def idle_ms(self, at_ms: float) -> float:
        """Since the last byte left."""
        return max(at_ms - self._used_ms, 0.0)

    def reconnect(self) -> None:
        """The next upload is on a fresh connection."""
        self._window = WINDOW_FIRST_BYTES

    def departs_ms(self, at_ms: float, nbytes: float, awake: bool = False) -> tuple[float, float]:
        """When the first and the last byte of an upload would leave that is handed over at a moment.

        `awake`: as if the connection were open and the radio did not sleep.
        """
        slept = not awake and self.radio.sleeps(self.idle_ms(at_ms))
        starts_ms = max(at_ms + (self.radio.promotion_ms if slept else 0.0), self._free_ms)
        if awake or self._window is None:
            return starts_ms, self._finish_ms(starts_ms, nbytes)
        window, ready_ms, departs_ms, rtt_ms = self._window, starts_ms, starts_ms, self.rtt_ms(at_ms)
        while nbytes > 0 and departs_ms < inf:
            chunk = min(nbytes, window)
            departs_ms = self._finish_ms(max(ready_ms, departs_ms), chunk)
            ready_ms, window, nbytes = ready_ms + rtt_ms, 2 * window, nbytes - chunk
        return starts_ms, departs_ms

    def send(self, nbytes: int, departed: Callable[[Upload], None]) -> Upload:
        """Hands bytes over; `departed` is called when the last one has left, unless the upload is cancelled before."""
        now_ms, first = self._agenda.now_ms, self._window == WINDOW_FIRST_BYTES
        upload = Upload(nbytes, now_ms, first, *self.departs_ms(now_ms, nbytes))
        self._free_ms = upload.departs_ms
        self._used_ms = max(self._used_ms, min(upload.departs_ms, now_ms + 60_000.0))

        def leave() -> None:
            if not upload.cancelled:
                self._count(upload.nbytes)
                self._used_ms = self._agenda.now_ms
                departed(upload)

        self._agenda.at(upload.departs_ms, leave)
        return upload

    def cancel(self, upload: Upload) -> int:
        """Ends an upload; returns the bytes of it that had left. The queue is free when what was on its way has left, too."""
        now_ms = self._agenda.now_ms
        if upload.cancelled or upload.departs_ms <= now_ms:
            return upload.nbytes
        upload.cancelled = True
        carried = (self._bits(now_ms) - self._bits(upload.starts_ms)) / 8 / OVERHEAD if now_ms > upload.starts_ms else 0.0
        left = min(int(carried), upload.nbytes)
        self._count(left)
        if self._free_ms == upload.departs_ms:
            rest = min(upload.nbytes - left, ON_ITS_WAY_BYTES)
            self._free_ms = min(self._finish_ms(max(now_ms, upload.starts_ms), rest), upload.departs_ms)
            self._used_ms = min(self._free_ms, now_ms + 60_000.0)
        return left

    def _count(self, nbytes: int) -> None:
        self.sent_bytes += nbytes
        if self._window is not None:
            self._window += nbytes
            if self._window > 1 << 20:
                self._window = None

    def _finish_ms(self, start_ms: float, nbytes: float) -> float:
        return self._trace.finish_ms(start_ms + self._from_ms, nbytes * OVERHEAD) - self._from_ms

    def _bits(self, at_ms: float) -> float:
        return self._trace.bits(at_ms + self._from_ms)
