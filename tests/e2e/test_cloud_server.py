"""The server as a stock gRPC client sees it: answers, health, endpoints, reflection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.cloud.endpoints import SILENT_S, Endpoints
from splitinfer.cloud.hosted import Answer, Hosted
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.engine import Engine
from splitinfer.events import Event, RequestRefused, Served
from splitinfer.payload import Packer
from splitinfer.plan import Profile
from tests.bundles import tiny_input, tiny_net
from tests.cloud_stub import Stub, in_pieces, outputs_of, request_of, why
from tests.conftest import Cloud


@pytest.fixture
def server(cloud: Cloud, tiny: Hosted) -> TailServer:
    return cloud.start(tiny)


@pytest.fixture
def channel(server: TailServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Stub:
    return Stub(channel)


@pytest.fixture(scope="module")
def engine(bundle_path) -> Engine:
    return OrtEngine(Bundle.open(bundle_path))


def crossing(engine: Engine, cut: int, batch: int) -> tuple[dict, dict]:
    """What crosses at a cut, and the outputs that the tail owes."""
    inputs = tiny_input(batch)
    head = engine.run(0, cut, engine.hold(0, inputs))
    whole = engine.run(0, engine.model.n, engine.hold(0, inputs)).outputs()
    return dict(head.plain()), {name: array for name, array in whole.items() if name not in head.outputs()}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("cut", range(3))
def test_a_tail_gives_the_answer_of_the_whole(stub: Stub, tiny: Hosted, engine: Engine, cut: int, batch: int) -> None:
    tensors, owed = crossing(engine, cut, batch)
    request = request_of(tiny, cut, tensors)
    for response in (
        stub.infer(request, timeout=10),
        list(stub.infer_chunked(iter(in_pieces(request)), timeout=10))[-1].response,
    ):
        got = outputs_of(response)
        assert got.keys() == owed.keys()
        for name, array in owed.items():
            assert np.abs(got[name] - array).max() <= 1e-4 * np.abs(array).max()
        assert (response.digest, response.cut) == (tiny.model.digest, len(tiny_net().segments))


def test_stage_times_add_up(stub: Stub, tiny: Hosted) -> None:
    times = stub.infer(request_of(tiny, 0, tiny_input()), timeout=10).times
    stages = (times.queue_ms, times.decode_ms, times.tail_ms, times.encode_ms)
    assert all(ms > 0 for ms in stages)
    assert sum(stages) <= times.server_ms


def test_each_piece_is_acknowledged(stub: Stub, tiny: Hosted) -> None:
    messages = in_pieces(request_of(tiny, 0, tiny_input()), nbytes=300)
    responses = list(stub.infer_chunked(iter(messages), timeout=10))
    acknowledged = [r.received_bytes for r in responses[:-1]]
    assert acknowledged == list(np.cumsum([len(m.piece) for m in messages[1:]]))
    assert responses[-1].WhichOneof("body") == "response"


def test_a_probe_is_answered_at_once(stub: Stub) -> None:
    reply = stub.probe(inference_pb2.ProbeRequest(padding=bytes(5000)), timeout=10)
    assert reply.received_bytes == 5000
    assert reply.server_ms < 1000


def test_endpoints_come_at_once_and_again_when_they_change(server: TailServer, stub: Stub, tiny: Hosted) -> None:
    server.addresses = lambda: ("10.0.0.1:1", server.address)
    stream = stub.endpoints(control_pb2.EndpointsRequest(), timeout=20)
    first = next(stream)
    assert list(first.addresses) == ["10.0.0.1:1", server.address]
    assert list(first.digests) == [tiny.model.digest]
    server.addresses = lambda: (server.address,)
    assert list(next(stream).addresses) == [server.address]
    stream.cancel()


def test_health_and_its_end(cloud: Cloud, server: TailServer, channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "splitinfer.v1.InferenceService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status == 1
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    drained = threading.Thread(target=cloud.drain, args=(server, 2.0))
    drained.start()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    drained.join()


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"splitinfer.v1.InferenceService", "splitinfer.v1.ControlService", "grpc.health.v1.Health"} <= set(services)


def test_reflection_can_be_switched_off(cloud: Cloud, tiny: Hosted) -> None:
    server = cloud.start(tiny, reflection=False)
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_observers_hear_what_was_served_and_refused_and_cannot_do_harm(cloud: Cloud, tiny: Hosted, caplog) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("an observer of somebody else")

    server = cloud.start(tiny, observers=[broken, heard.append])
    with grpc.insecure_channel(server.address) as channel:
        stub = Stub(channel)
        request = request_of(tiny, 0, tiny_input())
        stub.infer(request, timeout=10)
        with pytest.raises(grpc.RpcError):
            stub.infer(inference_pb2.InferRequest(digest="00" * 32), timeout=10)
    served, refused = heard
    assert isinstance(served, Served)
    assert (served.digest, served.cut, served.codec) == (tiny.model.digest, 0, "raw")
    assert served.received_bytes == request.ByteSize()
    assert refused == RequestRefused("UNKNOWN_DIGEST")
    assert caplog.text.count("an observer failed") == 2


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"digest": "00" * 32}, grpc.StatusCode.NOT_FOUND, "UNKNOWN_DIGEST"),
        ({"cut": 3}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CUT"),
        ({"cut": 4_000_000_000}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CUT"),
        ({"codec": "int9"}, grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_CODEC"),
        ({"parts": []}, grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_PAYLOAD"),
    ],
)
def test_refusals_carry_a_reason(stub: Stub, tiny: Hosted, change: dict, code: grpc.StatusCode, reason: str) -> None:
    good = request_of(tiny, 0, tiny_input())
    fields = {"digest": good.digest, "cut": good.cut, "codec": good.codec, "parts": list(good.parts)}
    with pytest.raises(grpc.RpcError) as caught:
        stub.infer(inference_pb2.InferRequest(**{**fields, **change}), timeout=10)
    assert why(caught.value) == (code, reason, None)


def test_ports_go_upwards_from_the_one_asked_for(cloud: Cloud, tiny: Hosted) -> None:
    first = cloud.start(tiny)
    second = cloud.start(tiny, listen=first.address)
    host, _, port = first.address.rpartition(":")
    taken = int(port)
    assert second.address.rpartition(":")[0] == host
    assert taken < int(second.address.rpartition(":")[2]) < taken + 64


def test_a_wildcard_is_not_what_devices_are_told(cloud: Cloud, tiny: Hosted) -> None:
    server = cloud.start(tiny, listen="0.0.0.0:0", insecure=True)
    assert not server.address.startswith("0.0.0.0")
    named = cloud.start(tiny, listen="0.0.0.0:0", insecure=True, advertise="tails.example")
    assert named.address.startswith("tails.example:")


def test_estimates_follow_the_reference_and_the_batch(engine: Engine) -> None:
    packer = Packer(engine.model)
    profile = Profile(engine.model.digest, "a desk", "an engine", (1.0, 1.0, 1.0), tail_ms=(4.0, 2.0, 1.0))
    hosted = Hosted(engine, packer, profile)
    assert hosted.tail_scale is None
    one, three = (packer.pack(0, "raw", tiny_input(batch)) for batch in (1, 3))
    assert hosted.service_ms(one) == 0.0
    hosted.learn(three, Answer(three, 3.0, 24.0, 3.0))
    assert hosted.tail_scale == pytest.approx(2.0)
    assert (hosted.service_ms(one), hosted.service_ms(three)) == (10.0, 30.0)


def test_after_warming_the_time_of_every_tail_is_known(tiny: Hosted, engine: Engine) -> None:
    for cut in range(3):
        tensors, _ = crossing(engine, cut, batch=1)
        assert tiny.service_ms(Packer(engine.model).pack(cut, "raw", tensors)) > 0.0


def test_silent_replicas_are_forgotten() -> None:
    now = [100.0]
    book = Endpoints(clock=lambda: now[0])
    book.beat("b:1", ("2",))
    assert book.beat("a:1", ("1", "2")) == ("a:1", "b:1")
    assert book.digests() == ("1", "2")
    now[0] += SILENT_S - 0.1
    book.beat("b:1", ("2",))
    now[0] += 0.2
    assert book.alive() == ("b:1",)
    assert book.digests() == ("2",)
    book.leave("b:1")
    book.leave("never:1")
    assert book.alive() == ()


@pytest.mark.parametrize("args", [{}, {"bundles": ["b"], "replica": 2}, {"bundles": ["b"], "replicas": 0}])
def test_arguments_of_a_config_file_are_checked(args: dict) -> None:
    with pytest.raises(ValueError):
        ServeSettings.of(args)


def test_one_bundle_may_be_written_without_a_list() -> None:
    assert ServeSettings.of({"bundles": "a.bundle"}) == ServeSettings.of({"bundles": ["a.bundle"]})
