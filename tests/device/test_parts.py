"""The small parts of a device, each on its own."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from splitinfer.backends.power import read_power
from splitinfer.backends.prometheus import DeviceMetrics
from splitinfer.device.driver import now_ms
from splitinfer.device.feed import Feed, Listener
from splitinfer.device.pipeline import in_order
from splitinfer.device.planning import Planning
from splitinfer.events import Inferred, InputsDrifted, LinkChanged, Outcome, PowerRead, Recorded, Transferred
from splitinfer.model import Digest
from splitinfer.payload import Part, Payload
from splitinfer.plan import Budget, Cost, Plan
from splitinfer.scheduler import Scheduler
from splitinfer.terms import Request

EVENT = LinkChanged(True)


def payload(nbytes: int) -> Payload:
    return Payload(Digest("0" * 64), 1, "raw", (Part("t", "uint8", (nbytes,), "raw", (bytes(nbytes),)),))


def test_patience_grows_with_what_is_sent():
    """A batch is not given up after the time that one item would take."""
    scheduler = Scheduler()
    scheduler.handle(LinkChanged(True), 0.0)
    for at_ms in range(4):
        for nbytes in (256, 100_000):
            scheduler.handle(Transferred(nbytes, 20.0 + 8e3 * nbytes / 2e6), float(at_ms))
    request = Request(now_ms(), Budget(), whole=True, scheduler=scheduler, now_ms=now_ms)
    wait_ms = [request.terms().patience_until_ms(payload(nbytes)) - now_ms() for nbytes in (1_000, 1_000_000)]
    assert wait_ms[0] < 600
    assert wait_ms[1] > 4_000, "a megabyte takes 4 s at 2 Mbit/s"


def test_a_device_that_cannot_finish_waits_as_long_as_the_budget_allows():
    began_ms = now_ms()
    request = Request(began_ms, Budget(latency_ms=80), whole=False, scheduler=Scheduler(), now_ms=now_ms)
    assert request.terms().patience_until_ms(payload(1_000_000)) == began_ms + 80


def test_a_result_does_not_wait_for_the_next_input_that_is_worth_it():
    """A trigger that fires once, on a source that never ends."""
    results = in_order(count(), lambda item: item + 100, worth=lambda item: item == 3)
    assert next(results) == 103
    results.close()


def test_a_battery_that_cannot_be_read_is_read_again(caplog):
    feed = Feed(0.0)
    planning = Planning(Scheduler(), feed)
    heard = threading.Event()
    feed.subscribe(lambda event: heard.set() if isinstance(event, PowerRead) else None)
    readings = iter([OSError("no sensor"), OSError("no sensor"), PowerRead(0.5)])

    def read():
        reading = next(readings, PowerRead(0.5))
        if isinstance(reading, OSError):
            raise reading
        return reading

    planning.start(lambda _sizes: None, read, every_ms=1.0)
    assert heard.wait(5)
    planning.close()
    feed.close()
    assert caplog.text.count("the battery could not be read") == 2


def test_a_feed_ends_where_a_listener_is_full_and_counts_what_was_lost():
    listener = Listener(2)
    for seq in range(3):
        listener.offer(Recorded(seq, 0.0, EVENT))
    listener.end()
    assert [recorded.seq for recorded in listener] == [1]
    assert listener.dropped == 2


def test_an_observer_may_close_the_feed():
    feed, closed = Feed(0.0), threading.Event()

    def close(_event):
        feed.close()
        closed.set()

    feed.subscribe(close)
    feed.say(EVENT, 0.0)
    assert closed.wait(5)


def test_events_that_were_lost_are_told_at_the_end(caplog):
    feed = Feed(0.0, capacity=1)
    feed.listen()
    feed.say(EVENT, 0.0)
    feed.say(EVENT, 0.0)
    feed.close()
    assert "2 events were dropped" in caplog.text, "the second, and the first to make room for the end"


def test_departures_and_drifts_are_counted():
    registry = CollectorRegistry()
    metrics = DeviceMetrics(registry)
    plan = Plan(1, "int8")
    for departed in ((), ("a",), ("a", "b")):
        metrics(Inferred(plan, Cost(), Outcome.REMOTE, departed=departed))
    metrics(InputsDrifted(plan, ("a",)))
    shown = generate_latest(registry)
    assert b"splitinfer_departed_total 2.0" in shown
    assert b"splitinfer_input_drifts_total 1.0" in shown


def test_on_mains_there_is_no_charge_to_show():
    registry = CollectorRegistry()
    metrics = DeviceMetrics(registry)
    metrics(PowerRead(None))
    assert b"battery" not in generate_latest(registry)
    metrics(PowerRead(0.25))
    assert b"splitinfer_battery_ratio 0.25" in generate_latest(registry)


@pytest.mark.parametrize(
    ("status", "charging"),
    [("Charging", True), ("Full", True), ("Not charging", True), ("Discharging", False), ("Unknown", None), ("", None)],
)
def test_a_battery_of_linux(tmp_path, status, charging):
    for name, kind in (("AC", "Mains"), ("BAT0", "Battery")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text(kind + "\n")
    (tmp_path / "BAT0" / "capacity").write_text("42\n")
    (tmp_path / "BAT0" / "status").write_text(status + "\n")
    assert read_power(tmp_path) == PowerRead(0.42, charging)


def test_a_mouse_is_not_the_battery(tmp_path):
    (tmp_path / "mouse").mkdir()
    for name, text in (("type", "Battery"), ("scope", "Device"), ("capacity", "10")):
        (tmp_path / "mouse" / name).write_text(text)
    assert read_power(tmp_path) == PowerRead(None, None)
    assert read_power(tmp_path / "nowhere") == PowerRead(None, None)
