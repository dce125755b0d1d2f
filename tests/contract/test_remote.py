"""What every `Remote` must do. Parametrised by how one is made; the cloud behind it is a double."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

import grpc
import pytest

from splitinfer import wire
from splitinfer._pb.v1 import inference_pb2 as pb
from splitinfer.backends.grpc_remote import GrpcRemote, line
from splitinfer.engine import Stop
from splitinfer.errors import DeadlineExceeded, DigestMismatch, Reason, Refused, Stopped, Unreachable
from splitinfer.events import Event, LinkChanged, LoadReported, Transferred
from splitinfer.model import Digest
from splitinfer.plan import Uplink
from splitinfer.remote import Remote
from splitinfer.sim.proxy import Proxy
from tests.cloud_double import DIGEST, LAST_CUT, CloudDouble, Wire, echo, payload

Make = Callable[..., Remote]


def in_ms(ms: float) -> float:
    return time.monotonic() * 1e3 + ms


def sent_bytes(reply) -> int:
    return int.from_bytes(reply.payload.parts[0].chunks[0], "little")


@pytest.fixture(params=[GrpcRemote], ids=["grpc"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Remote] = []

    def build(address: str, **options) -> Remote:
        made.append(request.param([address], **options))
        return made[-1]

    yield build
    for remote in made:
        remote.close()


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    with CloudDouble() as double:
        yield double


@pytest.mark.parametrize("nbytes", [10, 20_000, 600_000])
def test_a_payload_goes_there_and_the_outputs_come_back(make, cloud, nbytes):
    request = payload(nbytes)
    reply = make(cloud.address).send(request, in_ms(5000))
    assert sent_bytes(reply) == request.nbytes
    assert (reply.payload.digest, reply.payload.cut) == (DIGEST, LAST_CUT)
    assert (reply.queue_ms, reply.decode_ms, reply.tail_ms) == (1.0, 6.0, 3.0)
    assert reply.load_queue_ms == 7.0
    assert reply.tail_scale is None
    assert reply.uplink_bytes >= request.nbytes
    assert reply.elapsed_ms > 0


def test_without_a_deadline(make, cloud):
    assert sent_bytes(make(cloud.address).send(payload(), None)) == payload().nbytes


def test_slow_uploads_go_in_pieces_and_fast_ones_do_not(make, cloud):
    link = Uplink(rate_bps=4e6, spread=0.1, rtt_ms=1.0)
    remote = make(cloud.address, rate=lambda: link)
    remote.send(payload(20_000), in_ms(5000))
    assert cloud.chunked == 0
    reply = remote.send(payload(80_000), in_ms(5000))
    assert cloud.chunked == 1
    assert sent_bytes(reply) == payload(80_000).nbytes
    assert reply.rtt_ms == link.rtt_ms


def test_it_says_what_happened(make, cloud):
    heard: list[Event] = []
    remote = make(cloud.address, observe=heard.append)
    remote.send(payload(), in_ms(5000))
    reply = remote.send(payload(), in_ms(5000))
    assert heard[0] == LinkChanged(True, "connected")
    first, second = (event for event in heard if isinstance(event, Transferred))
    assert (first.first, first.complete, first.nbytes) == (True, True, reply.uplink_bytes)
    assert (second.first, second.complete) == (False, True)
    assert 0 <= second.elapsed_ms <= reply.elapsed_ms
    assert LoadReported(7.0, None) in heard


def test_a_probe_measures_and_returns_nothing(make, cloud):
    heard: list[Event] = []
    make(cloud.address, observe=heard.append).probe(5000, in_ms(5000))
    (transfer,) = (event for event in heard if isinstance(event, Transferred))
    assert (transfer.nbytes, transfer.complete) == (5000, True)


def test_no_time_left(make, cloud):
    remote = make(cloud.address)
    with pytest.raises(DeadlineExceeded):
        remote.send(payload(), in_ms(-1))
    assert cloud.requests == 0


@pytest.mark.parametrize("nbytes", [1000, 600_000])
def test_the_deadline_ends_a_wait(make, cloud, nbytes):
    remote = make(cloud.address)
    remote.send(payload(), in_ms(5000))
    cloud.open.clear()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        remote.send(payload(nbytes), in_ms(300))
    assert 0.25 < time.monotonic() - began < 2
    assert cloud.cancelled.wait(5)


@pytest.mark.parametrize("nbytes", [1000, 600_000])
def test_stopping_ends_a_wait_on_both_sides(make, cloud, nbytes):
    remote = make(cloud.address)
    cloud.open.clear()
    stopper = Stop()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(remote.send, payload(nbytes), None, stopper)
        while cloud.requests == 0:
            time.sleep(0.001)
        stopper.ask()
        with pytest.raises(Stopped):
            call.result(5)
    assert cloud.cancelled.wait(5)
    cloud.open.set()
    assert sent_bytes(remote.send(payload(), in_ms(5000))) == payload().nbytes


def test_stopped_before_it_began(make, cloud):
    stopper = Stop()
    stopper.ask()
    remote = make(cloud.address)
    with pytest.raises(Stopped):
        remote.send(payload(), in_ms(5000), stopper)
    assert cloud.requests == 0


def test_a_stopped_upload_that_had_arrived_is_a_sample(make, cloud):
    heard: list[Event] = []
    remote = make(cloud.address, observe=heard.append)
    cloud.open.clear()
    with pytest.raises(DeadlineExceeded):
        remote.send(payload(600_000), in_ms(500))
    (transfer,) = (event for event in heard if isinstance(event, Transferred))
    assert transfer.complete
    assert transfer.nbytes > 600_000
    assert transfer.elapsed_ms < 450


@pytest.mark.parametrize("nbytes", [1000, 600_000])
def test_no_is_an_answer_with_its_reason(make, cloud, nbytes):
    def busy(_):
        raise Refused("the queue is full", Reason.OVERLOADED, 250.0)

    heard: list[Event] = []
    cloud.answer = busy
    with pytest.raises(Refused, match="the queue is full") as caught:
        make(cloud.address, observe=heard.append).send(payload(nbytes), in_ms(5000))
    assert (caught.value.reason, caught.value.retry_after_ms) == (Reason.OVERLOADED, 250.0)
    assert LinkChanged(False, "unreachable") not in heard


def test_another_bundle_is_refused_by_either_side(make, cloud):
    def unknown(_):
        raise DigestMismatch("no such bundle here")

    remote = make(cloud.address)
    cloud.answer = unknown
    with pytest.raises(Refused) as caught:
        remote.send(payload(), in_ms(5000))
    assert caught.value.reason is Reason.UNKNOWN_DIGEST
    cloud.answer = lambda request: echo(replace(request, digest=Digest("cd" * 32)))
    with pytest.raises(Refused) as caught:
        remote.send(payload(), in_ms(5000))
    assert caught.value.reason is Reason.UNKNOWN_DIGEST


def test_too_large_for_any_server_is_refused_here(make, cloud):
    remote = make(cloud.address)
    with pytest.raises(Refused) as caught:
        remote.send(payload(17 * 1024 * 1024), in_ms(5000))
    assert caught.value.reason is Reason.PAYLOAD_TOO_LARGE
    assert cloud.requests == 0


def test_nobody_there(make):
    with CloudDouble() as gone:
        address = gone.address
    remote = make(address)
    with pytest.raises(Unreachable):
        remote.send(payload(), in_ms(5000))
    remote.probe(100, in_ms(100))


def test_sixteen_threads(make, cloud):
    remote = make(cloud.address)
    sizes = [1000 + 256 * i for i in range(16)] * 10
    with ThreadPoolExecutor(16) as pool:
        replies = pool.map(lambda size: sent_bytes(remote.send(payload(size), in_ms(20_000))), sizes)
        assert list(replies) == [payload(size).nbytes for size in sizes]


def test_closing_ends_calls_and_leaves_no_thread(make, cloud):
    before = set(threading.enumerate())
    remote = make(cloud.address)
    remote.send(payload(600_000), in_ms(5000))
    cloud.open.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(remote.send, payload(600_000), None)
        while cloud.requests < 2:
            time.sleep(0.001)
        remote.close()
        with pytest.raises(Unreachable):
            call.result(5)
    with pytest.raises(Unreachable):
        remote.send(payload(), in_ms(1000))
    remote.close()
    cloud.open.set()
    until = time.monotonic() + 5
    ours = ("splitinfer-link", "Thread-")
    while left := [t for t in set(threading.enumerate()) - before if t.name.startswith(ours)]:
        assert time.monotonic() < until, left
        time.sleep(0.01)


def test_stock_clients_are_answered_by_what_we_answer_with(cloud):
    request = pb.InferRequest(digest=DIGEST, cut=2, codec="raw", parts=[pb.Part(name="x", chunks=[b"abc", b"de"])])
    with grpc.insecure_channel(cloud.address) as channel:
        infer = channel.unary_unary(wire.INFER, pb.InferRequest.SerializeToString, pb.InferResponse.FromString)
        response = infer(request, timeout=5)
        assert response.parts[0].chunks == [(5).to_bytes(4, "little")]
        assert (response.digest, response.cut, response.times.tail_ms) == (DIGEST, LAST_CUT, 3.0)
        data = request.SerializeToString()
        pieces = [pb.InferChunkedRequest(total_bytes=len(data)), *(pb.InferChunkedRequest(piece=bytes([b])) for b in data)]
        chunked = channel.stream_stream(
            wire.INFER_CHUNKED, pb.InferChunkedRequest.SerializeToString, pb.InferChunkedResponse.FromString
        )
        *acks, last = chunked(iter(pieces), timeout=5)
        assert [ack.received_bytes for ack in acks] == list(range(1, len(data) + 1))
        assert last.response.parts == response.parts


def test_stock_servers_answer_us(make):
    def infer(request: pb.InferRequest, _) -> pb.InferResponse:
        return pb.InferResponse(
            parts=request.parts, digest=request.digest, cut=LAST_CUT, codec="raw", times=pb.StageTimes(tail_ms=3.0)
        )

    def infer_chunked(requests: Iterator[pb.InferChunkedRequest], context) -> Iterator[pb.InferChunkedResponse]:
        total = next(requests).total_bytes
        data = b""
        while len(data) < total:
            data += next(requests).piece
            yield pb.InferChunkedResponse(received_bytes=len(data))
        yield pb.InferChunkedResponse(response=infer(pb.InferRequest.FromString(data), context))

    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {
        "Infer": grpc.unary_unary_rpc_method_handler(infer, pb.InferRequest.FromString, pb.InferResponse.SerializeToString),
        "InferChunked": grpc.stream_stream_rpc_method_handler(
            infer_chunked, pb.InferChunkedRequest.FromString, pb.InferChunkedResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("splitinfer.v1.InferenceService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        remote = make(f"127.0.0.1:{port}")
        for nbytes in (1000, 400_000):
            reply = remote.send(payload(nbytes), in_ms(5000))
            assert reply.payload.parts == payload(nbytes).parts
            assert reply.tail_ms == 3.0
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("nbytes", [1000, 600_000])
def test_what_is_stopped_on_its_way_is_a_bound(make, nbytes):
    """The device was first: that so many bytes had not arrived by then says something of the link."""
    heard: list[Event] = []
    with CloudDouble() as cloud, Proxy(cloud.address) as proxy:
        remote = make(proxy.address, observe=heard.append)
        remote.send(payload(), in_ms(5000))
        proxy.set(blackhole=True)
        stopper = Stop()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(remote.send, payload(nbytes), None, stopper)
            assert not wait([call], timeout=0.1).done
            stopper.ask()
            with pytest.raises(Stopped):
                call.result(5)
    *_, transfer = (event for event in heard if isinstance(event, Transferred))
    assert not transfer.complete
    assert (transfer.nbytes, transfer.first) == (0, False)
    assert transfer.attempted_bytes > nbytes
    assert transfer.elapsed_ms > 90


def test_a_dear_link_that_is_lost_is_looked_for_once_a_request(make, cloud):
    heard, changed = [], threading.Condition()

    def hear(event: Event) -> None:
        with changed:
            heard.extend([event] if isinstance(event, LinkChanged) else [])
            changed.notify_all()

    with Wire(cloud.port) as wire:
        remote = make(wire.address, observe=hear)
        remote.look(dear=True)
        remote.send(payload(), in_ms(5000))
        wire.cut()
        with pytest.raises(Unreachable):
            remote.send(payload(), in_ms(5000))
        with changed:
            assert changed.wait_for(lambda: heard == [LinkChanged(True, "connected"), LinkChanged(False, "unreachable")], 5)
            time.sleep(0.5)  # this request was worth an attempt, which is refused
            wire.mend()
            assert not changed.wait_for(lambda: len(heard) > 2, 1.0), "it was looked for although nobody asked"
        remote.look(dear=True)
        with changed:
            assert changed.wait_for(lambda: heard[2:] == [LinkChanged(True, "connected")], 5)
        assert sent_bytes(remote.send(payload(), in_ms(5000))) == payload().nbytes


@pytest.mark.parametrize("dear", [False, True])
def test_nothing_is_sent_over_an_idle_link_where_bytes_are_dear(make, cloud, dear, monkeypatch):
    hasty = ("grpc.keepalive_time_ms", 300)
    monkeypatch.setattr(line, "_OPTIONS", tuple(hasty if name == hasty[0] else (name, value) for name, value in line._OPTIONS))
    with Proxy(cloud.address) as proxy:
        remote = make(proxy.address)
        remote.send(payload(), in_ms(5000))
        if dear:
            remote.look(dear=True)
            until = time.monotonic() + 5
            while len(proxy.connections) < 2:  # a quiet one
                assert time.monotonic() < until
                time.sleep(0.01)
        remote.send(payload(), in_ms(5000))
        time.sleep(0.5)  # to settle
        before = proxy.total.up_bytes
        time.sleep(1.5)
        assert (proxy.total.up_bytes == before) is dear
        assert sent_bytes(remote.send(payload(), in_ms(5000))) == payload().nbytes


def test_a_server_that_is_stopping_is_left_on_a_dear_link_too(make, cloud):
    with CloudDouble() as other:
        cloud.announce(other.address)
        other.announce(cloud.address)
        remote = make(cloud.address)
        remote.look(dear=True)
        remote.send(payload(), in_ms(5000))
        cloud.draining = True
        until = time.monotonic() + 10
        while not other.requests:
            with suppress(Refused, Unreachable):
                remote.send(payload(), in_ms(5000))
            assert time.monotonic() < until
