"""Requests and replies: our hand-made writer and reader against the generated classes, and against strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer import wire
from splitinfer._pb.v1 import control_pb2
from splitinfer._pb.v1 import inference_pb2 as pb
from splitinfer.errors import CodecError, CorruptPayload, PayloadTooLarge
from splitinfer.model import Digest
from splitinfer.payload import Part, Payload
from splitinfer.wire.fields import varint
from splitinfer.wire.messages import CHUNKS_MAX, DIMS_MAX, PARTS_MAX, TEXT_MAX_BYTES

texts = st.text(max_size=20)
parts = st.builds(
    Part,
    name=texts,
    dtype=texts,
    shape=st.lists(st.integers(0, 2**63 - 1), max_size=6).map(tuple),
    codec=texts,
    chunks=st.lists(st.binary(max_size=200), max_size=3).map(tuple),
)
payloads = st.builds(
    Payload,
    digest=st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest),
    cut=st.integers(0, 2**32 - 1),
    codec=texts,
    parts=st.lists(parts, max_size=3).map(tuple),
)
times = st.floats(0, 1e9)
answers = st.builds(
    wire.Answer,
    payload=payloads,
    queue_ms=times,
    decode_ms=times,
    tail_ms=times,
    encode_ms=times,
    server_ms=times,
    load_queue_ms=times,
    load_in_flight=st.integers(0, 2**32 - 1),
    tail_scale=st.none() | st.floats(0.01, 100),
)
thorough = settings(derandomize=True, deadline=None, max_examples=100)


def stock_part(part: Part) -> pb.Part:
    chunks = [bytes(chunk) for chunk in part.chunks]
    return pb.Part(name=part.name, dtype=part.dtype, shape=part.shape, codec=part.codec, chunks=chunks)


def stock_request(payload: Payload) -> pb.InferRequest:
    return pb.InferRequest(
        digest=payload.digest, cut=payload.cut, codec=payload.codec, parts=[stock_part(part) for part in payload.parts]
    )


def stock_response(answer: wire.Answer) -> pb.InferResponse:
    payload = answer.payload
    return pb.InferResponse(
        parts=[stock_part(part) for part in payload.parts],
        times=pb.StageTimes(
            queue_ms=answer.queue_ms,
            decode_ms=answer.decode_ms,
            tail_ms=answer.tail_ms,
            encode_ms=answer.encode_ms,
            server_ms=answer.server_ms,
        ),
        load=pb.Load(queue_ms=answer.load_queue_ms, in_flight=answer.load_in_flight, tail_scale=answer.tail_scale or 0.0),
        digest=payload.digest,
        cut=payload.cut,
        codec=payload.codec,
    )


@thorough
@given(payloads)
def test_a_request_is_written_as_the_generated_classes_write_it(payload):
    assert wire.encode_request(payload) == stock_request(payload).SerializeToString()


@thorough
@given(payloads)
def test_a_request_of_a_stock_client_is_read(payload):
    assert wire.decode_request(stock_request(payload).SerializeToString()) == payload


@thorough
@given(answers)
def test_a_reply_is_written_as_the_generated_classes_write_it(answer):
    assert wire.encode_reply(answer) == stock_response(answer).SerializeToString()


@thorough
@given(answers)
def test_a_reply_is_read_whole_and_as_the_end_of_a_chunked_call(answer):
    reply = wire.encode_reply(answer)
    wrapped = wire.encode_result(reply)
    assert wire.decode_reply(reply) == answer
    assert wire.decode_progress(wrapped) == answer
    assert pb.InferChunkedResponse.FromString(wrapped).response == stock_response(answer)


def test_views_are_taken_without_a_copy():
    tensor = bytearray(b"0123456789")
    payload = Payload(Digest("ab" * 32), 1, "raw", (Part("x", "uint8", (4,), "raw", (memoryview(tensor)[2:6],)),))
    data = wire.encode_request(payload)
    chunk = wire.decode_request(data).parts[0].chunks[0]
    assert isinstance(chunk, memoryview)
    assert chunk.obj is data
    assert chunk == b"2345"


def test_other_ways_to_say_the_same_are_read():
    plain = pb.Part(name="x", dtype="uint8", codec="raw", chunks=[b"abc"]).SerializeToString()
    unpacked = b"".join(b"\x18" + varint(size) for size in (1, 300))
    long_varint = b"\x10\x83\x80\x80\x00"  # cut = 3, in four bytes instead of one
    unknown = b"\xa2\x06\x02hi" + b"\xa8\x06\x07" + b"\xad\x06abcd" + b"\xb1\x06abcdefgh"
    part = unknown + unpacked + plain
    backwards = b"\x22" + varint(len(part)) + part + unknown + b"\x1a\x03raw" + b"\x10\x09" + long_varint
    expected = Payload(Digest(""), 3, "raw", (Part("x", "uint8", (1, 300), "raw", (b"abc",)),))
    assert wire.decode_request(backwards) == expected
    stock = pb.InferRequest.FromString(backwards)
    assert (stock.cut, list(stock.parts[0].shape)) == (3, [1, 300])


def test_what_came_twice_is_merged_as_protobuf_says():
    once = pb.InferResponse(times=pb.StageTimes(queue_ms=1.0, tail_ms=2.0)).SerializeToString()
    again = pb.InferResponse(times=pb.StageTimes(tail_ms=5.0)).SerializeToString()
    answer = wire.decode_reply(once + again)
    assert (answer.queue_ms, answer.tail_ms) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a", "cut short"),
        (b"\x0a\x05ab", "5 bytes, 2 are left"),
        (b"\x10" + b"\xff" * 10, "64 bits"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (b"\x02\x00", "impossible number"),
        (b"\x08\x01", "bytes were expected"),
        (b"\x12\x01a", "a number was expected"),
        (b"\x15abcd", "a number was expected"),
        (b"\x20\x01", "bytes were expected"),
        (b"\x1a\x02\xff\xfe", "UTF-8"),
        (b"\x22\x02\x28\x01", "bytes were expected"),
        (b"\x22\x03\x1a\x01\x80", "cut short"),
        (b"\x22\x0b\x18" + b"\xff" * 9 + b"\x01", "negative"),
        (b"\xa0\x06\x00" * 20_000, "fields"),
    ],
)
def test_what_is_not_a_request_is_refused(data, says):
    with pytest.raises(CorruptPayload, match=says):
        wire.decode_request(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x22\x00" * (PARTS_MAX + 1), "tensors"),
        (b"\x22" + varint(2 * CHUNKS_MAX + 2) + b"\x2a\x00" * (CHUNKS_MAX + 1), "chunks"),
        (b"\x22" + varint(DIMS_MAX + 3) + b"\x1a" + varint(DIMS_MAX + 1) + b"\x01" * (DIMS_MAX + 1), "dimensions"),
        (b"\x22" + varint(2 * DIMS_MAX + 2) + b"\x18\x01" * (DIMS_MAX + 1), "dimensions"),
        (bytes(wire.MESSAGE_MAX_BYTES + 1), "bytes"),
    ],
)
def test_too_much_of_something_is_refused(data, says):
    with pytest.raises(PayloadTooLarge, match=says):
        wire.decode_request(data)


def test_a_long_text_is_refused():
    with pytest.raises(CorruptPayload, match="at most 1024"):
        wire.decode_request(pb.InferRequest(codec="x" * (TEXT_MAX_BYTES + 1)).SerializeToString())


@thorough
@given(st.binary(max_size=200))
def test_noise_gives_a_value_or_our_error(data):
    for decode in (wire.decode_request, wire.decode_reply, wire.decode_progress, wire.decode_piece):
        try:
            decode(data)
        except CodecError:
            continue


@thorough
@given(payloads, st.data())
def test_a_damaged_request_gives_a_value_or_our_error(payload, data):
    damaged = bytearray(wire.encode_request(payload))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        wire.decode_request(bytes(damaged))
    except CodecError:
        return


def test_pieces():
    assert wire.decode_piece(wire.encode_total(7)) == 7
    assert wire.decode_piece(wire.encode_piece(memoryview(b"abc"))) == b"abc"
    assert wire.decode_progress(wire.encode_ack(5)) == 5
    assert wire.decode_progress(wire.encode_ack(0)) == 0
    for decode in (wire.decode_piece, wire.decode_progress):
        with pytest.raises(CorruptPayload):
            decode(b"")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
def test_a_time_that_is_none_is_refused(wrong):
    """It would stay in every average of the device."""
    load = pb.Load(queue_ms=wrong)
    for reply in (pb.InferResponse(times=pb.StageTimes(server_ms=wrong)), pb.InferResponse(load=load)):
        with pytest.raises(CorruptPayload):
            wire.decode_reply(reply.SerializeToString())
    with pytest.raises(CorruptPayload):
        wire.decode_endpoints(control_pb2.EndpointsResponse(load=load).SerializeToString())
    with pytest.raises(CorruptPayload):
        wire.decode_probe_reply(wire.encode_probe_reply(10, wrong))


def test_an_endless_list_of_servers_is_refused():
    assert len(wire.decode_endpoints(wire.encode_endpoints(wire.Endpoints(("h:1",) * 1024))).addresses) == 1024
    with pytest.raises(CorruptPayload):
        wire.decode_endpoints(wire.encode_endpoints(wire.Endpoints(("h:1",) * 1025)))


def test_an_unknown_tail_scale_stays_unknown():
    answer = wire.Answer(Payload(Digest("ab" * 32), 9, "raw", ()))
    assert wire.decode_reply(wire.encode_reply(answer)).tail_scale is None
    assert wire.decode_reply(wire.encode_reply(replace(answer, tail_scale=1.5))).tail_scale == 1.5


def test_control_messages():
    everybody = wire.Endpoints(("10.0.0.1:8443", "10.0.0.2:8443"), ("ab" * 32,), 3.5, 2, 1.25)
    assert wire.decode_endpoints(wire.encode_endpoints(everybody)) == everybody
    assert wire.decode_probe(wire.encode_probe(1234)) == 1234
    assert wire.decode_probe_reply(wire.encode_probe_reply(1234, 0.5)) == (1234, 0.5)
    for decode in (wire.decode_endpoints, wire.decode_probe, wire.decode_probe_reply):
        with pytest.raises(CorruptPayload):
            decode(b"\xff")
