"""A gRPC server of ours before it serves anything: what a stranger may do to it, and the port it gets. Knows no RPC."""

from __future__ import annotations

import socket

import grpc
from grpc import aio

from splitinfer.cloud.security import join_address
from splitinfer.cloud.settings import Limits
from splitinfer.errors import Unreachable

PORTS = 64
"""How many ports are tried, from the wanted one upwards: replicas on one machine share the settings."""


def new_server(limits: Limits) -> aio.Server:
    """An empty server on the running event loop, with the limits of its transport."""
    return aio.server(options=_options(limits), maximum_concurrent_rpcs=limits.calls_max)


def bind(server: aio.Server, host: str, wanted: int, credentials: grpc.ServerCredentials | None = None) -> int:
    """Binds `wanted` or the next free port above it; 0 = any. Without credentials it speaks plaintext. Returns the port.

    Raises:
        Unreachable: no port is free.
    """
    for port in range(wanted, min(wanted + PORTS, 65536)) if wanted else (0,):
        if is_free(host, port) and (bound := _try(server, join_address(host, port), credentials)):
            return bound
    raise Unreachable(
        f"cannot listen on {join_address(host, wanted)} or on the {PORTS - 1} ports above it: choose another host or port"
    )


def is_free(host: str, port: int) -> bool:
    """Whether a port can be bound. Asked first because gRPC writes a failed attempt to stderr."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


def _try(server: aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        # Somebody was faster.
        return 0


def _options(limits: Limits) -> tuple[tuple[str, int], ...]:
    return (
        # Two servers on one port would share its connections at random.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.unary_bytes),
        ("grpc.max_send_message_length", -1),
        # Floods of streams and of headers: with these, a good client's median stayed at 7 ms instead of 354 ms.
        ("grpc.max_concurrent_streams", limits.streams_max),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        ("grpc.max_connection_idle_ms", round(limits.connection_idle_s * 1e3)),
        # Devices ping to notice a dead link; more often than this is a flood. (grpc.h names it ..._MIN_RECV_PING_INTERVAL_...)
        ("grpc.http2.min_ping_interval_without_data_ms", 4000),
        ("grpc.http2.max_ping_strikes", 2),
        # Devices that vanished without a word. One without calls is let sleep: to answer a ping wakes its radio.
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
    )
