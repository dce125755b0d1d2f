"""A connection that several clients share: joining, leaving, and what a late one is told."""

from __future__ import annotations

import threading

import pytest

from splitinfer.device import link as link_module
from splitinfer.device.link import Cloud, Link, _links
from splitinfer.events import LinkChanged
from splitinfer.plan import Uplink

CLOUD = Cloud(("127.0.0.1:1",))
UP, DOWN = LinkChanged(True), LinkChanged(False)


class FakeRemote:
    def __init__(self, observe, rate):
        self.observe, self.rate = observe, rate
        self.closed = False

    def close(self):
        self.closed = True


def connect(_cloud, observe, rate):
    return FakeRemote(observe, rate)


def member(believed=None):
    heard = []

    def hear(event, _at_ms):
        heard.append(event)

    return heard, hear, lambda: believed


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert not _links


def test_a_late_member_hears_what_was_said_before_then_what_is_said():
    early, hear_early, believed = member()
    link = Link.join(CLOUD, connect, hear_early, believed)
    link.remote.observe(DOWN)
    late, hear_late, believed = member()
    assert Link.join(CLOUD, connect, hear_late, believed) is link
    link.remote.observe(UP)
    assert early == late == [DOWN, UP]
    link.leave(hear_early)
    assert not link.remote.closed
    link.leave(hear_late)
    assert link.remote.closed


def test_what_is_said_while_one_joins_comes_after_the_past():
    _, hear_early, believed = member()
    link = Link.join(CLOUD, connect, hear_early, believed)
    link.remote.observe(UP)
    told, heard = [], threading.Event()
    speaker = threading.Thread(target=link.remote.observe, args=(DOWN,))

    def hear(event, _at_ms):
        if event == UP:
            speaker.start()
            assert not heard.wait(0.05), "the news overtook the past"
        told.append(event)
        if event == DOWN:
            heard.set()

    Link.join(CLOUD, connect, hear, believed)
    speaker.join(5)
    assert told == [UP, DOWN]
    link.leave(hear)
    link.leave(hear_early)


def test_who_joins_as_the_last_one_leaves_gets_an_open_connection(monkeypatch):
    """The other one leaves as soon as the table of links is free: earlier it cannot."""
    _, hear_first, believed = member()
    Link.join(CLOUD, connect, hear_first, believed)
    _, hear_second, believed = member()

    class Freed:
        def __enter__(self):
            pass

        def __exit__(self, *_failure):
            monkeypatch.undo()
            _links[CLOUD].leave(hear_first)

    monkeypatch.setattr(link_module, "_links_lock", Freed())
    second = Link.join(CLOUD, connect, hear_second, believed)
    assert not second.remote.closed
    second.leave(hear_second)


def test_the_remote_asks_whoever_believes_something():
    known = Uplink(1e6, 0.1, 20.0)
    _, hear_first, unknown = member()
    _, hear_second, believed = member(known)
    link = Link.join(CLOUD, connect, hear_first, unknown)
    assert link.remote.rate() is None
    Link.join(CLOUD, connect, hear_second, believed)
    assert link.remote.rate() is known
    link.leave(hear_first)
    link.leave(hear_second)


def test_a_cloud_does_not_show_its_token():
    assert "secret" not in repr(Cloud(("a:1",), token="secret"))
