"""Values and errors to protobuf and back: all that the two sides of the network must agree on.

    messages    requests and replies, whole or in pieces
    fields      the protobuf wire format, read without copying and never past a limit
    control     probes and the list of live servers
    status      errors and gRPC's status

The .proto files under proto/ are the contract; stock generated stubs read and write the same bytes. Knows no gRPC: paths and
limits are values here.
"""

from __future__ import annotations

from splitinfer.wire.control import (
    Endpoints,
    decode_endpoints,
    decode_probe,
    decode_probe_reply,
    encode_endpoints,
    encode_probe,
    encode_probe_reply,
)
from splitinfer.wire.messages import (
    MESSAGE_MAX_BYTES,
    PIECE_BYTES,
    UNARY_MAX_BYTES,
    WINDOW_MIN_BYTES,
    Answer,
    decode_piece,
    decode_progress,
    decode_reply,
    decode_request,
    encode_ack,
    encode_piece,
    encode_reply,
    encode_request,
    encode_result,
    encode_total,
)
from splitinfer.wire.status import STATUS_DETAILS_KEY, encode_status, error_from_status

INFER = "/splitinfer.v1.InferenceService/Infer"
INFER_CHUNKED = "/splitinfer.v1.InferenceService/InferChunked"
PROBE = "/splitinfer.v1.InferenceService/Probe"
ENDPOINTS = "/splitinfer.v1.ControlService/Endpoints"

__all__ = [
    "ENDPOINTS",
    "INFER",
    "INFER_CHUNKED",
    "MESSAGE_MAX_BYTES",
    "PIECE_BYTES",
    "PROBE",
    "STATUS_DETAILS_KEY",
    "UNARY_MAX_BYTES",
    "WINDOW_MIN_BYTES",
    "Answer",
    "Endpoints",
    "decode_endpoints",
    "decode_piece",
    "decode_probe",
    "decode_probe_reply",
    "decode_progress",
    "decode_reply",
    "decode_request",
    "encode_ack",
    "encode_endpoints",
    "encode_piece",
    "encode_probe",
    "encode_probe_reply",
    "encode_reply",
    "encode_request",
    "encode_result",
    "encode_status",
    "encode_total",
    "error_from_status",
]
