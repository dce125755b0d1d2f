"""Who may connect and who may ask: TLS, client certificates, bearer tokens.

Plaintext is for loopback, or for an operator who says `insecure`. Knows files and gRPC credentials, no request.
"""

from __future__ import annotations

import hmac
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import grpc

from splitinfer.cloud.settings import ServeSettings, StrPath
from splitinfer.errors import Reason, Refused, SecurityError

Metadata = Iterable[tuple[str, str | bytes]]


def split_address(listen: str) -> tuple[str, int]:
    """Reads HOST:PORT or [HOST]:PORT.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, got {listen!r}; for example 127.0.0.1:8443")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Writes HOST:PORT, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than "localhost" counts as public: it may change."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Gate:
    """The credentials of one server, read once.

    Attributes:
        credentials: for TLS; None = plaintext.
        tokens: SHA-256 of the accepted tokens; empty = none is asked for.
    """

    credentials: grpc.ServerCredentials | None = None
    tokens: tuple[bytes, ...] = field(default=(), repr=False)

    def check(self, metadata: Metadata) -> None:
        """Lets a request pass, or not. Compares in constant time, with every token.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        if not self.tokens:
            return
        shown = sha256(_bearer(metadata)).digest()
        matches = [hmac.compare_digest(shown, token) for token in self.tokens]
        if not any(matches):
            raise Refused("no token, or one that is not accepted: check token=", Reason.UNAUTHENTICATED)


def _bearer(metadata: Metadata) -> bytes:
    for key, value in metadata:
        if key == "authorization":
            text = value if isinstance(value, bytes) else value.encode()
            scheme, _, token = text.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return b""


def check_exposure(settings: ServeSettings) -> None:
    """Whether these settings would be safe. Reads no file.

    Raises:
        SecurityError: half of a pair is missing, or plaintext would be public.
    """
    host, _ = split_address(settings.listen)
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SecurityError("TLS needs both a certificate and its key: give --tls-cert and --tls-key")
    if settings.client_ca and not settings.tls_cert:
        raise SecurityError("client certificates need TLS: give --tls-cert and --tls-key, too")
    if not settings.tls_cert and not settings.insecure and not is_loopback(host):
        raise SecurityError(
            f"refusing to listen on {host} without TLS: give --tls-cert and --tls-key, or --insecure if the network is yours"
        )


def open_gate(settings: ServeSettings) -> Gate:
    """Reads the files that `settings` name. To be called before a port is bound.

    Raises:
        SecurityError: see `check_exposure`; or a file is missing, empty or not what it should be.
    """
    check_exposure(settings)
    return Gate(_credentials(settings), _tokens(settings.token_file))


def _credentials(settings: ServeSettings) -> grpc.ServerCredentials | None:
    if not settings.tls_cert or not settings.tls_key:
        return None
    pair = (_read(settings.tls_key), _read(settings.tls_cert))
    authority = _read(settings.client_ca) if settings.client_ca else None
    _check_pem(settings)
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=authority is not None)


def _check_pem(settings: ServeSettings) -> None:
    """Asks OpenSSL about the files: gRPC would only say, later on, that it cannot bind the port."""
    asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, else it would ask the terminal for that of an encrypted key.
        asked.load_cert_chain(str(settings.tls_cert), str(settings.tls_key), password="")
    except (ssl.SSLError, ValueError) as error:
        raise SecurityError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate in PEM and its unencrypted key: check both files"
        ) from error
    try:
        if settings.client_ca:
            asked.load_verify_locations(str(settings.client_ca))
    except ssl.SSLError as error:
        raise SecurityError(f"{settings.client_ca} is no certificate in PEM: give the authority of your clients") from error


def _tokens(token_file: StrPath | None) -> tuple[bytes, ...]:
    if token_file is None:
        return ()
    lines = [line.strip() for line in _read(token_file).splitlines()]
    tokens = tuple(sha256(line).digest() for line in lines if line)
    if not tokens:
        raise SecurityError(f"no token in {token_file}: write one a line")
    return tokens


def _read(path: StrPath) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SecurityError(f"cannot read {path}: {error.strerror}") from error
