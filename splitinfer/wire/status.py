"""Errors and gRPC's status: a number, a text, and details as in google.rpc (ErrorInfo, RetryInfo)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from splitinfer._pb.rpc import status_pb2 as rpc
from splitinfer.errors import STATUS_OF_REASON, Reason, Refused, RemoteError, SecurityError, error_of, reason_of

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carries the details."""

_DOMAIN = "splitinfer"
_TYPES = "type.googleapis.com/google.rpc."


def encode_status(error: BaseException, message: str | None = None) -> tuple[int, str, bytes]:
    """What a server ends a call with.

    Args:
        error: what stopped the request; `Refused` brings its own reason and pushback.
        message: for people on the other side; None = the error's own text where it is ours, nothing of the inside otherwise.

    Returns:
        Status number, message, and the value of `STATUS_DETAILS_KEY`.
    """
    reason = reason_of(error)
    if message is None:
        message = "the cloud failed at this request: see its log" if reason is Reason.INTERNAL else str(error)
    code = STATUS_OF_REASON[reason]
    status = rpc.Status(code=code, message=message)
    _pack(status, "ErrorInfo", rpc.ErrorInfo(reason=reason.value, domain=_DOMAIN).SerializeToString())
    if isinstance(error, Refused) and error.retry_after_ms is not None:
        retry = rpc.RetryInfo()
        retry.retry_delay.FromMicroseconds(round(error.retry_after_ms * 1e3))
        _pack(status, "RetryInfo", retry.SerializeToString())
    return code, message, status.SerializeToString()


def error_from_status(code: int, message: str, details: bytes = b"") -> RemoteError | SecurityError:
    """The error that a client raises.

    Args:
        code: gRPC's number; not 0.
        message: what came with it.
        details: value of `STATUS_DETAILS_KEY`; details that cannot be read, or that are not ours, count as none.
    """
    reason, retry_after_ms = _read(details)
    return error_of(code, message, reason, retry_after_ms)


def _pack(status: rpc.Status, kind: str, value: bytes) -> None:
    status.details.add(type_url=_TYPES + kind, value=value)


def _read(details: bytes) -> tuple[Reason | None, float | None]:
    reason: Reason | None = None
    retry_after_ms: float | None = None
    try:
        for detail in rpc.Status.FromString(details).details:
            if detail.type_url == _TYPES + "ErrorInfo":
                info = rpc.ErrorInfo.FromString(detail.value)
                # A newer server may know reasons that we do not.
                reason = Reason.__members__.get(info.reason) if info.domain == _DOMAIN else None
            elif detail.type_url == _TYPES + "RetryInfo":
                retry_after_ms = rpc.RetryInfo.FromString(detail.value).retry_delay.ToMicroseconds() / 1e3
    except DecodeError:
        return None, None
    return reason, retry_after_ms
