"""The health port: plaintext for probes that speak no TLS, and nothing but health."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.server import TailServer
from splitinfer.errors import Unreachable
from tests.bundles import tiny_input
from tests.certificates import Authority
from tests.cloud_stub import Stub, request_of
from tests.conftest import Cloud

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def server(cloud: Cloud, tiny: Hosted, tmp_path: Path) -> TailServer:
    """As on Kubernetes: TLS, client certificates and a token for devices, a plain port for the kubelet."""
    authority = Authority.at(tmp_path / "pki")
    cert, key = authority.issue("server")
    (tmp_path / "tokens").write_text("secret\n")
    asked = {"tls_cert": cert, "tls_key": key, "client_ca": authority.cert, "token_file": tmp_path / "tokens"}
    return cloud.start(tiny, **asked, health_port=0)


def status(address: str, service: str = "") -> int:
    """Asks as a kubelet does: a new connection, one question."""
    with grpc.insecure_channel(address) as channel:
        ask = health_pb2_grpc.HealthStub(channel).Check
        return ask(health_pb2.HealthCheckRequest(service=service), timeout=5).status


def test_a_probe_hears_in_plaintext_what_devices_ask_for_with_tls(server: TailServer) -> None:
    assert status(server.health_address) == SERVING
    assert status(server.health_address, "splitinfer.v1.InferenceService") == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        status(server.address)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_probe_hears_that_a_server_drains(cloud: Cloud, server: TailServer) -> None:
    with grpc.insecure_channel(server.health_address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        drained = threading.Thread(target=cloud.drain, args=(server, 2.0))
        drained.start()
        assert next(watch).status == NOT_SERVING
        assert status(server.health_address) == NOT_SERVING
        watch.cancel()
        drained.join()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(server.health_address.rpartition(":")[2])), timeout=5)


def test_nothing_else_is_reachable_there(server: TailServer, tiny: Hosted) -> None:
    token = (("authorization", "Bearer secret"),)
    with grpc.insecure_channel(server.health_address) as channel:
        stub = Stub(channel)
        calls = {
            "infer": lambda: stub.infer(request_of(tiny, 0, tiny_input()), timeout=5, metadata=token),
            "infer_chunked": lambda: list(stub.infer_chunked(iter(()), timeout=5, metadata=token)),
            "probe": lambda: stub.probe(inference_pb2.ProbeRequest(), timeout=5, metadata=token),
            "endpoints": lambda: next(stub.endpoints(control_pb2.EndpointsRequest(), timeout=5, metadata=token)),
            "reflection": lambda: ProtoReflectionDescriptorDatabase(channel).get_services(),
        }
        found = {}
        for name, call in calls.items():
            with pytest.raises(grpc.RpcError) as caught:
                call()
            found[name] = caught.value.code()
    assert found == dict.fromkeys(calls, grpc.StatusCode.UNIMPLEMENTED)


def test_there_is_none_unless_asked_for(cloud: Cloud, tiny: Hosted) -> None:
    assert cloud.start(tiny).health_address == ""


def test_it_stays_on_the_host_of_the_data_port(server: TailServer) -> None:
    assert server.health_address.startswith("127.0.0.1:")


def test_further_replicas_take_the_next_free_port(cloud: Cloud, tiny: Hosted) -> None:
    first = cloud.start(tiny, health_port=0)
    port = int(first.health_address.rpartition(":")[2])
    second = cloud.start(tiny, health_port=port)
    assert port < int(second.health_address.rpartition(":")[2]) < port + 64
    assert [status(one.health_address) for one in (first, second)] == [SERVING, SERVING]


def test_no_port_left_is_said(cloud: Cloud, tiny: Hosted) -> None:
    with socket.create_server(("127.0.0.1", 65535)), pytest.raises(Unreachable, match="65535"):
        cloud.start(tiny, health_port=65535)
