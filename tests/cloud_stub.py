"""What generated stubs do: the messages of `splitinfer.v1` through gRPC, without any code of ours."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.cloud.hosted import Hosted
from splitinfer.model import Tensors

BALANCED = (
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}'),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
)
"""What a client with several addresses sets: one channel, any server that says SERVING."""
INFERENCE = "/splitinfer.v1.InferenceService/"
CONTROL = "/splitinfer.v1.ControlService/"


class Stub:
    """The four methods, as grpcio-tools would write them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.infer = channel.unary_unary(
            INFERENCE + "Infer",
            request_serializer=inference_pb2.InferRequest.SerializeToString,
            response_deserializer=inference_pb2.InferResponse.FromString,
        )
        self.infer_chunked = channel.stream_stream(
            INFERENCE + "InferChunked",
            request_serializer=inference_pb2.InferChunkedRequest.SerializeToString,
            response_deserializer=inference_pb2.InferChunkedResponse.FromString,
        )
        self.probe = channel.unary_unary(
            INFERENCE + "Probe",
            request_serializer=inference_pb2.ProbeRequest.SerializeToString,
            response_deserializer=inference_pb2.ProbeResponse.FromString,
        )
        self.endpoints = channel.unary_stream(
            CONTROL + "Endpoints",
            request_serializer=control_pb2.EndpointsRequest.SerializeToString,
            response_deserializer=control_pb2.EndpointsResponse.FromString,
        )


def request_of(hosted: Hosted, cut: int, tensors: Tensors) -> inference_pb2.InferRequest:
    """A request with plain tensors, one chunk a batch item."""
    parts = [
        inference_pb2.Part(name=name, dtype=a.dtype.name, shape=a.shape, codec="raw", chunks=[row.tobytes() for row in a])
        for name, a in tensors.items()
    ]
    return inference_pb2.InferRequest(digest=hosted.model.digest, cut=cut, codec="raw", parts=parts)


def outputs_of(response: inference_pb2.InferResponse) -> dict[str, np.ndarray]:
    """The tensors of a reply."""
    return {part.name: np.frombuffer(b"".join(part.chunks), part.dtype).reshape(tuple(part.shape)) for part in response.parts}


def in_pieces(
    request: inference_pb2.InferRequest, nbytes: int = 16 * 1024, total: int | None = None
) -> Sequence[inference_pb2.InferChunkedRequest]:
    """The messages of a chunked upload; `total` is what it says of itself."""
    body = request.SerializeToString()
    first = inference_pb2.InferChunkedRequest(total_bytes=len(body) if total is None else total)
    pieces = [body[at : at + nbytes] for at in range(0, len(body), nbytes)]
    return [first, *(inference_pb2.InferChunkedRequest(piece=piece) for piece in pieces)]


def ask_until(stop: threading.Event, stub: Stub, request: inference_pb2.InferRequest) -> Counter[str]:
    """Asks one request after the other; counts how they ended. No retry."""
    outcomes: Counter[str] = Counter()
    while not stop.is_set():
        try:
            stub.infer(request, timeout=5)
            outcomes["OK"] += 1
        except grpc.RpcError as error:
            outcomes[f"{error.code().name} {error.details()}"] += 1
    return outcomes


def why(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, float | None]:
    """Status, `ErrorInfo.reason` and `RetryInfo` in milliseconds, read by Google's own library."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if detail.Unpack(info):
            assert info.domain == "splitinfer"
        detail.Unpack(retry)
    wait_ms = retry.retry_delay.ToMicroseconds() / 1e3 if retry.HasField("retry_delay") else None
    return error.code(), info.reason, wait_ms
