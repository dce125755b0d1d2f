"""Who gets in: TLS, client certificates, tokens, and plaintext nowhere but on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from splitinfer._pb.v1 import control_pb2, inference_pb2
from splitinfer.cloud.hosted import Hosted
from splitinfer.cloud.security import Gate, is_loopback, join_address, open_gate, split_address
from splitinfer.cloud.server import TailServer
from splitinfer.cloud.settings import ServeSettings
from splitinfer.errors import Refused, SecurityError
from tests.bundles import tiny_input
from tests.certificates import Authority
from tests.cloud_stub import Stub, request_of, why
from tests.conftest import Cloud


@dataclass(frozen=True)
class Pki:
    """An authority, the server's pair, a client's pair, and a stranger's authority and pair."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]
    other_ca: Path
    stranger: tuple[Path, Path]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ours, other = Authority.at(folder / "ours"), Authority.at(folder / "other")
    return Pki(ours.cert, ours.issue("server"), ours.issue("client"), other.cert, other.issue("stranger"))


@contextmanager
def connected(server: TailServer, ca: Path | None, pair: tuple[Path, Path] | None = None) -> Iterator[Stub]:
    if ca is None:
        channel = grpc.insecure_channel(server.address)
    else:
        key, chain = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
        channel = grpc.secure_channel(server.address, grpc.ssl_channel_credentials(ca.read_bytes(), key, chain))
    with channel:
        yield Stub(channel)


def outcome(stub: Stub, hosted: Hosted, metadata: Sequence[tuple[str, str]] = ()) -> str:
    try:
        stub.infer(request_of(hosted, 0, tiny_input()), timeout=5, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_tls(cloud: Cloud, tiny: Hosted, pki: Pki) -> None:
    server = cloud.start(tiny, tls_cert=pki.server[0], tls_key=pki.server[1])
    found = {}
    for name, ca in (("right CA", pki.ca), ("wrong CA", pki.other_ca), ("plaintext", None)):
        with connected(server, ca) as stub:
            found[name] = outcome(stub, tiny)
    assert found == {"right CA": "OK", "wrong CA": "UNAVAILABLE", "plaintext": "UNAVAILABLE"}


def test_mutual_tls(cloud: Cloud, tiny: Hosted, pki: Pki) -> None:
    server = cloud.start(tiny, tls_cert=pki.server[0], tls_key=pki.server[1], client_ca=pki.ca)
    found = {}
    for name, pair in (("ours", pki.client), ("a stranger's", pki.stranger), ("none", None)):
        with connected(server, pki.ca, pair) as stub:
            found[name] = outcome(stub, tiny)
    assert found == {"ours": "OK", "a stranger's": "UNAVAILABLE", "none": "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("metadata", "want"),
    [
        ((("authorization", "Bearer first"),), "OK"),
        ((("authorization", "bearer second"),), "OK"),
        ((), "UNAUTHENTICATED"),
        ((("authorization", "Bearer third"),), "UNAUTHENTICATED"),
        ((("authorization", "Bearer "),), "UNAUTHENTICATED"),
        ((("authorization", "Basic first"),), "UNAUTHENTICATED"),
        ((("authorization", "first"),), "UNAUTHENTICATED"),
    ],
)
def test_tokens(cloud: Cloud, tiny: Hosted, tmp_path: Path, metadata: tuple, want: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first\n\n  second  \n")
    server = cloud.start(tiny, token_file=tokens)
    with connected(server, None) as stub:
        assert outcome(stub, tiny, metadata) == want


def test_without_a_token_every_method_is_closed(cloud: Cloud, tiny: Hosted, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    server = cloud.start(tiny, token_file=tmp_path / "tokens")
    calls = {
        "infer": lambda stub: stub.infer(inference_pb2.InferRequest(), timeout=5),
        "infer_chunked": lambda stub: list(stub.infer_chunked(iter(()), timeout=5)),
        "probe": lambda stub: stub.probe(inference_pb2.ProbeRequest(), timeout=5),
        "endpoints": lambda stub: next(stub.endpoints(control_pb2.EndpointsRequest(), timeout=5)),
    }
    with connected(server, None) as stub:
        for call in calls.values():
            with pytest.raises(grpc.RpcError) as caught:
                call(stub)
            assert why(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "tails.example", "[::]"])
def test_plaintext_is_not_public_unless_asked_for(host: str) -> None:
    with pytest.raises(SecurityError, match="--insecure"):
        open_gate(ServeSettings(("b",), listen=f"{host}:8443"))
    assert open_gate(ServeSettings(("b",), listen=f"{host}:8443", insecure=True)).credentials is None


def test_half_of_the_files_is_refused(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for settings, words in (
        (ServeSettings(("b",), tls_cert=pki.server[0]), "--tls-key"),
        (ServeSettings(("b",), tls_key=pki.server[1]), "--tls-cert"),
        (ServeSettings(("b",), client_ca=pki.ca), "need TLS"),
        (ServeSettings(("b",), token_file=tmp_path / "missing"), "cannot read"),
        (ServeSettings(("b",), token_file=tmp_path / "empty"), "no token"),
    ):
        with pytest.raises(SecurityError, match=words):
            open_gate(settings)


def test_files_that_are_not_what_they_should_be_are_named(pki: Pki, tmp_path: Path) -> None:
    """gRPC would take them and, later on, only say that it cannot bind the port."""
    cert, key = pki.server
    (tmp_path / "noise").write_text("noise")
    locked = tmp_path / "locked"
    command = ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    for settings, words in (
        (ServeSettings(("b",), tls_cert=cert, tls_key=tmp_path / "noise"), "noise"),
        (ServeSettings(("b",), tls_cert=cert, tls_key=pki.client[1]), "client.key"),
        (ServeSettings(("b",), tls_cert=cert, tls_key=locked), "unencrypted"),
        (ServeSettings(("b",), tls_cert=cert, tls_key=tmp_path), "Is a directory"),
        (ServeSettings(("b",), tls_cert=cert, tls_key=key, client_ca=tmp_path / "noise"), "authority of your clients"),
    ):
        with pytest.raises(SecurityError, match=words):
            open_gate(settings)


def test_tokens_show_nowhere(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("hush-hush\n")
    gate = open_gate(ServeSettings(("b",), token_file=tmp_path / "tokens"))
    with pytest.raises(Refused) as caught:
        gate.check((("authorization", "Bearer wrong-one"),))
    assert "hush" not in repr(gate)
    assert "wrong-one" not in str(caught.value)


def test_a_gate_without_tokens_asks_for_none() -> None:
    assert Gate().check(()) is None


@pytest.mark.parametrize(
    ("text", "pair"), [("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:0", ("::1", 0)), ("name:65535", ("name", 65535))]
)
def test_addresses(text: str, pair: tuple[str, int]) -> None:
    assert split_address(text) == pair
    assert join_address(*pair) == text


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:65536", "host:-1", "host:x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


def test_loopback() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "10.0.0.1", "::", "localhost.example")] == [False] * 4
