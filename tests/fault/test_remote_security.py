"""Who may be spoken to, and what is shown to whom."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.backends.grpc_remote.address import known_as
from splitinfer.errors import SecurityError, Unreachable
from splitinfer.remote import Tls
from tests.certificates import Authority
from tests.cloud_double import CloudDouble, payload

TOKEN = "correct-horse"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.at(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.at(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def server_pair(ours: Authority) -> tuple[Path, Path]:
    return ours.issue("server")


def credentials(pair: tuple[Path, Path], client_ca: Authority | None = None) -> grpc.ServerCredentials:
    cert, key = pair
    authority = client_ca.cert.read_bytes() if client_ca else None
    return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], authority, client_ca is not None)


def ask(*addresses: str, **options) -> None:
    remote = GrpcRemote(addresses, **options)
    try:
        remote.send(payload(), time.monotonic() * 1e3 + 10_000)
    finally:
        remote.close()


@pytest.mark.parametrize("name", ["a\0b", "x" * 70])
def test_a_name_that_no_resolver_takes_is_known_as_nothing_else(name):
    assert known_as([f"{name}:1"]) == {f"{name}:1"}


def test_the_right_authority_and_the_right_token(ours, server_pair):
    with CloudDouble(credentials=credentials(server_pair), token=TOKEN) as cloud:
        ask(cloud.address, tls=Tls(str(ours.cert)), token=TOKEN)
        ask(f"localhost:{cloud.port}", tls=Tls(str(ours.cert)), token=TOKEN)
        assert cloud.requests == 2


@pytest.mark.parametrize("token", [None, "wrong"])
def test_no_token_or_a_wrong_one(ours, server_pair, token):
    with CloudDouble(credentials=credentials(server_pair), token=TOKEN) as cloud:
        with pytest.raises(SecurityError, match="token"):
            ask(cloud.address, tls=Tls(str(ours.cert)), token=token)
        assert cloud.requests == 0


def test_a_wrong_authority(theirs, server_pair):
    with CloudDouble(credentials=credentials(server_pair)) as cloud:
        with pytest.raises(SecurityError, match="certificate"):
            ask(cloud.address, tls=Tls(str(theirs.cert)))
        assert cloud.requests == 0


def test_a_certificate_for_another_name(ours):
    pair = ours.issue("elsewhere", "DNS:elsewhere.example")
    with CloudDouble(credentials=credentials(pair)) as cloud:
        with pytest.raises(SecurityError, match="certificate"):
            ask(cloud.address, tls=Tls(str(ours.cert)))
        ask(cloud.address, tls=Tls(str(ours.cert), server_name="elsewhere.example"))


def test_several_servers_share_a_name(ours, server_pair):
    with CloudDouble(credentials=credentials(server_pair)) as one, CloudDouble(credentials=credentials(server_pair)) as other:
        remote = GrpcRemote([one.address, other.address], tls=Tls(str(ours.cert)))
        for _ in range(10):
            remote.send(payload(), time.monotonic() * 1e3 + 10_000)
        remote.close()
        assert one.requests
        assert other.requests


def test_both_sides_show_who_they_are(ours, server_pair):
    cert, key = ours.issue("device", "DNS:device")
    with CloudDouble(credentials=credentials(server_pair, client_ca=ours)) as cloud:
        ask(cloud.address, tls=Tls(str(ours.cert), str(cert), str(key)))
        assert cloud.requests == 1
        # The server hangs up without a word: from here that looks like any other server that does.
        with pytest.raises(Unreachable):
            ask(cloud.address, tls=Tls(str(ours.cert)))
        assert cloud.requests == 1


@pytest.mark.parametrize("address", ["192.0.2.1:8443", "cloud.example:8443", "dns:///cloud.example:8443", "[2001:db8::1]:8443"])
def test_plaintext_to_another_machine_is_refused_before_anything_is_sent(address):
    with pytest.raises(SecurityError, match="plaintext"):
        GrpcRemote([address], token=TOKEN)
    with pytest.raises(SecurityError, match="plaintext"):
        GrpcRemote(["127.0.0.1:1", address])


def test_plaintext_to_another_machine_where_it_is_allowed():
    remote = GrpcRemote(["192.0.2.1:8443"], insecure=True)
    remote.close()


def test_the_token_is_never_shown():
    remote = GrpcRemote(["127.0.0.1:1"], token=TOKEN)
    remote.close()
    assert TOKEN not in repr(remote)
    assert "plaintext" in repr(remote)


def test_a_token_that_no_header_can_carry_is_not_shown_either():
    with pytest.raises(SecurityError) as caught:
        GrpcRemote(["127.0.0.1:1"], token=TOKEN + "\n")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("address", ["", "10.0.0.1", ":8443", "host:99999", "host:port", "http://host:80"])
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="HOST:PORT"):
        GrpcRemote([address])
    with pytest.raises(ValueError, match="HOST:PORT"):
        GrpcRemote([])


def test_files_that_are_missing(tmp_path, ours):
    with pytest.raises(SecurityError, match="cannot read"):
        GrpcRemote(["127.0.0.1:1"], tls=Tls(str(tmp_path / "none.pem")))
    with pytest.raises(SecurityError, match="both"):
        GrpcRemote(["127.0.0.1:1"], tls=Tls(str(ours.cert), cert=str(ours.cert)))
