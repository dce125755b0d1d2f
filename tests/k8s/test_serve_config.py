"""The Serve configuration inside the RayService, deployed by Ray's own command on a Ray on this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from splitinfer._pb.v1 import control_pb2
from tests.bundles import tiny_bundle
from tests.k8s.kustomize import ROOT, serve_config


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


RAY = """
import sys, ray
from splitinfer.cloud import tails
tails.join(None, sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
tails.leave()
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray on loopback, as `splitinfer serve` starts it; its address. Ends when its stdin does."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # as the manifest says
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
    folder = tempfile.mkdtemp(prefix="si-")  # Ray's sockets want a short path
    command = [sys.executable, "-W", "ignore", "-c", RAY, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(cluster: str, tmp_path: Path) -> str:
    """The dev configuration as it stands, but for what a pod would provide: the bundle, and addresses."""
    address = f"127.0.0.1:{free_port()}"
    config = serve_config("overlays/dev")
    args = config["applications"][0]["args"]
    args |= {"bundles": [str(tiny_bundle(tmp_path / "model.bundle").path)], "listen": address, "advertise": "127.0.0.1"}
    args |= {"metrics_port": free_port(), "health_port": free_port()}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    serve = str(Path(sys.executable).with_name("serve"))
    done = subprocess.run(
        [serve, "run", "--non-blocking", "-a", cluster, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return address


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ray_deploys_it_and_the_server_answers(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        ask = channel.unary_stream(
            "/splitinfer.v1.ControlService/Endpoints",
            request_serializer=control_pb2.EndpointsRequest.SerializeToString,
            response_deserializer=control_pb2.EndpointsResponse.FromString,
        )
        stream = ask(control_pb2.EndpointsRequest(), timeout=10)
        first = next(iter(stream))
        stream.cancel()
    assert list(first.addresses) == [address]
    assert len(first.digests) == 1
