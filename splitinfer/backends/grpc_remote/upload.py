"""One request in pieces, at most a window of bytes ahead of the acknowledgements.

What is written to a socket cannot be taken back: without the window a cancelled megabyte keeps a slow link busy for seconds.
Knows no gRPC: an iterator of messages that another thread feeds with acknowledgements.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Condition

from splitinfer import wire
from splitinfer.plan import Uplink

WINDOW_MS = 50.0
"""The window covers the round trip and this much, for a server that acknowledges late."""


def window_bytes(uplink: Uplink | None) -> int:
    """How far pieces may be ahead: max(32 KB, rate * (rtt + 50 ms)); an unknown link gets the least."""
    if uplink is None:
        return wire.WINDOW_MIN_BYTES
    return max(wire.WINDOW_MIN_BYTES, int(uplink.rate_bps / 8e3 * (uplink.rtt_ms + WINDOW_MS)))


class Upload(Iterator[bytes]):
    """The messages of one chunked request.

    Attributes:
        acked_bytes: known to have arrived.
    """

    def __init__(self, data: bytes, window: int) -> None:
        self.acked_bytes = 0
        self._data = memoryview(data)
        self._window = window
        self._sent: int | None = None
        self._ended = False
        self._changed = Condition()

    def __next__(self) -> bytes:
        """The next message, once the window lets it out."""
        if self._sent is None:
            self._sent = 0
            return wire.encode_total(len(self._data))
        piece = self._data[self._sent : self._sent + wire.PIECE_BYTES]
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._fits(len(piece)))
        if self._ended or not piece:
            raise StopIteration
        self._sent += len(piece)
        return wire.encode_piece(piece)

    def acknowledge(self, received_bytes: int) -> None:
        """The other side has this much."""
        with self._changed:
            self.acked_bytes = min(max(self.acked_bytes, received_bytes), len(self._data))
            self._changed.notify_all()

    def end(self) -> None:
        """Lets nothing more out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _fits(self, nbytes: int) -> bool:
        return (self._sent or 0) + nbytes - self.acked_bytes <= self._window
