"""Which network a device is on: what Linux tells of it, and what a link makes of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitinfer.backends.network import NOWHERE, Network, read_network
from splitinfer.device.link import Cloud, Link, Member
from splitinfer.events import LinkChanged, Transferred

HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ROUTER, OTHER_ROUTER = "00:11:22:33:44:55", "66:77:88:99:aa:bb"


class Machine:
    """A folder that looks like /proc/net and /sys/class/net."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sysfs = root / "proc", root / "sys"
        self.proc.mkdir()
        self.routes = HEADING
        self.arp = "IP address HW type Flags HW address Mask Device\n"

    def interface(self, name: str, *folders: str, kind: str = "1", address: str = "02:00:00:00:00:01") -> None:
        for folder in ("", *folders):
            (self.sysfs / name / folder).mkdir(parents=True)
        (self.sysfs / name / "type").write_text(kind + "\n")
        (self.sysfs / name / "address").write_text(address + "\n")

    def route(self, name: str, gateway: str = "0101A8C0", metric: int = 100, flags: str = "0003") -> None:
        self.routes += f"{name}\t00000000\t{gateway}\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n"

    def neighbour(self, address: str, name: str, ip: str = "192.168.1.1", flags: str = "0x2") -> None:
        self.arp += f"{ip}      0x1         {flags}         {address}     *        {name}\n"

    def read(self) -> Network:
        (self.proc / "route").write_text(self.routes)
        (self.proc / "arp").write_text(self.arp)
        return read_network(self.proc, self.sysfs)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "kind", "radio", "metered"),
    [
        ("wlan0", "wireless", "1", "wifi", False),
        ("wlp2s0", "phy80211", "1", "wifi", False),
        ("eth0", "", "1", "wired", False),
        ("wwan0", "", "65534", "lte", True),
        ("ppp0", "", "512", "lte", True),
        ("rmnet_data0", "", "519", "lte", True),
        ("tun0", "", "65534", None, None),
    ],
)
def test_the_kind_of_a_network(machine, name, folder, kind, radio, metered):
    machine.interface(name, *filter(None, [folder]), kind=kind)
    machine.route(name)
    assert (machine.read().radio, machine.read().metered) == (radio, metered)


def test_the_name_is_the_routers_and_says_nothing(machine):
    machine.interface("wlan0", "wireless")
    machine.route("wlan0")
    assert machine.read().name is None, "the router's own address is not known yet"
    machine.neighbour("00:00:00:00:00:00", "wlan0", flags="0x0")
    assert machine.read().name is None
    machine.neighbour(ROUTER, "eth7")
    assert machine.read().name is None, "that is another one of the same address"
    machine.neighbour(ROUTER, "wlan0")
    name = machine.read().name
    assert name == machine.read().name
    assert len(name) == 16
    assert set(name) <= set("0123456789abcdef")
    machine.arp = machine.arp.replace(ROUTER, OTHER_ROUTER)
    assert machine.read().name not in (None, name)


def test_two_devices_call_one_network_by_two_names(machine):
    machine.interface("wlan0", "wireless")
    machine.route("wlan0")
    machine.neighbour(ROUTER, "wlan0")
    name = machine.read().name
    (machine.sysfs / "wlan0" / "address").write_text("02:00:00:00:00:02\n")
    assert machine.read().name not in (None, name)


def test_a_modem_has_no_router(machine):
    machine.interface("wwan0", kind="519")
    machine.route("wwan0", gateway="00000000")
    assert machine.read().name is not None


def test_the_default_route_of_the_least_metric_that_is_up(machine):
    machine.interface("eth0")
    machine.interface("wlan0", "wireless")
    machine.route("eth0", metric=50, flags="0002")
    machine.route("wlan0", metric=600)
    machine.route("eth0", metric=900)
    assert machine.read().radio == "wifi"


@pytest.mark.parametrize("text", ["", HEADING, "eth0\n", "eth0\t00000000\tzz\t0003\t0\t0\tzz\t00000000\n", "\xff"])
def test_a_machine_that_does_not_tell(tmp_path, text):
    (tmp_path / "route").write_text(text, encoding="latin-1")
    assert read_network(tmp_path, tmp_path) == NOWHERE
    assert read_network(tmp_path / "nowhere", tmp_path) == NOWHERE


# --- what a link says of it ---

CLOUD = Cloud(("10.0.0.1:1",))
HOME, TRAIN = Network("home", "wifi", metered=False), Network("train", "lte", metered=True)


class FakeRemote:
    def __init__(self, link):
        self.link = link

    def close(self):
        pass


class Told:
    """A member of a link on a device that is where `place` says, and what it heard."""

    def __init__(self) -> None:
        self.place: Network | Exception = HOME
        self.heard: list[LinkChanged] = []
        self.member = Member(lambda event, _at_ms: self.heard.append(event), lambda: None)
        self.link = Link.join(CLOUD, FakeRemote, self.member, self.read)

    def read(self) -> Network:
        if isinstance(self.place, Exception):
            raise self.place
        return self.place

    def says(self, event):
        self.link.say(event)
        return self.heard[-1]


@pytest.fixture
def told():
    one = Told()
    yield one
    one.link.leave(one.member)


def at(network: Network) -> LinkChanged:
    return LinkChanged(True, "connected", network.metered, network.radio, network.name)


def test_a_link_says_where_it_is_when_that_changes(told):
    assert told.says(LinkChanged(True, "connected")) == at(HOME)
    assert told.says(LinkChanged(False, "timeout")) == LinkChanged(False, "timeout")
    assert told.says(LinkChanged(True, "connected")) == LinkChanged(True, "connected"), "the application may have said more"
    told.place = TRAIN
    assert told.says(LinkChanged(True, "connected")) == at(TRAIN)


def test_who_joins_later_hears_where_the_link_is_however_much_was_said(told):
    told.says(LinkChanged(True, "connected"))
    told.says(LinkChanged(False, "timeout"))
    told.says(LinkChanged(True, "connected"))
    for _ in range(100):
        told.says(Transferred(1, 1.0))
    heard = []
    late = Member(lambda event, _at_ms: heard.append(event), lambda: None)
    told.link.join(CLOUD, FakeRemote, late)
    told.link.leave(late)
    assert heard[0] == at(HOME)
    assert set(map(type, heard[1:])) == {Transferred}


def test_a_network_that_cannot_be_read_costs_no_link(told, caplog):
    told.place = OSError("no permission")
    assert told.says(LinkChanged(True, "connected")) == LinkChanged(True, "connected")
    assert "the network could not be read" in caplog.text
