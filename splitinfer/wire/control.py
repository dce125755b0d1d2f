"""Probes of the link, and the list of servers that are alive."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.errors import CorruptPayload
from splitinfer.wire.fields import measured

ADDRESSES_MAX = 1024
"""Each is resolved and connected to."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Who is there.

    Attributes:
        addresses: host:port of every live server.
        digests: of the bundles they serve.
        load_queue_ms: what a request that comes now would wait.
        load_in_flight: requests in the server that says this.
        tail_scale: tail time over the reference profile's; None = not known yet.
    """

    addresses: tuple[str, ...]
    digests: tuple[str, ...] = ()
    load_queue_ms: float = 0.0
    load_in_flight: int = 0
    tail_scale: float | None = None


def encode_endpoints(endpoints: Endpoints) -> bytes:
    """An EndpointsResponse."""
    return control_pb2.EndpointsResponse(
        addresses=endpoints.addresses,
        digests=endpoints.digests,
        load=inference_pb2.Load(
            queue_ms=endpoints.load_queue_ms,
            in_flight=endpoints.load_in_flight,
            tail_scale=endpoints.tail_scale or 0.0,
        ),
    ).SerializeToString()


def decode_endpoints(data: bytes) -> Endpoints:
    """Reads an EndpointsResponse.

    Raises:
        CorruptPayload: these bytes are none, or the list is longer than any cluster.
    """
    try:
        message = control_pb2.EndpointsResponse.FromString(data)
    except DecodeError:
        raise CorruptPayload("this is not a list of servers") from None
    if len(message.addresses) > ADDRESSES_MAX:
        raise CorruptPayload(f"a list of {len(message.addresses)} servers; at most {ADDRESSES_MAX} are taken in")
    return Endpoints(
        tuple(message.addresses),
        tuple(message.digests),
        measured(message.load.queue_ms),
        message.load.in_flight,
        measured(message.load.tail_scale) or None,
    )


def encode_probe(nbytes: int) -> bytes:
    """A ProbeRequest with so much padding."""
    return inference_pb2.ProbeRequest(padding=bytes(nbytes)).SerializeToString()


def decode_probe(data: bytes) -> int:
    """Reads a ProbeRequest: how much padding came.

    Raises:
        CorruptPayload: these bytes are none.
    """
    try:
        return len(inference_pb2.ProbeRequest.FromString(data).padding)
    except DecodeError:
        raise CorruptPayload("this is not a probe") from None


def encode_probe_reply(received_bytes: int, server_ms: float) -> bytes:
    """A ProbeResponse."""
    return inference_pb2.ProbeResponse(received_bytes=received_bytes, server_ms=server_ms).SerializeToString()


def decode_probe_reply(data: bytes) -> tuple[int, float]:
    """Reads a ProbeResponse: bytes received, and the server's own time in milliseconds.

    Raises:
        CorruptPayload: these bytes are none.
    """
    try:
        message = inference_pb2.ProbeResponse.FromString(data)
    except DecodeError:
        raise CorruptPayload("this is not the answer to a probe") from None
    return message.received_bytes, measured(message.server_ms)
