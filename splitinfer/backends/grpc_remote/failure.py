"""grpc's errors end here: what they say about the request, and what they say about the link."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from splitinfer import wire
from splitinfer.errors import RemoteError, SecurityError, Unreachable

_TLS_SIGNS = ("SSL_ERROR_SSL", "Verification Check failed", "is not in peer certificate")
"""All that grpc tells of a failed handshake is a text: a wrong authority, a wrong name, no TLS on the other side."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ended.

    Attributes:
        error: to raise.
        answered: a server said so; otherwise it was the network, or silence.
        late: the time was up.
    """

    error: RemoteError | SecurityError
    answered: bool
    late: bool

    @classmethod
    def of(cls, error: grpc.RpcError) -> Failure:
        """Reads a grpc error."""
        code, details = error.code(), _details(error)
        number = code.value[0]
        text = error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and any(sign in text for sign in _TLS_SIGNS):
            return cls(SecurityError("the cloud's certificate was not accepted, or ours was not: check tls="), False, False)
        if code is grpc.StatusCode.UNAVAILABLE and not details:
            return cls(Unreachable("the cloud cannot be reached: check the address, the network and the server"), False, False)
        late = code is grpc.StatusCode.DEADLINE_EXCEEDED and not details
        answered = bool(details) or not (late or code is grpc.StatusCode.CANCELLED)
        return cls(wire.error_from_status(number, "" if late else text, details), answered, late)


def _details(error: grpc.RpcError) -> bytes:
    for item in error.trailing_metadata() or ():
        if item.key == wire.STATUS_DETAILS_KEY:
            return bytes(item.value)
    return b""
