"""The device's seam to the cloud: send a payload, get a reply or a `RemoteError`.

Knows no library and no address. `backends.grpc_remote` implements it; a simulator may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from splitinfer.engine import Stop
from splitinfer.payload import Payload


@dataclass(frozen=True, slots=True)
class Tls:
    """How the cloud shows who it is, and how this device does: paths of PEM files.

    Attributes:
        ca: authorities that may vouch for the cloud; None = those that the transport knows.
        cert: this device's certificate (mutual TLS).
        key: its private key.
        server_name: the name in the cloud's certificates; None = the host of the first address.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        payload: the outputs that the tail computed, at cut n.
        queue_ms: waited in the cloud.
        decode_ms: the cloud's decoding and encoding.
        tail_ms: the cloud's segments.
        server_ms: all of the time in the server; elapsed less this is the network.
        load_queue_ms: what the next request would wait.
        tail_scale: the server's tail time over its reference; None = unknown.
        rtt_ms: what is believed of the round trip, to tell the way up from the way down; 0 = unknown.
        elapsed_ms: from send to reply, on the device's clock.
        uplink_bytes: on the wire, framing included.
    """

    payload: Payload
    queue_ms: float
    decode_ms: float
    tail_ms: float
    server_ms: float
    load_queue_ms: float
    tail_scale: float | None
    elapsed_ms: float
    uplink_bytes: int
    rtt_ms: float = 0.0


class Remote(Protocol):
    """A cloud that can be asked. Thread-safe. Says `Transferred`, `LinkChanged` and `LoadReported` to its observer."""

    def send(self, payload: Payload, deadline_at_ms: float | None, stopper: Stop | None = None) -> Reply:
        """Sends one payload and waits for its reply.

        Args:
            payload: what crosses.
            deadline_at_ms: on the monotonic clock (`time.monotonic() * 1e3`); None = as long as the transport allows.
            stopper: asking it cancels the call; the link is free again at once.

        Raises:
            RemoteError: Unreachable, DeadlineExceeded or Refused; nothing else that the network did gets out.
            Stopped: the stopper was asked.
            SecurityError: the credentials were not accepted.
        """
        ...

    def probe(self, nbytes: int, deadline_at_ms: float) -> None:
        """Sends padding to measure the link; the result is a `Transferred`. Failures are silent: they show as `LinkChanged`."""
        ...

    def look(self, dear: bool) -> None:
        """Looks after the connection: a request came, wherever it is computed, or the network became another one.

        Args:
            dear: bytes are, from now on: nothing but requests is sent, and a lost connection is looked for at no other time.
        """
        ...

    def close(self) -> None:
        """Ends the connection (or its share of a common one)."""
        ...
