"""What a client tells its scheduler, and what it is told: requests, wake-ups, networks, radios, the battery."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from splitinfer.backends.prometheus import DeviceMetrics
from splitinfer.device import Client, Settings
from splitinfer.device.feed import Feed
from splitinfer.device.planning import Planning
from splitinfer.device.remembered import recall
from splitinfer.errors import InvalidInput
from splitinfer.events import BudgetSet, Inferred, LinkChanged, Outcome, PowerRead, Requested, Woken
from splitinfer.plan import Budget, Cost, Plan
from splitinfer.recording import read
from splitinfer.sim.proxy import Proxy
from tests.bundles import tiny_input


def remote(*observers, **more) -> Settings:
    return Settings(policy="static:1/raw", read_power=lambda: PowerRead(None), observers=observers, **more)


def up(client: Client) -> None:
    until_s = time.monotonic() + 10
    while not client.conditions.link_up:
        assert time.monotonic() < until_s, "no connection"
        time.sleep(0.001)


def test_every_request_is_heard_before_it_is_planned(bundle_path):
    heard = []
    with Client(bundle_path, settings=Settings(observers=(heard.append,))) as client:
        client.infer(tiny_input())
        client.infer(tiny_input())
        with pytest.raises(InvalidInput):
            client.infer({})
    told = [type(event) for event in heard if isinstance(event, Requested | Inferred)]
    assert told == [Requested, Inferred] * 2, "one that could not be read is none"


def test_a_wake_up_is_an_event():
    """So that a recording holds it, and what came of it."""

    class Alarm:
        wakeup_at_ms = 0.0

        def handle(self, event, now_ms):
            self.wakeup_at_ms = None
            return [PowerRead(0.5)] if isinstance(event, Woken) else []

    heard, feed = [], Feed(0.0)
    woken = threading.Event()
    feed.subscribe(lambda event: (heard.append(event), woken.set() if event == PowerRead(0.5) else None))
    planning = Planning(Alarm(), feed)
    planning._thread.start()
    assert woken.wait(5)
    planning.close()
    feed.close()
    assert heard == [Woken(), PowerRead(0.5)]


def test_a_request_pays_for_the_radio_that_it_wakes(cloud, tiny, bundle_path):
    with Client(bundle_path, cloud.start(tiny).address, settings=remote()) as client:
        up(client)
        client.tell(LinkChanged(True, radio="lte"))
        first, second = client.infer(tiny_input()), client.infer(tiny_input())
        assert (first.outcome, second.outcome) == (Outcome.REMOTE, Outcome.REMOTE)
        assert first.cost.energy_mj > 10_000, "ten seconds of a watt"
        assert second.cost.energy_mj < 2_000, "the radio was awake"


def test_a_dear_link_is_left_alone_between_requests(cloud, tiny, bundle_path):
    with Proxy(cloud.start(tiny).address) as proxy, Client(bundle_path, proxy.address, settings=remote()) as client:
        up(client)
        client.tell(LinkChanged(True, metered=True))
        until_s = time.monotonic() + 10
        while len(proxy.connections) < 2:  # the quiet one
            assert time.monotonic() < until_s
            time.sleep(0.01)
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE
        time.sleep(0.5)  # to settle
        before = proxy.total
        time.sleep(2.5)
        assert proxy.total == before
        assert client.infer(tiny_input()).outcome is Outcome.REMOTE


def test_a_network_is_remembered_over_a_restart(cloud, tiny, bundle_path, tmp_path):
    path = tmp_path / "networks.json"
    with Client(bundle_path, cloud.start(tiny).address, settings=remote(state_file=path)) as client:
        up(client)
        client.tell(LinkChanged(True, network="home"))
        for _ in range(8):
            client.infer(tiny_input())
    assert recall(path).keys() == {"home"}
    with Client(bundle_path, settings=remote(state_file=path)) as client:
        assert client.conditions.uplink is None
        client.tell(LinkChanged(True, network="home"))
        assert client.conditions.uplink.rate_bps == pytest.approx(recall(path)["home"].rate_bps)


def test_on_this_machine_no_network_is_read(cloud, tiny, bundle_path):
    asked = threading.Event()
    with Client(bundle_path, cloud.start(tiny).address, settings=remote(read_network=asked.set)) as client:
        up(client)
    assert not asked.is_set()


def test_until_six(bundle_path):
    heard = []
    with Client(bundle_path, budget=Budget(latency_ms=80), settings=Settings(observers=(heard.append,))) as client:
        client.last_until(datetime.now(UTC) + timedelta(hours=6))
    (set_,) = (event.budget for event in heard if isinstance(event, BudgetSet))
    assert set_.battery_lasts_ms == pytest.approx(6 * 3.6e6, abs=60_000)
    assert set_.latency_ms == 80


def test_a_recording_begins_with_what_decides_the_draws(bundle_path, tmp_path):
    path = tmp_path / "events.jsonl"
    with Client(bundle_path, settings=Settings(seed=7, events_file=path)) as client:
        client.infer(tiny_input())
    (recording,) = read(path)
    assert (recording.start.policy, recording.start.seed) == ("thompson", 7)


def test_races_are_counted_by_who_won_and_by_what_they_cost():
    registry = CollectorRegistry()
    metrics = DeviceMetrics(registry)
    for outcome, raced_ms in ((Outcome.RACED_LOCAL, 0.0), (Outcome.RACED_REMOTE, 40.0), (Outcome.RACED_REMOTE, 60.0)):
        metrics(Inferred(Plan(1, "int8"), Cost(), outcome, raced_ms=raced_ms))
    shown = generate_latest(registry)
    assert b'splitinfer_requests_total{outcome="raced_local"} 1.0' in shown
    assert b'splitinfer_requests_total{outcome="raced_remote"} 2.0' in shown
    assert b"splitinfer_raced_seconds_total 0.1" in shown
