"""The kernel's round trip of a connection, where there is one."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from splitinfer.backends.grpc_remote import GrpcRemote, line, tcp_info
from splitinfer.backends.grpc_remote.tcp_info import Sockets
from splitinfer.events import Transferred
from tests.cloud_double import CloudDouble, payload

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        yield near, far
        near.close()
        far.close()


def address_of(far: socket.socket) -> str:
    return "{}:{}".format(*far.getsockname())


@linux
def test_the_kernel_has_timed_a_connection(pair):
    near, far = pair
    near.sendall(b"x")
    far.recv(1)
    sockets = Sockets({address_of(far)})
    assert 0 < sockets.min_rtt_ms() < 1_000
    near.close()
    assert sockets.min_rtt_ms() is None


@linux
def test_a_descriptor_that_became_another_socket_is_not_read(pair):
    near, far = pair
    sockets = Sockets({address_of(far)})
    assert sockets.min_rtt_ms() is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        number = near.fileno()
        near.detach()
        other.connect(far.getsockname())
        os.dup2(other.fileno(), number)
        assert sockets.min_rtt_ms() is None
        os.close(number)


@linux
def test_a_connection_that_came_later_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sockets = Sockets({address_of(listener)})
        assert sockets.min_rtt_ms() is None
        with socket.create_connection(listener.getsockname()):
            assert sockets.min_rtt_ms() is not None


@pytest.mark.parametrize("peers", [set(), {"127.0.0.1:1"}, {"[::1]:1"}, {"nonsense"}])
def test_no_such_connection(peers):
    assert Sockets(peers).min_rtt_ms() is None


def test_a_system_that_does_not_list_them(pair, monkeypatch):
    _, far = pair
    monkeypatch.setattr(tcp_info, "FDS", Path("/nowhere"))
    assert Sockets({address_of(far)}).min_rtt_ms() is None
    monkeypatch.setattr(tcp_info, "TCP_INFO", None)
    assert Sockets({address_of(far)}).min_rtt_ms() is None


@linux
def test_a_transfer_carries_it_unless_the_cloud_is_on_this_machine(monkeypatch):
    def rtts_ms() -> list[float | None]:
        heard = []
        with CloudDouble() as cloud:
            remote = GrpcRemote([cloud.address], observe=heard.append)
            remote.send(payload(), None)
            remote.close()
        return [event.rtt_ms for event in heard if isinstance(event, Transferred)]

    assert rtts_ms() == [None]
    monkeypatch.setattr(line, "is_local", lambda _address: False)
    (rtt_ms,) = rtts_ms()
    assert 0 < rtt_ms < 1_000
