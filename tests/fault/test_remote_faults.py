"""Dead servers, dead links, slow links: what the device sees of them, and how soon it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from splitinfer import wire
from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.engine import Stop
from splitinfer.errors import DeadlineExceeded, Stopped, Unreachable
from splitinfer.events import Event, LinkChanged, Transferred
from splitinfer.plan import Uplink
from tests.cloud_double import CloudDouble, Wire, payload

FAST = Uplink(rate_bps=50e6, spread=0.1, rtt_ms=2.0)


def in_ms(ms: float) -> float:
    return time.monotonic() * 1e3 + ms


class Heard:
    """An observer that can be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    @property
    def links(self) -> list[bool]:
        return [event.up for event in self.events if isinstance(event, LinkChanged)]

    def until(self, links: list[bool], within_s: float) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.links == links, within_s), self.events


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def connect(heard: Heard) -> Iterator[Callable[..., GrpcRemote]]:
    made: list[GrpcRemote] = []

    def build(*addresses: str, link: Uplink | None = None) -> GrpcRemote:
        made.append(GrpcRemote(addresses, observe=heard, rate=lambda: link))
        return made[-1]

    yield build
    for remote in made:
        remote.close()


def test_a_server_that_dies_in_the_middle_and_comes_back(connect, heard):
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        remote = connect(link.address)
        heard.until([True], 5)
        cloud.open.clear()
        threading.Timer(0.2, link.cut).start()
        with pytest.raises(Unreachable):
            remote.send(payload(), in_ms(10_000))
        heard.until([True, False], 5)
        began = time.monotonic()
        with pytest.raises(Unreachable):
            remote.send(payload(), in_ms(10_000))
        assert time.monotonic() - began < 0.2
        cloud.open.set()
        link.mend()
        heard.until([True, False, True], 5)
        remote.send(payload(), in_ms(5000))


def test_a_server_that_dies_while_nobody_asks_is_noticed(connect, heard):
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        connect(link.address)
        heard.until([True], 5)
        link.cut()
        heard.until([True, False], 5)


def test_a_cloud_that_is_down_at_the_start(connect, heard):
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        link.cut()
        remote = connect(link.address)
        heard.until([False], 5)
        with pytest.raises(Unreachable):
            remote.send(payload(), in_ms(5000))
        link.mend()
        heard.until([False, True], 5)
        remote.send(payload(), in_ms(5000))


def test_a_cloud_that_is_draining_is_unreachable_until_it_is_not(connect, heard):
    with CloudDouble() as cloud:
        cloud.draining = True
        remote = connect(cloud.address)
        heard.until([False], 5)
        with pytest.raises(Unreachable, match="stopping"):
            remote.send(payload(), in_ms(5000))
        cloud.draining = False
        heard.until([False, True], 5)
        remote.send(payload(), in_ms(5000))


def test_a_tunnel_is_noticed_by_the_first_request_and_left_within_a_second_and_a_half(connect, heard):
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        remote = connect(link.address, link=FAST)
        remote.send(payload(20_000), in_ms(5000))
        link.swallow.set()
        with pytest.raises(DeadlineExceeded):
            remote.send(payload(20_000), in_ms(150))
        assert heard.links == [True, False]
        assert heard.events[-1] == LinkChanged(False, "timeout")
        began = time.monotonic()
        with pytest.raises(Unreachable):
            remote.send(payload(20_000), in_ms(5000))
        assert time.monotonic() - began < 0.1
        time.sleep(1.2)  # the outage lasts: attempts fail and are repeated
        assert heard.links == [True, False]
        link.swallow.clear()
        heard.until([True, False, True], 1.5)
        remote.send(payload(20_000), in_ms(5000))


def test_a_timeout_that_the_link_explains_is_no_outage(connect, heard):
    slow = Uplink(rate_bps=1e6, spread=0.1, rtt_ms=100.0)
    with CloudDouble() as cloud:
        remote = connect(cloud.address, link=slow)
        remote.send(payload(), in_ms(5000))
        cloud.open.clear()
        with pytest.raises(DeadlineExceeded):
            remote.send(payload(10_000), in_ms(100))
        cloud.open.set()
        remote.send(payload(), in_ms(5000))
        assert heard.links == [True]
        late = next(event for event in heard.events if isinstance(event, Transferred) and not event.complete)
        assert (late.nbytes, late.attempted_bytes) == (0, len(wire.encode_request(payload(10_000))))


def test_a_cancelled_upload_leaves_a_slow_link_free(connect, heard):
    slow = Uplink(rate_bps=4e6, spread=0.1, rtt_ms=2.0)
    with CloudDouble() as cloud, Wire(cloud.port, uplink_bps=4e6) as link:
        remote = connect(link.address, link=slow)
        heard.until([True], 5)
        stopper = Stop()
        threading.Timer(0.3, stopper.ask).start()
        with pytest.raises(Stopped):
            remote.send(payload(1_000_000), None, stopper)
        broken = heard.events[-1]
        assert isinstance(broken, Transferred)
        assert not broken.complete
        assert 0 < broken.nbytes <= link.up_bytes < 300_000
        began = time.monotonic()
        remote.send(payload(20_000), in_ms(5000))
        # Alone it takes 45 ms; with everything already handed to the socket it was 1.8 s.
        assert time.monotonic() - began < 0.8


