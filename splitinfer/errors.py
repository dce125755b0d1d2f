"""What can go wrong, and whose fault it is.

    SplitInferError
    ├── ModelError                 the model or the bundle is at fault
    │   ├── UnsupportedModel       this ONNX file cannot be cut; names the node and the reason
    │   ├── CorruptBundle          a file of the bundle is missing, changed or not ours
    │   ├── InvalidCut             there is no such cut, or this device does not hold its segments
    │   └── DigestMismatch         the two halves are not of the same bundle
    ├── InvalidInput               the application gave tensors that do not fit the model
    ├── EngineError                the runtime could not run a segment
    │   └── Stopped                it was asked to stop, and did
    ├── CodecError
    │   ├── UnknownCodec           nobody registered this id here
    │   ├── CorruptPayload         bytes that do not decode to what they say
    │   ├── Uncodable              values that this codec cannot code: not finite, or unlike the samples
    │   └── PayloadTooLarge        more than we are willing to decode
    ├── RemoteError                the cloud did not answer this request
    │   ├── Unreachable            no connection, or it broke
    │   ├── DeadlineExceeded       no answer in time
    │   └── Refused                the cloud answered "no"; `.reason` says why
    ├── SecurityError              credentials are missing or were not accepted
    ├── NoFeasiblePlan             the budget excludes every plan
    ├── SimulationError            a trace or a link setting is wrong, or the proxy cannot listen
    ├── RecordingError             a log of events cannot be read or lived again; names the line
    └── MissingExtra               an optional part is not installed; says how to install it

Each message says what to do next and shows nothing of the inside. This module knows no library: gRPC status codes appear as
the numbers that the protocol defines.
"""

from __future__ import annotations

from enum import StrEnum


class SplitInferError(Exception):
    """Base of every error that splitinfer raises on purpose."""


class ModelError(SplitInferError):
    """The model or the bundle is at fault."""


class UnsupportedModel(ModelError):
    """This ONNX file cannot be cut."""


class CorruptBundle(ModelError):
    """A file of the bundle is missing, changed or not ours."""


class InvalidCut(ModelError):
    """There is no such cut, or the segments it needs are not held here."""


class DigestMismatch(ModelError):
    """The two halves of a request are not of the same bundle."""


class InvalidInput(SplitInferError, ValueError):
    """The application gave tensors that do not fit the model."""


class EngineError(SplitInferError):
    """The runtime could not run a segment."""


class Stopped(EngineError):
    """A run was asked to stop, and did."""


class CodecError(SplitInferError):
    """Bytes and tensors do not fit each other."""


class UnknownCodec(CodecError):
    """No codec with this id is registered here."""


class CorruptPayload(CodecError):
    """Bytes that do not decode to what they say they are."""


class Uncodable(CodecError):
    """Values that a lossy codec cannot code: not finite, too large for it, or unlike the samples that it was made from."""


class PayloadTooLarge(CodecError):
    """More bytes than we are willing to decode."""


class RemoteError(SplitInferError):
    """The cloud did not answer this request."""


class Unreachable(RemoteError):
    """There is no connection, or it broke."""


class DeadlineExceeded(RemoteError):
    """No answer came in time."""


class Reason(StrEnum):
    """Why the cloud refused. The same words stand in `google.rpc.ErrorInfo.reason`."""

    UNKNOWN_DIGEST = "UNKNOWN_DIGEST"
    INVALID_CUT = "INVALID_CUT"
    UNKNOWN_CODEC = "UNKNOWN_CODEC"
    CORRUPT_PAYLOAD = "CORRUPT_PAYLOAD"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    OVERLOADED = "OVERLOADED"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    DRAINING = "DRAINING"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    INTERNAL = "INTERNAL"


class Refused(RemoteError):
    """The cloud answered "no".

    Attributes:
        reason: why, in one word.
        retry_after_ms: when it may say "yes"; None when it did not say.
    """

    def __init__(self, message: str, reason: Reason, retry_after_ms: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class SecurityError(SplitInferError):
    """Credentials are missing or were not accepted."""


class NoFeasiblePlan(SplitInferError):
    """The budget excludes every plan."""


class SimulationError(SplitInferError):
    """A trace or a link setting is wrong, or the proxy cannot listen."""


class RecordingError(SplitInferError):
    """A log of events cannot be read or lived again."""


class MissingExtra(SplitInferError, ImportError):
    """An optional part is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional part: pip install 'splitinfer[{extra}]'")


# gRPC status numbers: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
STATUS_OF_REASON: dict[Reason, int] = {
    Reason.UNKNOWN_DIGEST: 5,  # NOT_FOUND
    Reason.INVALID_CUT: 3,  # INVALID_ARGUMENT
    Reason.UNKNOWN_CODEC: 3,
    Reason.CORRUPT_PAYLOAD: 3,
    Reason.PAYLOAD_TOO_LARGE: 8,  # RESOURCE_EXHAUSTED
    Reason.OVERLOADED: 8,
    Reason.DEADLINE_TOO_SHORT: 4,  # DEADLINE_EXCEEDED
    Reason.DRAINING: 14,  # UNAVAILABLE
    Reason.UNAUTHENTICATED: 16,
    Reason.INTERNAL: 13,
}
_REASON_OF_ERROR: dict[type[SplitInferError], Reason] = {
    DigestMismatch: Reason.UNKNOWN_DIGEST,
    InvalidCut: Reason.INVALID_CUT,
    UnknownCodec: Reason.UNKNOWN_CODEC,
    PayloadTooLarge: Reason.PAYLOAD_TOO_LARGE,
    CodecError: Reason.CORRUPT_PAYLOAD,
    InvalidInput: Reason.CORRUPT_PAYLOAD,
}


def reason_of(error: BaseException) -> Reason:
    """The word that a server answers with when `error` stopped a request."""
    if isinstance(error, Refused):
        return error.reason
    return next((r for kind, r in _REASON_OF_ERROR.items() if isinstance(error, kind)), Reason.INTERNAL)


def error_of(
    status: int, message: str, reason: Reason | None = None, retry_after_ms: float | None = None
) -> RemoteError | SecurityError:
    """The error that a client raises for a gRPC status number.

    Args:
        status: the number on the wire; 0 (OK) is not an error and is refused.
        message: what the server said.
        reason: from `google.rpc.ErrorInfo`, where the server sent one.
        retry_after_ms: the server's pushback.
    """
    if status == 0:
        raise ValueError("status 0 is OK, not an error")
    if status in (7, 16):
        return SecurityError(message or "the cloud did not accept the credentials: check token= and tls=")
    if reason is Reason.DEADLINE_TOO_SHORT or (status == 4 and reason is None):
        return DeadlineExceeded(message or "no answer in time")
    if status in (1, 14) and reason is None:
        return Unreachable(message or "the cloud cannot be reached: check the address, the network and the server")
    return Refused(message or "the cloud refused the request", reason or Reason.INTERNAL, retry_after_ms)
