"""Tails on a real Ray Serve, and `start` as a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from types import ModuleType

import grpc
import pytest

from splitinfer._pb.v1 import control_pb2
from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.settings import ServeSettings
from splitinfer.errors import CorruptBundle, RemoteError, SecurityError, Unreachable
from splitinfer.payload import Packer
from tests.bundles import tiny_input
from tests.cloud_stub import Stub, request_of

ROOT = Path(__file__).parents[2]
APP = "test"
Start = Callable[[ServeSettings], object]


@pytest.fixture
def settings(bundle_path: Path) -> ServeSettings:
    return ServeSettings((str(bundle_path),), listen="127.0.0.1:0", replicas=2, threads=1, drain_s=6.0)


@pytest.fixture
def start(local_ray: ModuleType) -> Start:
    """Imported late, since Ray's own imports warn; see `local_ray`."""
    from splitinfer.cloud.serve import start

    return start


@pytest.fixture
def tails(local_ray: ModuleType, settings: ServeSettings) -> Iterator[ModuleType]:
    local_ray.deploy(settings, APP)
    yield local_ray
    local_ray.undeploy(APP)


def ask_until(stop: Event, ask: Callable[[], object]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    while not stop.is_set():
        try:
            ask()
            outcomes["OK"] += 1
        except RemoteError as error:
            outcomes[repr(error)] += 1
    return outcomes


def test_an_upgrade_under_load_loses_no_request(tails: ModuleType, settings: ServeSettings, tiny: Hosted) -> None:
    """Two replicas are replaced by two others, on other ports, while a device asks all the time."""
    before, digests = tails.where(APP)
    assert len(before) == 2
    assert digests == (tiny.model.digest,)
    with grpc.insecure_channel(before[0]) as channel:
        assert next(Stub(channel).endpoints(control_pb2.EndpointsRequest(), timeout=10)).addresses
        assert Stub(channel).infer(request_of(tiny, 0, tiny_input()), timeout=10).parts
    payload = Packer(tiny.model).pack(0, "raw", tiny_input())
    remote, stop = GrpcRemote(before), Event()
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(ask_until, stop, lambda: remote.send(payload, (time.monotonic() + 5) * 1e3))
        tails.deploy(replace(settings, reflection=False), APP)
        after = wait_for_others(tails, before)
        stop.set()
        outcomes = load.result()
    remote.close()
    assert len(after) == 2
    assert set(outcomes) == {"OK"}
    assert outcomes["OK"] > 100


def wait_for_others(tails: ModuleType, before: tuple[str, ...]) -> tuple[str, ...]:
    """Serve returns when the new replicas run; the old ones may still drain."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        now = tails.where(APP)[0]
        if not set(now) & set(before):
            return now
        Event().wait(0.1)
    raise AssertionError("the old replicas never went")


def test_the_arguments_of_a_config_file_build_the_application(local_ray: ModuleType, settings: ServeSettings) -> None:
    application = local_ray.app({**asdict(settings), "bundles": ["/nowhere.bundle"]})
    deployment = application._bound_deployment
    assert (deployment.name, deployment.num_replicas) == ("Tails", 2)
    assert deployment._deployment_config.max_surge_percent == 100
    assert deployment._deployment_config.graceful_shutdown_timeout_s > settings.drain_s


SERVE = """
import json, sys
from splitinfer.cloud.serve import ServeSettings, start
with start(ServeSettings(**json.loads(sys.argv[1]))) as running:
    print(json.dumps({"addresses": running.addresses, "digests": running.digests}), flush=True)
    running.wait()
"""


def serving(**settings: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SERVE, json.dumps(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_server_process_starts_answers_and_ends(bundle_path: Path, tiny: Hosted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        metrics_port = listener.getsockname()[1]
    with serving(bundles=[str(bundle_path)], listen="127.0.0.1:0", drain_s=1.0, metrics_port=metrics_port) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["digests"] == [tiny.model.digest]
        (address,) = ready["addresses"]
        with grpc.insecure_channel(address) as channel:
            assert Stub(channel).infer(request_of(tiny, 0, tiny_input()), timeout=10).parts
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10) as page:
            assert 'splitinfer_served_total{cut="0"} 1.0' in page.read().decode()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    host, _, port = address.rpartition(":")
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"listen": "192.0.2.1:8443"}, SecurityError),
        ({"bundles": ("/nowhere.bundle",)}, CorruptBundle),
        ({"token_file": "/nowhere"}, SecurityError),
    ],
)
def test_what_cannot_work_is_said_before_ray_starts(start: Start, settings: ServeSettings, change: dict, error: type) -> None:
    with pytest.raises(error):
        start(replace(settings, **change))


@pytest.mark.parametrize("option", ["listen", "metrics_port", "health_port"])
def test_a_taken_port_is_said_before_ray_starts(start: Start, settings: ServeSettings, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        change = {option: f"127.0.0.1:{port}" if option == "listen" else port}
        with pytest.raises(Unreachable, match=f"{port} is taken.*--{option.replace('_', '-')}"):
            start(replace(settings, **change))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_said_at_once(start: Start, settings: ServeSettings, address: str) -> None:
    with pytest.raises(Unreachable, match="--ray-address"):
        start(replace(settings, ray_address=address))


def test_replicas_that_cannot_start_say_why_and_leave_nothing(local_ray: ModuleType, settings: ServeSettings) -> None:
    """On a cluster the bundles are looked for where the replicas run."""
    from ray import serve

    with pytest.raises(Unreachable, match="this is no bundle"):
        local_ray.deploy(replace(settings, bundles=("/nowhere.bundle",), replicas=1), "broken")
    assert "broken" not in serve.status().applications
