"""The client on real servers and sockets: what an application sees."""

from __future__ import annotations

import json
import threading
import time
import urllib.request

import numpy as np
import pytest

from splitinfer.device import Client, Settings
from splitinfer.device.link import _links
from splitinfer.errors import InvalidInput, NoFeasiblePlan, RemoteError, SecurityError
from splitinfer.events import (
    BudgetSet,
    Inferred,
    LinkChanged,
    ModelReady,
    Outcome,
    PlanChanged,
    PowerRead,
    RequestRefused,
    Transferred,
)
from splitinfer.plan import Budget, Plan
from splitinfer.sim.proxy import Proxy
from tests.bundles import tiny_bundle, tiny_input

LOCAL = Plan(3, "none")


def static(cut: int, codec: str = "raw", **more) -> Settings:
    return Settings(policy=f"static:{cut}/{codec}", read_power=lambda: PowerRead(None), **more)


@pytest.fixture(scope="module")
def answer(bundle_path):
    with Client(bundle_path) as client:
        return client.infer(tiny_input()).outputs


class Ear:
    """An observer that can be waited on."""

    def __init__(self):
        self.events = []
        self._heard = threading.Condition()

    def __call__(self, event):
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def wait_for(self, kind, count=1, timeout_s=10.0, where=lambda _event: True):
        def found():
            return [event for event in self.events if isinstance(event, kind) and where(event)]

        with self._heard:
            assert self._heard.wait_for(lambda: len(found()) >= count, timeout_s), f"heard only {self.events}"
            return found()


def test_without_a_cloud_everything_runs_here(bundle_path, answer):
    with Client(bundle_path) as client:
        result = client.infer(tiny_input())
        assert result.plan == LOCAL
        assert result.outcome is Outcome.LOCAL
        assert result.cost.uplink_bytes == 0
        assert result.cost.energy_mj > 0
        assert result.outputs.keys() == {"early", "logits"}


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_cut_gives_the_same_answer(cloud, tiny, bundle_path, cut, batch):
    inputs = tiny_input(batch)
    with Client(bundle_path) as alone, Client(bundle_path, cloud.start(tiny).address, settings=static(cut)) as client:
        client_ready(client)
        result, want = client.infer(inputs), alone.infer(inputs).outputs
    assert result.outcome is Outcome.REMOTE
    assert result.plan == Plan(cut, "raw")
    assert result.cost.uplink_bytes > 0
    for name, array in want.items():
        np.testing.assert_allclose(result.outputs[name], array, rtol=1e-5, atol=1e-6)


def client_ready(client: Client, timeout_s: float = 10.0) -> None:
    """Waits for the connection."""
    until_s = time.monotonic() + timeout_s
    while not client.conditions.link_up:
        assert time.monotonic() < until_s, "no connection"
        time.sleep(0.001)


def test_a_cloud_that_is_down_at_the_start_is_no_error(bundle_path, answer):
    with Client(bundle_path, "127.0.0.1:9", settings=static(0)) as client:
        result = client.infer(tiny_input())
    assert result.outcome in (Outcome.LOCAL, Outcome.RESUMED)
    np.testing.assert_allclose(result.outputs["logits"], answer["logits"], rtol=1e-5)


def test_a_cloud_that_dies_and_comes_back_loses_no_request(cloud, tiny, bundle_path):
    ear = Ear()
    server = cloud.start(tiny)
    port = server.address
    with Client(bundle_path, port, settings=static(1, observers=(ear,))) as client:
        ear.wait_for(LinkChanged, where=lambda event: event.up)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE
        cloud.drain(server)
        outcomes = [client.infer(tiny_input()).outcome for _ in range(3)]
        assert set(outcomes) <= {Outcome.LOCAL, Outcome.RESUMED}
        ear.wait_for(LinkChanged, where=lambda event: not event.up)
        cloud.start(tiny, listen=port)
        ear.wait_for(LinkChanged, count=2, where=lambda event: event.up)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE


def test_a_dead_link_is_resumed_from_what_is_held(cloud, tiny, bundle_path):
    ear = Ear()
    with (
        Proxy(cloud.start(tiny).address) as proxy,
        Client(bundle_path, proxy.address, settings=static(1, observers=(ear,))) as client,
    ):
        ear.wait_for(LinkChanged, where=lambda event: event.up)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE
        proxy.set(blackhole=True)
        first = client.infer(tiny_input())
        assert first.outcome is Outcome.RESUMED
        assert first.cost.uplink_ms > 200
        assert first.cost.energy_mj < 50, "waiting for a dead link is not sending"
        ear.wait_for(LinkChanged, where=lambda event: not event.up)
        assert client.infer(tiny_input()).outcome is Outcome.LOCAL, "a link that is known to be dead is not tried"
        proxy.set(blackhole=False)
        ear.wait_for(LinkChanged, count=2, where=lambda event: event.up)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE


