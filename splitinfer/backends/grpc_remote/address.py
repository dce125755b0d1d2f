"""Where to connect, and with which credentials. Refuses plaintext to other machines before a byte is sent."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from splitinfer.errors import SecurityError
from splitinfer.remote import Tls

_DNS = "dns:///"


@dataclass(frozen=True)
class Access:
    """How every channel is opened.

    Attributes:
        credentials: for TLS; None = plaintext.
        authority: the name that certificates must carry where several servers are asked.
        metadata: sent with every call of ours: the bearer token.
        anywhere: plaintext may leave this machine.
    """

    credentials: grpc.ChannelCredentials | None
    authority: str
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    anywhere: bool

    @classmethod
    def of(cls, addresses: Sequence[str], tls: Tls | None, token: str | None, insecure: bool) -> Access:
        """Reads the files that `tls` names.

        Raises:
            ValueError: an address is not HOST:PORT.
            SecurityError: a file cannot be read, half of a pair is missing, or plaintext would leave this machine.
        """
        if token is not None and not (token.isascii() and token.isprintable()):
            raise SecurityError("a token is printable ASCII without line breaks: check token=")
        if not addresses:
            raise ValueError("at least one address is needed: HOST:PORT")
        access = cls(
            credentials=_credentials(tls) if tls else None,
            authority=(tls.server_name if tls else None) or host_of(addresses[0]),
            metadata=(("authorization", f"Bearer {token}"),) if token else (),
            anywhere=insecure,
        )
        for address in addresses:
            host_of(address)
            if not access.allows(address):
                raise SecurityError(
                    f"refusing to speak plaintext to {address}: give tls=, or insecure=True if the network is yours"
                )
        return access

    def allows(self, address: str) -> bool:
        """Whether this address, which may come from a server, is one and may be connected to."""
        try:
            host = host_of(address)
        except ValueError:
            return False
        return self.credentials is not None or self.anywhere or _is_loopback(host)


def host_of(address: str) -> str:
    """The host of HOST:PORT, [HOST]:PORT or dns:///HOST:PORT.

    Raises:
        ValueError: it is none of them.
    """
    host, colon, port = address.removeprefix(_DNS).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, got {address!r}; for example 10.0.0.5:8443")
    return host


def is_local(address: str) -> bool:
    """Whether it is on this machine.

    Raises:
        ValueError: it is not HOST:PORT.
    """
    return _is_loopback(host_of(address))


def target(addresses: Sequence[str]) -> str:
    """The name of all of them for gRPC.

    One address stays a name, so that gRPC resolves it anew with each connection. Several are resolved here, since a target
    holds one name at most; what cannot be resolved now is left out.
    """
    if len(addresses) == 1:
        return _DNS + addresses[0].removeprefix(_DNS)
    found = [found for address in addresses for found in _resolve(address)]
    for family, scheme in ((socket.AF_INET, "ipv4:"), (socket.AF_INET6, "ipv6:")):
        if same := dict.fromkeys(text for kind, text in found if kind == family):
            return scheme + ",".join(same)
    return target(addresses[:1])


def known_as(addresses: Sequence[str]) -> set[str]:
    """All that these servers may call themselves: the addresses as given, and what their names stand for now."""
    return {address.removeprefix(_DNS) for address in addresses} | {text for one in addresses for _, text in _resolve(one)}


def _resolve(address: str) -> list[tuple[int, str]]:
    host, port = host_of(address), address.rpartition(":")[2]
    try:
        infos = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a name that no resolver can be asked for
        return []
    found = ((kind, str(to[0])) for kind, *_, to in infos)
    return [(kind, f"[{ip}]:{port}" if kind == socket.AF_INET6 else f"{ip}:{port}") for kind, ip in found]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    if bool(tls.cert) != bool(tls.key):
        raise SecurityError("a client certificate needs its key: give both cert= and key= in Tls")
    return grpc.ssl_channel_credentials(_read(tls.ca), _read(tls.key), _read(tls.cert))


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SecurityError(f"cannot read {path}: {error.strerror}") from error
