"""Bytes that were once on the wire are read for ever: devices in the field are not updated with the cloud.

Never change the files; a new field gets a new file beside them.
"""

from __future__ import annotations

from pathlib import Path

from splitinfer import wire
from splitinfer.errors import Reason, Refused
from splitinfer.model import Digest
from splitinfer.payload import Part, Payload

FOLDER = Path(__file__).parent / "wire"
REQUEST = Payload(
    Digest("0123456789abcdef" * 4),
    3,
    "int8+zstd1",
    (
        Part("features", "float32", (2, 4, 3, 3), "int8+zstd1", (b"first item", b"\x00second\xff")),
        Part("mask", "bool", (), "raw", (b"\x01",)),
    ),
)
ANSWER = wire.Answer(
    Payload(REQUEST.digest, 7, "raw", (Part("scores", "float32", (1, 2), "raw", (b"\x00\x00\x80?\x00\x00\x00@",)),)),
    queue_ms=1.5,
    decode_ms=0.25,
    tail_ms=12.75,
    encode_ms=0.125,
    server_ms=15.0,
    load_queue_ms=3.5,
    load_in_flight=2,
    tail_scale=1.25,
)


def test_a_request_of_the_first_version():
    assert wire.decode_request((FOLDER / "request.bin").read_bytes()) == REQUEST


def test_a_reply_of_the_first_version():
    assert wire.decode_reply((FOLDER / "reply.bin").read_bytes()) == ANSWER


def test_a_refusal_of_the_first_version():
    error = wire.error_from_status(8, "the queue is full", (FOLDER / "refusal.bin").read_bytes())
    assert isinstance(error, Refused)
    assert (error.reason, error.retry_after_ms) == (Reason.OVERLOADED, 250.0)