def test_a_request_that_would_be_late_is_raced(cloud, tiny, bundle_path):
    ear = Ear()
    budget = Budget(latency_ms=300)
    with (
        Proxy(cloud.start(tiny).address) as proxy,
        Client(bundle_path, proxy.address, budget=budget, settings=static(1, observers=(ear,))) as client,
    ):
        ear.wait_for(LinkChanged, where=lambda event: event.up)
        client.infer(tiny_input())
        proxy.set(blackhole=True)
        result = client.infer(tiny_input())
    assert result.outcome is Outcome.RACED_LOCAL
    assert result.cost.latency_ms > 200, "it waited for the cloud as long as the budget allowed"


def test_an_observer_that_sleeps_delays_no_answer(bundle_path):
    slept = threading.Event()

    def sleeper(event):
        if isinstance(event, Inferred) and not slept.is_set():
            slept.set()
            time.sleep(1.0)

    with Client(bundle_path, settings=Settings(observers=(sleeper,))) as client:
        for _ in range(3):
            client.infer(tiny_input())
            if slept.wait(0.2):
                break
        began = time.monotonic()
        for _ in range(5):
            client.infer(tiny_input())
        assert time.monotonic() - began < 0.9


def test_an_observer_that_raises_is_logged_and_goes_on(bundle_path, caplog):
    ear = Ear()

    def broken(event):
        ear(event)
        raise RuntimeError("mine")

    with Client(bundle_path, settings=Settings(observers=(broken,))) as client:
        client.infer(tiny_input())
        client.infer(tiny_input())
        ear.wait_for(Inferred, count=2)
    assert "an observer raised on Inferred" in caplog.text


def test_events_alone_change_the_plan(cloud, tiny, bundle_path):
    """No request at all: a link that goes down is enough."""
    ear = Ear()
    with Client(bundle_path, cloud.start(tiny).address, settings=static(0, observers=(ear,))) as client:
        ear.wait_for(LinkChanged, where=lambda event: event.up)
        client.tell(LinkChanged(up=False, cause="aeroplane mode"))
        changed = ear.wait_for(PlanChanged, where=lambda event: event.new == LOCAL and event.old is not None)[-1]
        assert changed.cause == "link"
        assert client.plan == LOCAL


def test_a_trigger_that_never_fires_sends_nothing(cloud, tiny, bundle_path):
    with Proxy(cloud.start(tiny).address) as proxy, Client(bundle_path, proxy.address, settings=static(0)) as client:
        client_ready(client)
        before = proxy.total.up_bytes
        assert list(client.stream((tiny_input() for _ in range(20)), trigger=lambda _inputs: False)) == []
        assert proxy.total.up_bytes - before < 200, "what crossed is HTTP/2's own keeping"


def test_a_stream_keeps_the_order_and_sends_what_the_trigger_lets_through(cloud, tiny, bundle_path):
    frames = [tiny_input(seed=seed) for seed in range(9)]
    fires = iter([True, False, True] * 3)
    with Client(bundle_path) as alone, Client(bundle_path, cloud.start(tiny).address, settings=static(1)) as client:
        client_ready(client)
        results = list(client.stream(frames, trigger=lambda _inputs: next(fires)))
        want = [alone.infer(frame).outputs["logits"] for index, frame in enumerate(frames) if index % 3 != 1]
    assert [result.outcome for result in results] == [Outcome.REMOTE] * 6
    for result, logits in zip(results, want, strict=True):
        np.testing.assert_allclose(result.outputs["logits"], logits, rtol=1e-5, atol=1e-6)


def test_a_stream_raises_where_the_input_was_wrong_and_leaves_no_thread(bundle_path):
    frames = [tiny_input(), {"x": np.zeros((1, 2), np.float32)}, tiny_input()]
    with Client(bundle_path) as client:
        stream = client.stream(frames)
        next(stream)
        with pytest.raises(InvalidInput, match="expected float32"):
            list(stream)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("splitinfer-stream")]


def test_two_clients_share_connection_and_belief(cloud, tiny, bundle_path):
    address = cloud.start(tiny).address
    with Proxy(address) as proxy, Client(bundle_path, proxy.address, settings=static(0)) as first:
        client_ready(first)
        first.infer(tiny_input())
        believed = first.conditions.uplink
        with Client(bundle_path, proxy.address, settings=static(0)) as second:
            assert len([link for link in _links if proxy.address in link.addresses]) == 1
            assert second.conditions.uplink.rtt_ms == pytest.approx(believed.rtt_ms)
            second.infer(tiny_input())
        assert first.infer(tiny_input()).outcome is Outcome.REMOTE, "the last one closes the connection"
    assert not _links


def test_a_device_that_holds_only_the_head_fails_typed(cloud, tiny, tmp_path):
    path = tmp_path / "head"
    bundle = tiny_bundle(path)
    (bundle.blobs / bundle.model.segments[2].sha256).unlink()
    with Client(path, cloud.start(tiny).address, settings=static(1)) as client:
        assert not client.fallback
        client_ready(client)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE
    with Client(path, "127.0.0.1:9", budget=Budget(latency_ms=200), settings=static(1)) as client, pytest.raises(RemoteError):
        client.infer(tiny_input())


