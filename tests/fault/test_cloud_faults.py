"""What a server does when devices are slow, lie, give up or ask too much, and when it is stopped meanwhile."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from splitinfer import wire
from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.bundle import Bundle
from splitinfer.cloud.hosted import Answer, Hosted
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import Limits
from splitinfer.engine import Held, Stop
from splitinfer.errors import EngineError, Stopped
from splitinfer.model import Model, Tensors
from splitinfer.payload import Packer
from tests.bundles import tiny_input
from tests.cloud_stub import BALANCED, Stub, ask_until, in_pieces, request_of, why
from tests.conftest import Cloud

SECRET = "/private/place/model.onnx at 0x7f00"


class Sluice:
    """An engine that computes nothing: a run lasts until `open` is set, or it is stopped."""

    name = "sluice"

    def __init__(self, model: Model, fails: Exception | None = None) -> None:
        self.model = model
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.stopped = threading.Event()
        self._fails = fails

    def hold(self, at: int, tensors: Tensors) -> Held:
        return _Nothing(at)

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        self.entered.release()
        if self._fails:
            raise self._fails
        assert stopper is not None
        stopper.when_asked(self.open.set)
        assert self.open.wait(20)
        if stopper.asked:
            self.stopped.set()
            raise Stopped("asked")
        return _Nothing(stop)


class _Nothing:
    def __init__(self, at: int) -> None:
        self.at = at

    def plain(self) -> Tensors:
        return {}

    def outputs(self) -> Tensors:
        return {}


@pytest.fixture
def sluice(bundle_path: Path) -> Sluice:
    return Sluice(Bundle.open(bundle_path).model)


def hosted_of(sluice: Sluice) -> Hosted:
    return Hosted(sluice, Packer(sluice.model))


def learn(hosted: Hosted, tail_ms: float) -> None:
    payload = Packer(hosted.model).pack(0, "raw", tiny_input())
    hosted.learn(payload, Answer(payload, 0.0, tail_ms, 0.0))


@contextmanager
def stub_of(server: TailServer) -> Iterator[Stub]:
    with grpc.insecure_channel(server.address) as channel:
        yield Stub(channel)


def failure(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


# --- giving up ---


def test_a_cancelled_request_stops_the_run_and_frees_its_thread(cloud: Cloud, sluice: Sluice, caplog) -> None:
    server = cloud.start(hosted_of(sluice), threads=1)
    with stub_of(server) as stub:
        request = request_of(hosted_of(sluice), 0, tiny_input())
        call = stub.infer.future(request, timeout=20)
        assert sluice.entered.acquire(timeout=10)
        call.cancel()
        assert sluice.stopped.wait(10)
        # The sluice is open now: the next request gets the only thread.
        stub.infer(request, timeout=10)
    assert not caplog.records


def test_the_deadline_stops_the_run(cloud: Cloud, sluice: Sluice) -> None:
    server = cloud.start(hosted_of(sluice))
    with stub_of(server) as stub:
        error = failure(lambda: stub.infer(request_of(hosted_of(sluice), 0, tiny_input()), timeout=0.3))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert sluice.stopped.wait(10)


def test_a_client_that_dies_stops_its_run(cloud: Cloud, sluice: Sluice, caplog) -> None:
    server = cloud.start(hosted_of(sluice))
    request = request_of(hosted_of(sluice), 0, tiny_input())
    channel = grpc.insecure_channel(server.address)
    call = Stub(channel).infer_chunked(iter(in_pieces(request)))
    assert sluice.entered.acquire(timeout=10)
    channel.close()
    assert sluice.stopped.wait(10)
    assert call.done() or call.cancel()
    assert not caplog.records


# --- too much ---


def test_a_deadline_that_cannot_be_kept_is_refused_at_once(cloud: Cloud, sluice: Sluice) -> None:
    hosted = hosted_of(sluice)
    learn(hosted, tail_ms=60_000.0)
    with stub_of(cloud.start(hosted)) as stub:
        error = failure(lambda: stub.infer(request_of(hosted, 0, tiny_input()), timeout=30))
    assert why(error) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT", None)
    assert not sluice.entered.acquire(blocking=False)


def test_one_slow_run_does_not_shut_a_cut_for_good(cloud: Cloud, sluice: Sluice) -> None:
    hosted = hosted_of(sluice)
    learn(hosted, tail_ms=60_000.0)
    sluice.open.set()
    with stub_of(cloud.start(hosted)) as stub:
        outcomes = []
        while outcomes[-1:] != ["OK"] and len(outcomes) < 40:
            try:
                stub.infer(request_of(hosted, 0, tiny_input()), timeout=5)
                outcomes.append("OK")
            except grpc.RpcError as error:
                outcomes.append(why(error)[1])
    assert set(outcomes[:-1]) == {"DEADLINE_TOO_SHORT"}
    assert outcomes[-1] == "OK"


def test_a_full_queue_says_when_to_come_back(cloud: Cloud, sluice: Sluice) -> None:
    hosted = hosted_of(sluice)
    learn(hosted, tail_ms=400.0)
    server = cloud.start(hosted, threads=1, limits=Limits(queue_max=0))
    with stub_of(server) as stub:
        first = stub.infer.future(request_of(hosted, 0, tiny_input()), timeout=20)
        assert sluice.entered.acquire(timeout=10)
        error = failure(lambda: stub.infer(request_of(hosted, 0, tiny_input()), timeout=20))
        assert why(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 200.0)
        assert ("grpc-retry-pushback-ms", "200") in error.trailing_metadata()
        sluice.open.set()
        first.result()


def test_a_message_above_the_limit_is_refused_and_the_connection_lives_on(cloud: Cloud, tiny: Hosted) -> None:
    with stub_of(cloud.start(tiny)) as stub:
        big = inference_pb2.InferRequest(digest="ab", parts=[inference_pb2.Part(chunks=[bytes(wire.UNARY_MAX_BYTES + 20_000)])])
        assert failure(lambda: stub.infer(big, timeout=10)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stub.infer(request_of(tiny, 0, tiny_input()), timeout=10)


def test_more_than_256_kb_go_in_pieces(cloud: Cloud, tiny: Hosted) -> None:
    request = request_of(tiny, 0, tiny_input(batch=600))
    assert request.ByteSize() > wire.UNARY_MAX_BYTES
    with stub_of(cloud.start(tiny)) as stub:
        *_, last = stub.infer_chunked(iter(in_pieces(request)), timeout=20)
    assert tuple(last.response.parts[1].shape) == (600, 40)


# --- lies ---


@pytest.mark.parametrize(
    ("total", "code", "reason"),
    [
        (0, grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_PAYLOAD"),
        (1, grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_PAYLOAD"),
        (10_000, grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_PAYLOAD"),
        (2**40, grpc.StatusCode.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE"),
        (2**64 - 1, grpc.StatusCode.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_totals_that_lie(cloud: Cloud, tiny: Hosted, total: int, code: grpc.StatusCode, reason: str) -> None:
    with stub_of(cloud.start(tiny)) as stub:
        messages = in_pieces(request_of(tiny, 0, tiny_input()), nbytes=100, total=total)
        assert why(failure(lambda: list(stub.infer_chunked(iter(messages), timeout=10)))) == (code, reason, None)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [inference_pb2.InferChunkedRequest()],
        [inference_pb2.InferChunkedRequest(piece=b"first")],
        [inference_pb2.InferChunkedRequest(total_bytes=9), inference_pb2.InferChunkedRequest(total_bytes=9)],
        [inference_pb2.InferChunkedRequest(total_bytes=9), inference_pb2.InferChunkedRequest(piece=b"")],
    ],
)
def test_uploads_out_of_order(cloud: Cloud, tiny: Hosted, messages: list) -> None:
    with stub_of(cloud.start(tiny)) as stub:
        error = failure(lambda: list(stub.infer_chunked(iter(messages), timeout=10)))
    assert why(error) == (grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_PAYLOAD", None)


# --- slowness ---


class Half:
    """The messages of an upload that stops half-way until it is told to go on."""

    def __init__(self, messages: list) -> None:
        self._messages = messages
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[inference_pb2.InferChunkedRequest]:
        middle = len(self._messages) // 2
        yield from self._messages[:middle]
        assert self.go_on.wait(20)
        yield from self._messages[middle:]


def test_slow_uploads_do_not_hold_up_a_fast_device(cloud: Cloud, tiny: Hosted) -> None:
    request = request_of(tiny, 0, tiny_input(batch=66))  # 50 KB
    server = cloud.start(tiny, threads=1)
    with stub_of(server) as stub:
        slow = [Half(in_pieces(request, nbytes=5000)) for _ in range(20)]
        calls = [stub.infer_chunked(iter(half), timeout=30) for half in slow]
        # Each of them has come half-way: nothing but its own device keeps it.
        for call in calls:
            assert next(call).received_bytes == 5000
        for _ in range(20):
            stub.infer(request, timeout=5)
        for half in slow:
            half.go_on.set()
        assert [list(call)[-1].WhichOneof("body") for call in calls] == ["response"] * 20


@contextmanager
def gated(address: str, nbytes: int) -> Iterator[tuple[str, threading.Event]]:
    """A relay that lets `nbytes` up, then nothing more until its event is set."""
    host, _, port = address.rpartition(":")
    gate = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection((host, int(port))) as up:

        def relay() -> None:
            down, _ = listener.accept()
            back = threading.Thread(target=pump, args=(up, down, None))
            back.start()
            pump(down, up, gate)
            back.join()
            down.close()

        def pump(source: socket.socket, sink: socket.socket, held: threading.Event | None) -> None:
            passed = 0
            with suppress(OSError):  # either side may go first
                while data := source.recv(4096):
                    passed += len(data)
                    sink.sendall(data)
                    if held and passed >= nbytes:
                        held.wait(20)
                sink.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=relay)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", gate
        gate.set()
        thread.join(10)


def test_slow_unary_bodies_do_not_hold_up_a_fast_device(cloud: Cloud, tiny: Hosted) -> None:
    request = request_of(tiny, 0, tiny_input(batch=66))
    server = cloud.start(tiny, threads=1)
    with gated(server.address, 20_000) as (through, gate), grpc.insecure_channel(through) as channel:
        slow = Stub(channel).infer.future(request, timeout=30)
        with stub_of(server) as stub:
            for _ in range(20):
                stub.infer(request, timeout=5)
        assert not slow.done()
        gate.set()
        assert slow.result().parts


def test_an_upload_that_pauses_too_long_is_ended(cloud: Cloud, tiny: Hosted) -> None:
    server = cloud.start(tiny, limits=Limits(idle_s=0.1))
    with stub_of(server) as stub:
        half = Half(in_pieces(request_of(tiny, 0, tiny_input()), nbytes=100))
        error = failure(lambda: list(stub.infer_chunked(iter(half))))
        half.go_on.set()
    assert why(error) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT", None)


@pytest.mark.slow
def test_a_unary_body_that_stalls_ends_with_its_connection(cloud: Cloud, tiny: Hosted) -> None:
    """Nothing of ours runs before the body is here; a peer that does not even answer pings is cut off by the transport."""
    server = cloud.start(tiny)
    with gated(server.address, 20_000) as (through, _), grpc.insecure_channel(through) as channel:
        error = failure(lambda: Stub(channel).infer(request_of(tiny, 0, tiny_input(batch=66))))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_uploads_share_one_budget_and_give_it_back(cloud: Cloud, tiny: Hosted) -> None:
    request = request_of(tiny, 0, tiny_input(batch=10))
    body_bytes = request.ByteSize()
    server = cloud.start(tiny, limits=Limits(uploads_bytes=body_bytes + 100))
    with stub_of(server) as stub:
        half = Half(in_pieces(request, nbytes=500))
        first = stub.infer_chunked(iter(half), timeout=20)
        for _ in range(len(in_pieces(request, nbytes=500)) // 2 - 1):
            next(first)
        error = failure(lambda: list(stub.infer_chunked(iter(in_pieces(request)), timeout=20)))
        assert why(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 1000.0)
        half.go_on.set()
        assert list(first)[-1].response.parts
        for _ in range(3):
            assert list(stub.infer_chunked(iter(in_pieces(request)), timeout=20))[-1].response.parts


# --- what must not get out ---


@pytest.mark.parametrize("error", [ZeroDivisionError(SECRET), EngineError(SECRET), KeyError(SECRET)])
def test_nothing_of_the_inside_gets_out(cloud: Cloud, bundle_path: Path, error: Exception, caplog) -> None:
    hosted = hosted_of(Sluice(Bundle.open(bundle_path).model, fails=error))
    with stub_of(cloud.start(hosted)) as stub:
        seen = failure(lambda: stub.infer(request_of(hosted, 0, tiny_input()), timeout=10))
    assert why(seen) == (grpc.StatusCode.INTERNAL, "INTERNAL", None)
    everything = repr(seen.details()) + repr(seen.trailing_metadata())
    assert "somebody" not in everything
    assert "Traceback" not in everything
    assert SECRET in caplog.text  # but the operator's log has it


# --- stopping ---


def test_a_drain_waits_for_what_is_in_flight(cloud: Cloud, sluice: Sluice) -> None:
    server = cloud.start(hosted_of(sluice))
    with stub_of(server) as stub, ThreadPoolExecutor(1) as pool:
        stream = stub.endpoints(control_pb2.EndpointsRequest(), timeout=20)
        next(stream)
        call = stub.infer.future(request_of(hosted_of(sluice), 0, tiny_input()), timeout=20)
        assert sluice.entered.acquire(timeout=10)
        drained = pool.submit(cloud.drain, server, 20.0)
        # The control stream ends at once; the request does not.
        list(stream)
        assert not call.done()
        sluice.open.set()
        assert call.result().digest == sluice.model.digest
        drained.result(10)
        assert failure(lambda: stub.probe(inference_pb2.ProbeRequest(), timeout=5)).code() is grpc.StatusCode.UNAVAILABLE


def test_a_drain_is_bounded(cloud: Cloud, sluice: Sluice) -> None:
    server = cloud.start(hosted_of(sluice))
    with stub_of(server) as stub, ThreadPoolExecutor(1) as pool:
        call = stub.infer.future(request_of(hosted_of(sluice), 0, tiny_input()), timeout=60)
        assert sluice.entered.acquire(timeout=10)
        drained = pool.submit(cloud.drain, server, 0.8)
        refusals = Counter()
        while not drained.done():
            try:
                stub.probe(inference_pb2.ProbeRequest(), timeout=5)
            except grpc.RpcError as error:
                refusals[why(error)[:2]] += 1
        drained.result()
        assert refusals[grpc.StatusCode.UNAVAILABLE, "DRAINING"] > 0
        assert sluice.stopped.wait(10)
        assert failure(call.result).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_rolling_drains_lose_no_request(cloud: Cloud, tiny: Hosted) -> None:
    """Two servers, one channel with both addresses and health checks, no retry."""
    servers, served = [None, None], [threading.Event(), threading.Event()]

    def start(at: int, listen: str) -> str:
        servers[at] = cloud.start(tiny, listen=listen, observers=[lambda event: served[at].set()])
        return servers[at].address

    target = "ipv4:" + ",".join([start(0, "127.0.0.1:0"), start(1, "127.0.0.1:0")])
    with grpc.insecure_channel(target, options=BALANCED) as channel, ThreadPoolExecutor(3) as pool:
        stub, request, stop = Stub(channel), request_of(tiny, 0, tiny_input()), threading.Event()
        stub.infer(request, timeout=10, wait_for_ready=True)
        load = [pool.submit(ask_until, stop, stub, request) for _ in range(3)]
        for at in (0, 1, 0):
            # The other one has a share of the load.
            assert served[1 - at].wait(10)
            address = servers[at].address
            cloud.drain(servers[at], 4.0)
            served[at].clear()
            assert start(at, address) == address
        assert served[0].wait(10)
        stop.set()
        outcomes = sum((one.result() for one in load), Counter())
    assert set(outcomes) == {"OK"}
    assert outcomes["OK"] > 100
