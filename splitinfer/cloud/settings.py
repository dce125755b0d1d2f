"""What an operator can set: values with defaults, and nothing that acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from splitinfer.wire import MESSAGE_MAX_BYTES, UNARY_MAX_BYTES

StrPath = str | Path
FRAMING_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a stranger may ask of one server.

    Attributes:
        unary_bytes: largest single message: the 256 KB of payload that `Infer` takes, and its framing. What has arrived of a
            message lies in the transport's memory, out of reach of any budget, so this stays small; more goes in chunks.
        upload_bytes: largest chunked upload.
        uploads_bytes: all chunked uploads in progress together.
        idle_s: longest pause between two pieces of an upload.
        upload_s: longest time for a whole upload.
        queue_max: requests that may wait for a free thread.
        calls_max: RPCs open at once, of all kinds.
        streams_max: RPCs open at once on one connection.
        connection_idle_s: a connection without RPCs is closed after this time.
    """

    unary_bytes: int = UNARY_MAX_BYTES + FRAMING_BYTES
    upload_bytes: int = MESSAGE_MAX_BYTES
    uploads_bytes: int = 4 * MESSAGE_MAX_BYTES
    idle_s: float = 10.0
    upload_s: float = 60.0
    queue_max: int = 32
    calls_max: int = 1024
    streams_max: int = 32
    connection_idle_s: float = 300.0


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How to serve bundles. Plain values only, so that a Serve config file can carry them.

    Attributes:
        bundles: folders.
        listen: HOST:PORT of the first replica; on one machine, further ones take the next free ports. Port 0 = any free one.
        advertise: host that devices reach the replicas at; None = that of `listen`; where that is a wildcard, the node's own.
        ray_address: a cluster to join; None = a Ray of our own, in this process tree.
        tls_cert: PEM file with the server's certificate chain.
        tls_key: PEM file with its private key.
        client_ca: PEM file with the authority whose clients are let in (mTLS); None = any client.
        token_file: a file with one bearer token a line; None = no token is asked for.
        insecure: allow plaintext on addresses other than loopback.
        replicas: how many servers.
        threads: inference threads of one replica; None = its share of this machine's cores.
        drain_s: longest time that a stopping replica waits for its last requests.
        metrics_port: Prometheus port of the first replica; further ones count up. None = no metrics.
        health_port: port of the first replica where `grpc.health.v1`, and nothing else, answers in plaintext and without a
            token, on the host of `listen`: for probes that speak no TLS. Further ones count up; 0 = any. None = no such port.
        reflection: answer gRPC server reflection.
    """

    bundles: tuple[StrPath, ...]
    listen: str = "127.0.0.1:8443"
    advertise: str | None = None
    ray_address: str | None = None
    tls_cert: StrPath | None = None
    tls_key: StrPath | None = None
    client_ca: StrPath | None = None
    token_file: StrPath | None = None
    insecure: bool = False
    replicas: int = 1
    threads: int | None = None
    drain_s: float = 10.0
    metrics_port: int | None = None
    health_port: int | None = None
    reflection: bool = True

    def __post_init__(self) -> None:
        if not self.bundles:
            raise ValueError("nothing to serve: name at least one bundle")
        if self.replicas < 1:
            raise ValueError(f"replicas must be at least 1, got {self.replicas}: with none, nobody is there to be woken")

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> Self:
        """Reads the `args` of a Serve config file.

        Raises:
            ValueError: an argument is unknown or missing.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(args) - known):
            raise ValueError(f"unknown arguments {unknown}; known are {sorted(known)}")
        bundles = args.get("bundles", ())
        return cls(**{**args, "bundles": (bundles,) if isinstance(bundles, StrPath) else tuple(bundles)})

    def absolute(self) -> Self:
        """The same with absolute paths, for a process that runs in another folder."""
        return replace(
            self,
            bundles=tuple(str(Path(bundle).absolute()) for bundle in self.bundles),
            tls_cert=_absolute(self.tls_cert),
            tls_key=_absolute(self.tls_key),
            client_ca=_absolute(self.client_ca),
            token_file=_absolute(self.token_file),
        )


def _absolute(path: StrPath | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
