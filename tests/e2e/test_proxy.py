"""The proxy with real sockets on loopback: it shapes, holds and releases, and leaves nothing behind.

Times are checked from below (nothing may be faster than the link) and only loosely from above: a busy machine is no failure.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from splitinfer.errors import SimulationError
from splitinfer.sim.proxy import Link, Proxy
from splitinfer.sim.trace import LinkTrace


class Echo:
    """A TCP server that answers every byte with itself."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.accepted = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self._open.append(peer)
            self.accepted.release()
            self._threads.append(threading.Thread(target=self._echo, args=(peer,)))
            self._threads[-1].start()

    def _echo(self, peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
            except OSError:
                pass
        self.ended.release()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for peer in self._open:
            if peer.fileno() >= 0:
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def connect(proxy: Proxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def receive(client: socket.socket, nbytes: int) -> bytes:
    data = b""
    while len(data) < nbytes:
        part = client.recv(nbytes - len(data))
        assert part, f"the connection ended after {len(data)} of {nbytes} bytes"
        data += part
    return data


def ask(client: socket.socket, data: bytes) -> float:
    """Sends, waits for the echo, returns milliseconds."""
    began = time.perf_counter()
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    assert receive(client, len(data)) == data
    sender.join()
    return (time.perf_counter() - began) * 1e3


def test_bytes_pass_unchanged_and_are_counted(echo: Echo) -> None:
    data = bytes(range(256)) * 4000
    with Proxy(echo.address) as proxy, connect(proxy) as one, connect(proxy) as two:
        ask(one, data)
        ask(two, b"hello")
        assert (proxy.total.up_bytes, proxy.total.down_bytes) == (len(data) + 5, len(data) + 5)
        assert sorted(c.up_bytes for c in proxy.connections) == [5, len(data)]


@pytest.mark.parametrize("mbps", [4, 20])
def test_an_upload_takes_its_time(echo: Echo, mbps: int) -> None:
    data = bytes(mbps * 20_000)  # 160 ms
    with Proxy(echo.address, link=Link(rate_bps=mbps * 1e6)) as proxy, connect(proxy) as client:
        ask(client, b"warm")
        assert 159 <= ask(client, data) < 400


def test_the_downlink_has_a_rate_of_its_own(echo: Echo) -> None:
    with Proxy(echo.address, link=Link(down_bps=4e6)) as proxy, connect(proxy) as client:
        assert 79 <= ask(client, bytes(40_000)) < 300


def test_connections_share_one_uplink(echo: Echo) -> None:
    with Proxy(echo.address, link=Link(rate_bps=8e6)) as proxy, connect(proxy) as one, connect(proxy) as two:
        ask(one, b"warm")
        ask(two, b"warm")
        took: list[float] = []
        threads = [threading.Thread(target=lambda c=c: took.append(ask(c, bytes(100_000)))) for c in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(took) >= 195  # 200 KB at 1 MB/s, less what the second thread started late
        assert min(took) > 120  # alone: 100 ms


def test_a_round_trip_and_a_connect_take_an_rtt_each(echo: Echo) -> None:
    with Proxy(echo.address, link=Link(rtt_ms=60)) as proxy:
        began = time.perf_counter()
        with connect(proxy) as client:
            ask(client, b"first")
            assert 119 <= (time.perf_counter() - began) * 1e3 < 400
            assert 59 <= ask(client, b"second") < 200
            proxy.set(rtt_ms=0)
            assert ask(client, b"third") < 50


def test_a_tunnel_swallows_and_gives_back(echo: Echo) -> None:
    with Proxy(echo.address) as proxy, connect(proxy) as client:
        ask(client, b"before")
        proxy.set(blackhole=True)
        client.sendall(b"held")
        client.settimeout(0.15)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.set(blackhole=False)
        client.settimeout(20)
        assert receive(client, 4) == b"held"
        assert proxy.total.up_bytes == len(b"beforeheld")


def test_nobody_arrives_through_a_tunnel_until_it_ends(echo: Echo) -> None:
    with Proxy(echo.address, link=Link(blackhole=True)) as proxy, connect(proxy) as client:
        client.sendall(b"hello")
        assert not echo.accepted.acquire(timeout=0.15)
        proxy.set(blackhole=False)
        assert receive(client, 5) == b"hello"


def test_what_is_under_way_goes_on_at_the_new_rate(echo: Echo) -> None:
    with Proxy(echo.address) as proxy, connect(proxy) as client:
        ask(client, b"warm")
        proxy.set(rate_bps=8000)  # 50 KB would take 50 s
        sender = threading.Thread(target=client.sendall, args=(bytes(50_000),))
        sender.start()
        proxy.set(rate_bps=None)
        receive(client, 50_000)
        sender.join()


def test_a_slow_link_holds_the_sender_back(echo: Echo) -> None:
    """What a cancelled upload leaves on its way is the queue and the kernel's small buffers, not megabytes."""
    with Proxy(echo.address, link=Link(rate_bps=8e5)) as proxy, connect(proxy) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        client.settimeout(0.3)
        taken = 0
        with suppress(TimeoutError):
            while taken < 1_000_000:
                taken += client.send(bytes(4096))
        assert taken - proxy.total.up_bytes < 160_000


def test_it_follows_a_trace(echo: Echo) -> None:
    trace = LinkTrace.steps([(0.2, 0, 0), (60, 2, 80), (60, 100, 0)])
    with Proxy(echo.address) as proxy, connect(proxy) as client:
        ask(client, b"warm")
        began = time.perf_counter()
        proxy.follow(trace)
        assert proxy.link.blackhole
        ask(client, b"held")
        assert (time.perf_counter() - began) * 1e3 >= 199 + 79  # the outage, then a round trip
        assert proxy.link == Link(rate_bps=2e6, rtt_ms=80)
        proxy.follow(trace, start_ms=100_000)
        assert proxy.link == Link(rate_bps=100e6, rtt_ms=0)
        proxy.set(rate_bps=None)
        assert proxy.link == Link()


def test_an_end_passes_after_the_bytes(echo: Echo) -> None:
    with Proxy(echo.address, link=Link(rate_bps=4e6, rtt_ms=20)) as proxy, connect(proxy) as client:
        client.sendall(bytes(20_000))
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 20_000) == bytes(20_000)
        assert client.recv(1) == b""


def test_a_client_that_breaks_off_ends_the_connection_at_the_target(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        client = connect(proxy)
        ask(client, b"hello")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close() sends a reset
        client.close()
        assert echo.ended.acquire(timeout=20)


def test_a_target_that_is_gone_ends_the_connection_and_a_new_one_is_used(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    with Proxy(address) as proxy:
        with connect(proxy) as client:
            assert client.recv(1) == b""
        with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))) as late, connect(proxy) as client:
            client.sendall(b"hello")
            peer, _ = late.accept()
            with peer:
                assert receive(peer, 5) == b"hello"


def test_closing_ends_thread_and_connections(echo: Echo) -> None:
    before = threading.active_count()
    proxy = Proxy(echo.address).start()
    address = proxy.address
    with connect(proxy) as client:
        ask(client, b"hello")
        proxy.set(blackhole=True)
        client.sendall(b"held")
        proxy.close()
        proxy.close()
        assert client.recv(1) == b""
    assert not any(thread.name == "splitinfer-proxy" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # the echo's own
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
    for use in (lambda: proxy.address, lambda: proxy.total, lambda: proxy.set(rtt_ms=1), proxy.start):
        with pytest.raises(SimulationError):
            use()


def test_it_listens_on_loopback_unless_asked() -> None:
    for public in ("0.0.0.0:0", "192.0.2.1:0", "example.org:80"):
        with pytest.raises(SimulationError, match="public=True"):
            Proxy("127.0.0.1:1", public)
    with Proxy("127.0.0.1:1", "0.0.0.0:0", public=True) as proxy:
        assert proxy.address.startswith("0.0.0.0:")


@pytest.mark.parametrize("address", ["", "localhost", ":80", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SimulationError, match="HOST:PORT"):
        Proxy(address)


def test_an_address_in_use_is_refused(echo: Echo) -> None:
    with pytest.raises(SimulationError, match="choose another port"):
        Proxy(echo.address, listen=echo.address).start()


def test_settings_that_make_no_sense_are_refused(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        for change in ({"rate_bps": -1.0}, {"rtt_ms": float("nan")}, {"down_bps": float("inf")}):
            with pytest.raises(SimulationError, match=next(iter(change))):
                proxy.set(**change)
        with pytest.raises(ValueError, match="starts at 0"):
            proxy.follow(LinkTrace.steps([(1, 1, 1)]), start_ms=-5)
        assert proxy.link == Link()