def test_an_outage_in_the_middle_of_an_upload(connect, heard):
    with CloudDouble() as cloud, Wire(cloud.port, uplink_bps=4e6) as link:
        remote = connect(link.address, link=Uplink(4e6, 0.1, 2.0))
        heard.until([True], 5)
        threading.Timer(0.2, link.swallow.set).start()
        with pytest.raises(DeadlineExceeded):
            remote.send(payload(1_000_000), in_ms(600))
        heard.until([True, False], 2)
        link.swallow.clear()
        heard.until([True, False, True], 1.5)


def test_one_of_two_servers_dies_and_nobody_notices(connect, heard):
    with CloudDouble() as one, CloudDouble() as other, Wire(one.port) as to_one, Wire(other.port) as to_other:
        remote = connect(to_one.address, to_other.address)
        for _ in range(20):
            remote.send(payload(), in_ms(5000))
        to_one.cut()
        for _ in range(20):
            remote.send(payload(), in_ms(5000))
        assert heard.links == [True]
        assert other.requests >= 20


def test_what_a_draining_server_refuses_another_one_answers(connect, heard):
    with CloudDouble() as one, CloudDouble() as other:
        remote = connect(one.address, other.address)
        for _ in range(20):
            remote.send(payload(), in_ms(5000))
        one.draining, before = True, other.requests
        for _ in range(10):
            remote.send(payload(), in_ms(5000))
        assert other.requests == before + 10
        assert heard.links == [True]


def test_addresses_that_are_none_do_not_end_the_link(connect, heard):
    """What servers announce may be wrong; the one that is right among it is used."""
    with CloudDouble() as one, CloudDouble() as other:
        remote = connect(one.address)
        heard.until([True], 5)
        one.announce("", "nowhere", "host:99999", f"{'x' * 70}:1", "a\0b:1", other.address)
        until = in_ms(5000)
        while not other.requests and in_ms(0) < until:
            remote.send(payload(), in_ms(5000))
        assert other.requests
        assert False not in heard.links


def test_several_names_share_a_channel(connect, heard):
    with CloudDouble() as one, CloudDouble() as other:
        remote = connect(f"localhost:{one.port}", other.address)
        for _ in range(20):
            remote.send(payload(), in_ms(5000))
        assert one.requests
        assert other.requests


def test_one_of_two_servers_is_wedged_and_left(connect, heard):
    with CloudDouble() as one, CloudDouble() as other, Wire(one.port) as to_one, Wire(other.port) as to_other:
        remote = connect(to_one.address, to_other.address, link=FAST)
        for _ in range(20):
            remote.send(payload(), in_ms(5000))
        to_one.swallow.set()
        late = 0
        for _ in range(20):
            try:
                remote.send(payload(), in_ms(300))
            except DeadlineExceeded:
                late += 1
                heard.until([True, False, True], 2)
        assert late == 1
        assert heard.links == [True, False, True]


def test_an_observer_that_fails_costs_nothing(caplog):
    def broken(event: Event) -> None:
        raise RuntimeError(event)

    with CloudDouble() as cloud:
        remote = GrpcRemote([cloud.address], observe=broken)
        remote.send(payload(), in_ms(5000))
        remote.close()
    assert "an observer failed" in caplog.text


@pytest.mark.parametrize("given", ["127.0.0.1:{}", "localhost:{}", "dns:///localhost:{}"])
def test_servers_that_are_announced_are_used(connect, given):
    with CloudDouble() as one, CloudDouble() as other:
        remote = connect(given.format(one.port))
        remote.send(payload(), in_ms(5000))
        assert other.requests == 0
        one.announce(other.address, "192.0.2.1:8443")
        until = time.monotonic() + 5
        while other.requests == 0:
            assert time.monotonic() < until
            remote.send(payload(), in_ms(5000))


def test_the_servers_may_be_exchanged_one_by_one(connect, heard):
    with CloudDouble() as second, CloudDouble() as third:
        with CloudDouble() as first:
            first.announce(second.address)
            remote = connect(first.address)
            while second.requests == 0:
                remote.send(payload(), in_ms(5000))
        second.announce(third.address)
        until = time.monotonic() + 5
        while third.requests == 0:
            assert time.monotonic() < until
            remote.send(payload(), in_ms(5000))
    assert heard.links[0]


def test_servers_behind_a_proxy_do_not_lure_the_device_past_it(connect):
    with CloudDouble() as cloud, CloudDouble() as other, Wire(cloud.port) as link:
        cloud.announce(other.address)
        remote = connect(link.address)
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            remote.send(payload(), in_ms(5000))
        assert other.requests == 0


def test_a_server_without_a_control_plane(connect, heard):
    with CloudDouble(control=False) as cloud, Wire(cloud.port) as link:
        remote = connect(link.address)
        remote.send(payload(), in_ms(5000))
        link.cut()
        with pytest.raises(Unreachable):
            remote.send(payload(), in_ms(5000))
        heard.until([True, False], 5)
        link.mend()
        heard.until([True, False, True], 5)
        remote.send(payload(), in_ms(5000))


def test_calls_under_way_outlive_a_change_of_the_line(connect):
    with CloudDouble() as one, CloudDouble() as other:
        remote = connect(one.address)
        one.open.clear()
        answers: list[object] = []
        call = threading.Thread(target=lambda: answers.append(remote.send(payload(), None)))
        call.start()
        while one.requests == 0:
            time.sleep(0.001)
        one.announce(other.address)
        until = time.monotonic() + 5
        while other.requests == 0:  # the new line is in use; the first server holds back what it gets
            assert time.monotonic() < until
            try:
                remote.send(payload(), in_ms(100))
            except DeadlineExceeded:
                continue
        one.open.set()
        call.join(5)
        assert len(answers) == 1
