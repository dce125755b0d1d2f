"""A connection that several clients share: joining, leaving, and what a late one is told."""

from __future__ import annotations

import threading

import pytest

from splitinfer.device import link as link_module
from splitinfer.device.link import Cloud, Link, Member, _links
from splitinfer.events import LinkChanged
from splitinfer.plan import Uplink

CLOUD = Cloud(("127.0.0.1:1",))
UP, DOWN = LinkChanged(True), LinkChanged(False)


class FakeRemote:
    def __init__(self, link):
        self.observe, self.rate = link.say, link.believed
        self.dear = []
        self.closed = False

    def look(self, dear):
        self.dear.append(dear)

    def close(self):
        self.closed = True


connect = FakeRemote


def member(believed=None, dear=False):
    heard = []
    return heard, Member(lambda event, _at_ms: heard.append(event), lambda: believed, lambda: dear)


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert not _links


def test_a_late_member_hears_what_was_said_before_then_what_is_said():
    heard_early, early = member()
    link = Link.join(CLOUD, connect, early)
    link.remote.observe(DOWN)
    heard_late, late = member()
    assert Link.join(CLOUD, connect, late) is link
    link.remote.observe(UP)
    assert heard_early == heard_late == [DOWN, UP]
    link.leave(early)
    assert not link.remote.closed
    link.leave(late)
    assert link.remote.closed


def test_what_is_said_while_one_joins_comes_after_the_past():
    _, early = member()
    link = Link.join(CLOUD, connect, early)
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

    late = Member(hear, lambda: None)
    Link.join(CLOUD, connect, late)
    speaker.join(5)
    assert told == [UP, DOWN]
    link.leave(late)
    link.leave(early)


def test_who_joins_as_the_last_one_leaves_gets_an_open_connection(monkeypatch):
    """The other one leaves as soon as the table of links is free: earlier it cannot."""
    _, first = member()
    Link.join(CLOUD, connect, first)
    _, second = member()

    class Freed:
        def __enter__(self):
            pass

        def __exit__(self, *_failure):
            monkeypatch.undo()
            _links[CLOUD].leave(first)

    monkeypatch.setattr(link_module, "_links_lock", Freed())
    link = Link.join(CLOUD, connect, second)
    assert not link.remote.closed
    link.leave(second)


def test_the_remote_asks_whoever_believes_something():
    known = Uplink(1e6, 0.1, 20.0)
    _, first = member()
    _, second = member(known)
    link = Link.join(CLOUD, connect, first)
    assert link.remote.rate() is None
    Link.join(CLOUD, connect, second)
    assert link.remote.rate() is known
    link.leave(first)
    link.leave(second)


def test_bytes_are_dear_if_they_are_to_one():
    _, first = member()
    _, second = member(dear=True)
    link = Link.join(CLOUD, connect, first)
    link.look()
    Link.join(CLOUD, connect, second)
    link.look()
    link.leave(second)
    link.look()
    assert link.remote.dear == [False, True, False]
    link.leave(first)


def test_a_cloud_does_not_show_its_token():
    assert "secret" not in repr(Cloud(("a:1",), token="secret"))
