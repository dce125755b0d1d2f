"""One request on one line: as one message, or in pieces. Measures what went up."""

from __future__ import annotations

import time

from splitinfer import wire
from splitinfer.backends.grpc_remote.line import Line
from splitinfer.backends.grpc_remote.upload import Upload
from splitinfer.errors import CorruptPayload
from splitinfer.events import Transferred


def now_ms() -> float:
    """The monotonic clock."""
    return time.monotonic() * 1e3


class Exchange:
    """Starts when it is made.

    Args:
        line: where.
        request: what, serialised.
        window: bytes of it that may be on their way; None = all, in one message.
        timeout_s: None = as long as the transport allows.
    """

    def __init__(self, line: Line, request: bytes, window: int | None, timeout_s: float | None) -> None:
        self.line = line
        self.request = request
        self.acked_bytes = 0
        self._first, line.fresh = line.fresh, False
        self._began_ms = self._acked_at_ms = now_ms()
        self._upload = None if window is None else Upload(request, window)
        if self._upload is None:
            self._call = line.infer(request, timeout_s)
            return
        self._call = line.infer_chunked(self._upload, timeout_s)
        if not self._call.add_callback(self._upload.end):
            self._upload.end()

    def cancel(self) -> None:
        """Ends it. What was not sent yet never will be."""
        self._call.cancel()

    @property
    def elapsed_ms(self) -> float:
        """Since it began."""
        return now_ms() - self._began_ms

    def answer(self) -> wire.Answer:
        """Waits.

        Raises:
            CorruptPayload: what came is no answer.
            grpc.RpcError: none came.
        """
        answer: wire.Answer | None = None
        for message in self._call:
            progress = wire.decode_reply(message) if self._upload is None else wire.decode_progress(message)
            if isinstance(progress, wire.Answer):
                answer = progress
            elif self._upload is not None:
                self._upload.acknowledge(progress)
                self.acked_bytes, self._acked_at_ms = self._upload.acked_bytes, now_ms()
        if answer is None:
            raise CorruptPayload("the call ended without an answer")
        return answer

    def transferred(self, server_ms: float) -> Transferred:
        """What an answered request says of the link."""
        elapsed_ms = max(self.elapsed_ms - server_ms, 0.0)
        return Transferred(len(self.request), elapsed_ms, first=self._first, rtt_ms=self.line.rtt_ms())

    def broken_off(self) -> Transferred:
        """What one without an answer says of it: a sample where everything had arrived, else a bound."""
        complete = self.acked_bytes == len(self.request)
        until_ms = self._acked_at_ms if complete else now_ms()
        elapsed_ms, rtt_ms = until_ms - self._began_ms, self.line.rtt_ms()
        return Transferred(self.acked_bytes, elapsed_ms, complete, self._first, len(self.request), rtt_ms)
