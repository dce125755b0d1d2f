"""Which network this device is on, and of what kind, as Linux tells it. Knows no policy and no connection.

What it cannot tell is None: an application that knows better gives a reader of its own (`Settings.read_network`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

PROC, SYSFS = Path("/proc/net"), Path("/sys/class/net")
CELLULAR = ("wwan", "ppp", "rmnet")
"""Interfaces of modems begin with one of these."""
ETHERNET = "1"
"""ARPHRD_ETHER, https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-net: `type`. A tunnel's is another one."""
ANYWHERE, HERE = "00000000", "00000000"
"""Destination and mask of a default route; the gateway of a link that has none (point to point)."""
RTF_UP = 0x1
NAME_CHARS = 16


@dataclass(frozen=True, slots=True)
class Network:
    """Where a device is. None = cannot tell.

    Attributes:
        name: the same whenever it is there again, and nothing to anybody else: the start of a SHA-256, never a name that
            people gave.
        radio: "wifi", "lte" or "wired", as `Power.radios` names them. Any modem counts as LTE.
        metered: whether the user pays by volume. A modem's user is taken to, others not.
    """

    name: str | None = None
    radio: str | None = None
    metered: bool | None = None


NOWHERE = Network()


@dataclass(frozen=True, slots=True)
class _Route:
    """A default route: interface, gateway (as the kernel writes it), metric."""

    interface: str
    gateway: str
    metric: int


def read_network(proc: Path = PROC, sysfs: Path = SYSFS) -> Network:
    """The network behind the default route of IPv4; all None where there is none, or no Linux."""
    route = _default_route(proc)
    if route is None:
        return NOWHERE
    radio = _radio(sysfs / route.interface, route.interface)
    return Network(_name(route, proc, sysfs), radio, None if radio is None else radio == "lte")


def _default_route(proc: Path) -> _Route | None:
    """The one with the least metric. Columns: interface, destination, gateway, flags, ..., metric (6), mask (7)."""
    found = []
    for row in _rows(proc / "route"):
        try:
            if row[1] == ANYWHERE and row[7] == ANYWHERE and int(row[3], 16) & RTF_UP:
                found.append(_Route(row[0], row[2], int(row[6])))
        except (IndexError, ValueError):
            continue  # a heading, or a kernel that writes something else
    return min(found, key=lambda route: route.metric, default=None)


def _radio(device: Path, interface: str) -> str | None:
    if interface.startswith(CELLULAR):
        return "lte"
    if (device / "wireless").exists() or (device / "phy80211").exists():
        return "wifi"
    return "wired" if _text(device / "type") == ETHERNET else None


def _name(route: _Route, proc: Path, sysfs: Path) -> str | None:
    """A hash of the gateway and of this device's own hardware address; None = the gateway is not known yet.

    Gateways of one IP address are in every second home: it is their hardware addresses that tell them apart. A guess at those
    cannot be checked by who does not know this device's.
    """
    gateway = "" if route.gateway == HERE else _hardware_address(route, proc)
    if gateway is None:
        return None
    own = _text(sysfs / route.interface / "address")
    seen = "|".join((route.interface, own, route.gateway, gateway))
    return hashlib.sha256(seen.encode()).hexdigest()[:NAME_CHARS]


def _hardware_address(route: _Route, proc: Path) -> str | None:
    """Of the gateway. Columns of /proc/net/arp: IP address, type, flags (0 = not known yet), hardware address, mask, device."""
    try:
        ip = ".".join(str(byte) for byte in reversed(bytes.fromhex(route.gateway)))
    except ValueError:
        return None
    for row in _rows(proc / "arp"):
        if len(row) > 5 and row[0] == ip and row[5] == route.interface and row[2] != "0x0":
            return row[3]
    return None


def _rows(path: Path) -> list[list[str]]:
    return [line.split() for line in _text(path).splitlines()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
