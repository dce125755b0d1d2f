"""One connection to one cloud, shared by every client of the process that names the same cloud.

Clients hear what it sees of the link; one that joins later is told what was seen before it came, so that all believe the
same. Knows no model and no plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from splitinfer.device.driver import now_ms
from splitinfer.events import Event, LinkChanged, LoadReported, Transferred
from splitinfer.plan import Uplink
from splitinfer.remote import Remote, Tls

HISTORY = 32
"""What a client that joins is told: more is older than what an estimate still uses."""

Heard = Callable[[Event, float], None]
"""Takes an event and the time at which it was said."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where the cloud is and how it is spoken to; equal clouds share a connection.

    Attributes:
        addresses: HOST:PORT of the replicas that are known.
        tls: certificates; None = plaintext (loopback, or `insecure`).
        token: bearer token; never shown.
        insecure: allow plaintext to other machines.
    """

    addresses: tuple[str, ...]
    tls: Tls | None = None
    token: str | None = None
    insecure: bool = False

    def __repr__(self) -> str:
        return f"Cloud({', '.join(self.addresses)}, {'TLS' if self.tls else 'plaintext'})"


Connect = Callable[[Cloud, Callable[[Event], None], Callable[[], Uplink | None]], Remote]
"""Opens a connection: the cloud, where to say what happens, what is believed of the link."""

_links: dict[Cloud, Link] = {}
_links_lock = Lock()


class Link:
    """A connection and those who share it."""

    def __init__(self, cloud: Cloud, connect: Connect) -> None:
        self._cloud = cloud
        self._lock = Lock()
        self._members: list[tuple[Heard, Callable[[], Uplink | None]]] = []
        self._history: deque[tuple[Event, float]] = deque(maxlen=HISTORY)
        self.remote: Remote = connect(cloud, self._said, self._believed)

    @classmethod
    def join(cls, cloud: Cloud, connect: Connect, heard: Heard, believed: Callable[[], Uplink | None]) -> Link:
        """The link to a cloud, opened if nobody has it yet.

        Args:
            cloud: which.
            connect: how to open it.
            heard: is called for every event of the link, first for those of the past.
            believed: what this member believes of the link now.
        """
        with _links_lock:
            link = _links.get(cloud)
            if link is None:
                link = _links[cloud] = cls(cloud, connect)
            with link._lock:  # what is said meanwhile waits, so that nobody hears it before what is older
                for event, at_ms in link._history:
                    heard(event, at_ms)
                link._members.append((heard, believed))
        return link

    def leave(self, heard: Heard) -> None:
        """Ends a membership; the last one closes the connection."""
        with _links_lock:
            with self._lock:
                self._members = [member for member in self._members if member[0] != heard]
                empty = not self._members
            if empty:
                _links.pop(self._cloud, None)
        if empty:
            self.remote.close()

    def _said(self, event: Event) -> None:
        at_ms = now_ms()
        with self._lock:
            if isinstance(event, Transferred | LinkChanged | LoadReported):
                self._history.append((event, at_ms))
            members = tuple(self._members)
        for heard, _ in members:
            heard(event, at_ms)

    def _believed(self) -> Uplink | None:
        with self._lock:
            members = tuple(self._members)
        return next((uplink for _, believed in members if (uplink := believed()) is not None), None)
