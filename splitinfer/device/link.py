"""One connection to one cloud, shared by every client of the process that names the same cloud.

Clients hear what it sees of the link; one that joins later is told what was seen before it came, so that all believe the
same. When the connection comes up, it says on which network. Knows no model and no plan.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from threading import Lock

from splitinfer.backends.network import NOWHERE, Network
from splitinfer.device.driver import now_ms
from splitinfer.events import Event, LinkChanged, LoadReported, Transferred
from splitinfer.plan import Uplink
from splitinfer.remote import Remote, Tls

log = logging.getLogger("splitinfer")

HISTORY = 32
"""What a client that joins is told of the present connection: more is older than what an estimate still uses."""

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


@dataclass(frozen=True, slots=True)
class Member:
    """One client of a link.

    Attributes:
        heard: is called for every event of the link.
        believed: what this client believes of the link now.
        dear: whether it says that bytes are dear.
    """

    heard: Heard
    believed: Callable[[], Uplink | None]
    dear: Callable[[], bool] = lambda: False


Connect = Callable[["Link"], Remote]
"""Opens a connection: what to connect to, where to say what happens, and what is believed are the link's."""
Whereabouts = Callable[[], Network]
"""Reads which network this device is on."""

_links: dict[Cloud, Link] = {}
_links_lock = Lock()


class Link:
    """A connection and those who share it.

    Attributes:
        cloud: the other end.
        remote: the connection.
    """

    def __init__(self, cloud: Cloud, connect: Connect, whereabouts: Whereabouts) -> None:
        self.cloud = cloud
        self._whereabouts = whereabouts
        self._network = NOWHERE
        self._state: tuple[Event, float] | None = None
        self._lock = Lock()
        self._members: list[Member] = []
        self._history: deque[tuple[Event, float]] = deque(maxlen=HISTORY)
        self.remote: Remote = connect(self)

    @classmethod
    def join(cls, cloud: Cloud, connect: Connect, member: Member, whereabouts: Whereabouts = lambda: NOWHERE) -> Link:
        """The link to a cloud, opened if nobody has it yet.

        Args:
            cloud: which.
            connect: how to open it.
            member: who joins; hears first what was said in the past.
            whereabouts: is asked whenever the connection comes up.
        """
        with _links_lock:
            link = _links.get(cloud)
            if link is None:
                link = _links[cloud] = cls(cloud, connect, whereabouts)
            with link._lock:  # what is said meanwhile waits, so that nobody hears it before what is older
                past = (() if link._state is None else (link._state,), link._history)
                for event, at_ms in chain.from_iterable(past):
                    member.heard(event, at_ms)
                link._members.append(member)
        return link

    def leave(self, member: Member) -> None:
        """Ends a membership; the last one closes the connection."""
        with _links_lock:
            with self._lock:
                self._members = [one for one in self._members if one is not member]
                empty = not self._members
            if empty:
                _links.pop(self.cloud, None)
        if empty:
            self.remote.close()

    def say(self, event: Event) -> None:
        """Tells every member what the connection saw."""
        moved = isinstance(event, LinkChanged) and event.up and self._has_moved()
        at_ms = now_ms()
        with self._lock:
            if isinstance(event, LinkChanged):
                self._state = self._placed(event), at_ms
                self._history.clear()
                event = self._placed(event) if moved else event
            elif isinstance(event, Transferred | LoadReported):
                self._history.append((event, at_ms))
            members = tuple(self._members)
        for member in members:
            member.heard(event, at_ms)

    def believed(self) -> Uplink | None:
        """What is believed of the link: by the first member that believes something."""
        with self._lock:
            members = tuple(self._members)
        return next((uplink for member in members if (uplink := member.believed()) is not None), None)

    def look(self) -> None:
        """Looks after the connection; bytes are dear if they are to one of the members."""
        with self._lock:
            members = tuple(self._members)
        self.remote.look(any(member.dear() for member in members))

    def _has_moved(self) -> bool:
        """Whether this is another network than the last time. Only then it is told: till then the application's word stands."""
        before = self._network
        try:
            self._network = self._whereabouts()
        except Exception:  # the application's own reader; the link must outlive it
            log.exception("the network could not be read")
        return self._network != before

    def _placed(self, event: LinkChanged) -> LinkChanged:
        network = self._network
        return replace(event, network=network.name, radio=network.radio, metered=network.metered)
