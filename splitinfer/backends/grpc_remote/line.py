"""One channel to the known servers, with connections of its own.

It is lively or quiet. A lively one is connected to every server, watches their health and pings them, so that it knows of a
death before a request does. A quiet one is for links on which bytes are dear: it is connected to one of the servers, sends
nothing between calls, and does not connect again before the next one.

A line that is retired closes when its last call has ended, so that a newer one can take over without losing a request. Knows no
payload and no policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

import grpc

from splitinfer import wire
from splitinfer.backends.grpc_remote.address import Access, is_local, known_as, target
from splitinfer.backends.grpc_remote.tcp_info import Sockets
from splitinfer.errors import CorruptPayload

_TRANSPORT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_LIVELY = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
_QUIET = {"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # `GrpcRemote.send` asks again. grpc's own retries do not end a call whose messages are read as a stream (grpcio 1.85).
    ("grpc.enable_retries", 0),
    # Channels to one address otherwise share a connection, and a fresh line would be as dead as the old one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", wire.MESSAGE_MAX_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # For calls without a deadline and, where health is watched, for what dies while nobody asks: there are no pings without
    # calls, and watching is one. A wedged server is seen by ping_timeout_ms only.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
)


class Call(Protocol):
    """What is read of a call that was started."""

    def __iter__(self) -> Iterator[bytes]:
        """The messages that come, until it ends or raises `grpc.RpcError`."""
        ...

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls back when it has ended; False if it already has."""
        ...

    def cancel(self) -> None:
        """Ends it."""
        ...


class LineClosed(grpc.RpcError):
    """A call was started on a line that had just been closed. Looks like a call that was cancelled by that."""

    def code(self) -> grpc.StatusCode:
        """Of every call that a closing channel ends."""
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        """For people."""
        return "the connection was closed"

    def trailing_metadata(self) -> tuple[()]:
        """None."""
        return ()


@contextmanager
def _open() -> Iterator[None]:
    try:
        yield
    except ValueError:
        # That is how grpc says that the channel is closed.
        raise LineClosed from None


class Line:
    """One channel.

    Attributes:
        addresses: that it was opened with.
        quiet: it is silent between calls.
        fresh: nothing was sent yet: the window of the connection is still small.
    """

    def __init__(self, addresses: Sequence[str], access: Access, quiet: bool = False) -> None:
        self.addresses = tuple(addresses)
        self.quiet = quiet
        self.fresh = True
        self._metadata = access.metadata
        self._lock = Lock()
        self._calls = 0
        self._retired = False
        self._sockets = Sockets(frozenset())
        config = ("grpc.service_config", json.dumps(_QUIET if quiet else _LIVELY))
        options = (*_OPTIONS, config, ("grpc.default_authority", access.authority))
        where = target(self.addresses)
        if access.credentials is None:
            self._channel = grpc.insecure_channel(where, options=options)
        else:
            self._channel = grpc.secure_channel(where, access.credentials, options=options)
        # Read as a stream of one message: the same bytes, and both kinds of request are read and cancelled in one way.
        self._infer = self._channel.unary_stream(wire.INFER, bytes, bytes)
        self._infer_chunked = self._channel.stream_stream(wire.INFER_CHUNKED, bytes, bytes)
        self._probe = self._channel.unary_unary(wire.PROBE, bytes, bytes)
        self._endpoints = self._channel.unary_stream(wire.ENDPOINTS, bytes, bytes)

    def infer(self, request: bytes, timeout_s: float | None) -> Call:
        """Starts a request in one message."""
        with _open():
            return self._infer(request, timeout=timeout_s, metadata=self._metadata)

    def infer_chunked(self, pieces: Iterator[bytes], timeout_s: float | None) -> Call:
        """Starts a request in pieces."""
        with _open():
            return self._infer_chunked(pieces, timeout=timeout_s, metadata=self._metadata)

    def probe(self, nbytes: int, timeout_s: float | None) -> tuple[int, float]:
        """Sends padding and waits; bytes received, and the server's time in milliseconds."""
        with _open():
            reply = self._probe(wire.encode_probe(nbytes), timeout=timeout_s, metadata=self._metadata)
        return wire.decode_probe_reply(reply)

    def endpoints(self) -> Call:
        """Starts listening to the list of live servers."""
        with _open():
            return self._endpoints(b"", metadata=self._metadata)

    def trouble(self, timeout_s: float) -> grpc.RpcError | None:
        """Asks for a sign of life. Any answer of the server is one, "no" included; None = it is alive."""
        try:
            self.probe(0, timeout_s)
        except grpc.RpcError as error:
            return error if error.code() in _TRANSPORT else None
        except CorruptPayload:
            return None
        return None

    def meet(self) -> None:
        """Learns which sockets are its own; may have to resolve names.

        Those to this machine are left out: what they lead to is no network, or a proxy before one.
        """
        self._sockets = Sockets({peer for peer in known_as(self.addresses) if not is_local(peer)})

    def rtt_ms(self) -> float | None:
        """The shortest round trip that the kernel has seen; None = it does not tell."""
        return self._sockets.min_rtt_ms()

    def take(self) -> None:
        """Keeps it open for a call."""
        with self._lock:
            self._calls += 1

    def give_back(self) -> None:
        """The call has ended."""
        with self._lock:
            self._calls -= 1
        self._close_if_idle()

    def retire(self) -> None:
        """Closes it, now or with the end of its last call."""
        self._retired = True
        self._close_if_idle()

    def close(self) -> None:
        """Closes it now; calls in it end."""
        self._channel.close()

    def _close_if_idle(self) -> None:
        with self._lock:
            idle = self._retired and not self._calls
        if idle:
            self._channel.close()
