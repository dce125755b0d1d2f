"""The kernel's shortest round trip of a connection (Linux): of its own packets, whatever servers and tails took.

gRPC does not show its sockets, but the system lists those of the process. Where there is no such list, the answer is None;
nothing raises. It is the round trip to whoever holds the other end: a proxy of a mobile network may be nearer than the cloud.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path

FDS = Path("/proc/self/fd")
TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
MIN_RTT = struct.Struct("@148xI")
"""Where `struct tcp_info` of linux/tcp.h holds `tcpi_min_rtt`, in microseconds, since Linux 4.6."""
NOT_MEASURED_US = 0xFFFFFFFF


class Sockets:
    """The connections of this process to some servers.

    Args:
        peers: IP:PORT, or [IP]:PORT, of the servers.
    """

    def __init__(self, peers: Set[str]) -> None:
        self._peers = peers
        self._found: dict[str, int] = {}

    def min_rtt_ms(self) -> float | None:
        """The shortest round trip that one of them has seen; None = cannot tell."""
        if not self._peers or TCP_INFO is None:
            return None
        times = [ms for link, fd in self._found.items() if (ms := self._read_ms(fd, link)) is not None]
        if len(times) < len(self._found) or not times:  # gone, or not looked for yet
            self._found = dict(self._look())
            times = [ms for link, fd in self._found.items() if (ms := self._read_ms(fd, link)) is not None]
        return min(times, default=None)

    def _look(self) -> Iterator[tuple[str, int]]:
        """Each once: gRPC holds a socket by two descriptors."""
        with suppress(OSError):
            for path in FDS.iterdir():
                fd = int(path.name)
                link = _link(fd)
                if link.startswith("socket:") and self._read_ms(fd, link) is not None:
                    yield link, fd

    def _read_ms(self, fd: int, link: str) -> float | None:
        """Of a descriptor that still stands for the same socket. A copy is read: the original may be closed at any time."""
        if TCP_INFO is None or _link(fd) != link:
            return None
        try:
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.type != socket.SOCK_STREAM or _peer(copy) not in self._peers:
                    return None
                (us,) = MIN_RTT.unpack(copy.getsockopt(socket.IPPROTO_TCP, TCP_INFO, MIN_RTT.size))
        except (OSError, struct.error):  # closed meanwhile, not connected, or an older kernel
            return None
        return None if us == NOT_MEASURED_US else us / 1e3


def _link(fd: int) -> str:
    try:
        return str((FDS / str(fd)).readlink())
    except OSError:
        return ""


def _peer(one: socket.socket) -> str:
    if one.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    host, port = one.getpeername()[:2]
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
