"""`remote.Remote` over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from splitinfer import wire
from splitinfer.backends.grpc_remote.address import Access
from splitinfer.backends.grpc_remote.exchange import Exchange, now_ms
from splitinfer.backends.grpc_remote.failure import Failure
from splitinfer.backends.grpc_remote.keeper import Keeper
from splitinfer.backends.grpc_remote.line import Line
from splitinfer.backends.grpc_remote.upload import window_bytes
from splitinfer.engine import Stop
from splitinfer.errors import (
    CodecError,
    DeadlineExceeded,
    Reason,
    Refused,
    RemoteError,
    SecurityError,
    SplitInferError,
    Stopped,
    Unreachable,
)
from splitinfer.events import LoadReported, Observer, Transferred
from splitinfer.payload import Payload
from splitinfer.plan import Uplink
from splitinfer.remote import Reply, Tls

SLOW_UPLOAD_MS = 100.0
"""Uploads that are predicted to take longer go in pieces."""
UNKNOWN_LINK_MS = 500.0
"""What an answer may take on a link of which nothing is known."""


class GrpcRemote:
    """A cloud that is spoken to over gRPC. Thread-safe; connects in the background, and again whenever it must.

    Args:
        addresses: HOST:PORT of the servers that are known, or one dns:///HOST:PORT; more are learnt from those.
        tls: certificates; None = plaintext, which only loopback addresses and `insecure` allow.
        token: bearer token, sent with every call.
        insecure: allow plaintext to other machines.
        observe: hears `Transferred`, `LinkChanged` and `LoadReported`, one at a time.
        rate: what is believed of the link: decides between one message and pieces, and how many of them may be on their way.

    Raises:
        ValueError: an address is not HOST:PORT.
        SecurityError: a file of `tls` cannot be read, or plaintext would leave this machine.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        tls: Tls | None = None,
        token: str | None = None,
        insecure: bool = False,
        observe: Observer = lambda event: None,
        rate: Callable[[], Uplink | None] = lambda: None,
    ) -> None:
        access = Access.of(addresses, tls, token, insecure)
        self._name = f"{', '.join(addresses)}, {'TLS' if tls else 'plaintext'}"
        self._rate = rate
        self._server_ms = 0.0
        self._keeper = Keeper(tuple(addresses), lambda known, quiet: Line(known, access, quiet), access.allows, observe, rate)

    def __repr__(self) -> str:
        return f"GrpcRemote({self._name})"

    def send(self, payload: Payload, deadline_at_ms: float | None, stopper: Stop | None = None) -> Reply:
        """See `Remote.send`."""
        request = wire.encode_request(payload)
        if len(request) > wire.MESSAGE_MAX_BYTES:
            raise Refused(f"{len(request)} bytes are more than a server takes: choose a deeper cut", Reason.PAYLOAD_TOO_LARGE)
        try:
            return self._ask(payload, request, deadline_at_ms, stopper)
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.reason is not Reason.DRAINING:
                raise
        # A tail is a pure function, so that another server may be asked; which one is gRPC's turn.
        return self._ask(payload, request, deadline_at_ms, stopper)

    def probe(self, nbytes: int, deadline_at_ms: float) -> None:
        """See `Remote.probe`."""
        try:
            with self._keeper.lent(_left_s(deadline_at_ms)) as line:
                self._measure(line, min(nbytes, wire.UNARY_MAX_BYTES), deadline_at_ms)
        except (RemoteError, SecurityError, CodecError):
            return

    def look(self, dear: bool) -> None:
        """See `Remote.look`."""
        self._keeper.look(dear)

    def close(self) -> None:
        """Ends the connection; calls that are under way fail as `Unreachable`."""
        self._keeper.close()

    def _ask(self, payload: Payload, request: bytes, deadline_at_ms: float | None, stopper: Stop | None) -> Reply:
        began_ms = now_ms()
        with self._keeper.lent(_left_s(deadline_at_ms), stopper) as line:
            exchange = Exchange(line, request, self._window(len(request)), _left_s(deadline_at_ms))
            if stopper is not None:
                stopper.when_asked(exchange.cancel)
            try:
                answer = exchange.answer()
            except grpc.RpcError as error:
                raise self._failed(exchange, Failure.of(error), stopper) from None
            except CodecError:
                raise Refused("the cloud's answer cannot be read: are both sides of one version?", Reason.INTERNAL) from None
        if answer.payload.digest != payload.digest:
            raise Refused("the cloud answered for another bundle", Reason.UNKNOWN_DIGEST)
        self._server_ms = answer.server_ms
        self._keeper.say(exchange.transferred(answer.server_ms))
        self._keeper.say(LoadReported(answer.load_queue_ms, answer.tail_scale))
        return self._reply(answer, now_ms() - began_ms, len(request))

    def _measure(self, line: Line, nbytes: int, deadline_at_ms: float) -> None:
        first, line.fresh = line.fresh, False
        began_ms = now_ms()
        try:
            received_bytes, server_ms = line.probe(nbytes, _left_s(deadline_at_ms))
        except grpc.RpcError as error:
            failure = Failure.of(error)
            if failure.late:
                self._silent(line, nbytes, now_ms() - began_ms)
            elif not failure.answered:
                self._keeper.doubt(line)
            return
        elapsed_ms = max(now_ms() - began_ms - server_ms, 0.0)
        self._keeper.say(Transferred(min(received_bytes, nbytes), elapsed_ms, first=first, rtt_ms=line.rtt_ms()))

    def _window(self, nbytes: int) -> int | None:
        """None = one message."""
        uplink = self._rate()
        slow = uplink is not None and 8e3 * nbytes / uplink.rate_bps > SLOW_UPLOAD_MS
        return window_bytes(uplink) if slow or nbytes > wire.UNARY_MAX_BYTES else None

    def _failed(self, exchange: Exchange, failure: Failure, stopper: Stop | None) -> SplitInferError:
        """Draws the consequences; returns what to raise."""
        stopped = stopper is not None and stopper.asked
        if not failure.answered and (exchange.acked_bytes or failure.late or stopped):
            self._keeper.say(exchange.broken_off())
        if stopped:
            if not exchange.acked_bytes and self._overdue(len(exchange.request), exchange.elapsed_ms):
                self._keeper.doubt(exchange.line)  # a race hides a dead link: its deadline comes before patience ends
            return Stopped("the request was not needed any more")
        if failure.late and not exchange.acked_bytes:
            self._silent(exchange.line, len(exchange.request), exchange.elapsed_ms)
        elif not failure.answered:
            self._keeper.doubt(exchange.line)
        elif isinstance(failure.error, Refused) and failure.error.reason is Reason.DRAINING:
            self._keeper.leave(exchange.line)
        return failure.error

    def _overdue(self, nbytes: int, waited_ms: float) -> bool:
        """Whether the wait was long for what was sent."""
        uplink = self._rate()
        link_ms = UNKNOWN_LINK_MS if uplink is None else uplink.rtt_ms + 8e3 * nbytes / uplink.rate_bps
        return waited_ms > 2 * (link_ms + self._server_ms)

    def _silent(self, line: Line, nbytes: int, waited_ms: float) -> None:
        """Nothing came until the deadline: a dead link if the wait was long for what was sent, else a reason to look."""
        if self._overdue(nbytes, waited_ms):
            self._keeper.lost(line)
        else:
            self._keeper.doubt(line)

    def _reply(self, answer: wire.Answer, elapsed_ms: float, uplink_bytes: int) -> Reply:
        uplink = self._rate()
        return Reply(
            payload=answer.payload,
            queue_ms=answer.queue_ms,
            decode_ms=answer.decode_ms + answer.encode_ms,
            tail_ms=answer.tail_ms,
            server_ms=answer.server_ms,
            load_queue_ms=answer.load_queue_ms,
            tail_scale=answer.tail_scale,
            elapsed_ms=elapsed_ms,
            uplink_bytes=uplink_bytes,
            rtt_ms=0.0 if uplink is None else uplink.rtt_ms,
        )


def _left_s(deadline_at_ms: float | None) -> float | None:
    """Seconds until then; None = for ever.

    Raises:
        DeadlineExceeded: it has passed.
    """
    if deadline_at_ms is None:
        return None
    left_ms = deadline_at_ms - now_ms()
    if left_ms <= 0:
        raise DeadlineExceeded("no time was left to ask the cloud")
    return left_ms / 1e3