def test_events_are_written_as_json_lines(bundle_path, tmp_path):
    path = tmp_path / "events.jsonl"
    with Client(bundle_path, settings=Settings(events_file=path)) as client:
        client.infer(tiny_input())
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["type"] == "Recording"
    kinds = [line["type"] for line in lines]
    assert {"ModelReady", "PlanChanged", "Inferred", "PowerRead"} <= set(kinds)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    inferred = next(line for line in lines if line["type"] == "Inferred")
    assert inferred["plan"] == {"cut": 3, "codec": "none"}
    assert inferred["cost"]["latency_ms"] > 0
    assert inferred["version"] == 1


def test_metrics_are_served_on_any_free_port(bundle_path):
    with Client(bundle_path, settings=Settings(metrics_port=0)) as client:
        client.infer(tiny_input())
        until_s = time.monotonic() + 5
        text = b""
        while b'splitinfer_requests_total{outcome="local"} 1.0' not in text:
            assert time.monotonic() < until_s, text
            with urllib.request.urlopen(f"http://127.0.0.1:{client.metrics_port}/metrics") as reply:
                text = reply.read()
    with Client(bundle_path) as client:
        assert client.metrics_port is None


def test_events_can_be_read_as_they_come(bundle_path):
    with Client(bundle_path) as client:
        events = client.events()
        reader = []
        thread = threading.Thread(target=lambda: reader.extend(events))
        thread.start()
        while not client._feed._listeners:
            time.sleep(0.001)
        client.infer(tiny_input())
    thread.join(5)
    assert any(isinstance(recorded.event, Inferred) for recorded in reader)


def test_a_budget_that_allows_nothing_is_refused_and_the_old_one_stays(cloud, tiny, tmp_path):
    bundle = tiny_bundle(tmp_path / "head")
    (bundle.blobs / bundle.model.segments[2].sha256).unlink()
    with Client(bundle.path, cloud.start(tiny).address) as client:
        client_ready(client)
        with pytest.raises(NoFeasiblePlan):
            client.set_budget(Budget(depth_min=0.99))
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE
        with pytest.raises(NoFeasiblePlan):
            client.infer(tiny_input(), budget=Budget(depth_min=0.99))


@pytest.mark.parametrize("wrong", [[[1.0]], b"bytes", bytearray(8), np.zeros((0, 3, 8, 8), np.float32), np.zeros((1, 3, 8, 8))])
def test_inputs_that_do_not_fit_are_refused_whatever_the_plan(bundle_path, wrong):
    with Client(bundle_path) as client, pytest.raises(InvalidInput):
        client.infer({"x": wrong})


def test_plaintext_to_another_machine_is_refused_before_a_byte_is_sent(bundle_path):
    with pytest.raises(SecurityError, match="plaintext"):
        Client(bundle_path, "192.0.2.1:8443")


def test_the_battery_is_read_and_told(bundle_path):
    ear = Ear()
    charge = iter([0.8, 0.5, 0.12] + [0.12] * 1000)
    settings = Settings(read_power=lambda: PowerRead(next(charge), charging=False), power_every_ms=20, observers=(ear,))
    with Client(bundle_path, settings=settings) as client:
        ear.wait_for(PowerRead, count=3)
        assert client.conditions.battery == pytest.approx(0.12)


def test_threads_and_connections_end_with_the_client(cloud, tiny, bundle_path):
    before = set(threading.enumerate())
    with Client(bundle_path, cloud.start(tiny).address, settings=static(0)) as client:
        client_ready(client)
        client.infer(tiny_input())
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("splitinfer")]
    assert left == []


def test_sixteen_threads_share_one_client(cloud, tiny, bundle_path, answer):
    with Client(bundle_path, cloud.start(tiny).address, settings=static(1)) as client:
        client_ready(client)
        results = []
        threads = [threading.Thread(target=lambda: results.append(client.infer(tiny_input()))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(results) == 16
    for result in results:
        np.testing.assert_allclose(result.outputs["logits"], answer["logits"], rtol=1e-5, atol=1e-6)


def test_what_was_said_is_a_closed_union(bundle_path):
    ear = Ear()
    with Client(bundle_path, settings=Settings(observers=(ear,))) as client:
        client.set_budget(Budget(latency_ms=50))
        ear.wait_for(BudgetSet)
    assert {type(event) for event in ear.events} <= {ModelReady, PlanChanged, BudgetSet, LinkChanged, PowerRead, Transferred}


def test_a_cloud_that_says_no_is_heard_and_left_alone_for_a_while(cloud, tiny, tmp_path):
    """The cloud serves another bundle: the device computes on its own, and does not ask again at once."""
    ear = Ear()
    other = tiny_bundle(tmp_path / "other", tables={"1/a/other": b"a table makes another bundle"})
    assert other.digest != tiny.model.digest
    with Client(other, cloud.start(tiny).address, settings=static(1, observers=(ear,))) as client:
        ear.wait_for(LinkChanged, where=lambda event: event.up)
        assert client.infer(tiny_input()).outcome is Outcome.RESUMED
        assert ear.wait_for(RequestRefused)[0].reason == "UNKNOWN_DIGEST"
        assert client.conditions.queue_ms >= 500
