"""Devices that hold the model and devices that hold only its head, in all the trouble that a cloud can be in.

With the whole bundle an answer always comes. With the head alone a typed error comes by the deadline.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from splitinfer.bundle import Bundle, trim
from splitinfer.device import Client, Settings
from splitinfer.errors import NoFeasiblePlan, Reason, Refused, RemoteError
from splitinfer.events import Failed, LinkChanged, Outcome, PowerRead
from splitinfer.plan import Budget, Plan, Profile
from tests.bundles import tiny_bundle, tiny_input
from tests.cloud_double import CloudDouble, Wire

DEADLINE_MS = 500.0
GRACE_MS = 500.0
"""For threads of a busy machine to wake up."""
MB = 1_000_000


def static(cut: int) -> Settings:
    return Settings(policy=f"static:{cut}/raw", read_power=lambda: PowerRead(None))


@pytest.fixture(scope="module")
def answer(bundle_path):
    with Client(bundle_path) as client:
        return client.infer(tiny_input()).outputs


@pytest.fixture(scope="module")
def heads(bundle_path, tmp_path_factory):
    """Number of segments -> a bundle that holds so many."""
    folder, whole = tmp_path_factory.mktemp("heads"), Bundle.open(bundle_path)
    return {kept: trim(whole, folder / str(kept), kept).path for kept in (1, 2)}


def connected(client: Client) -> None:
    until_s = time.monotonic() + 10
    while not client.conditions.link_up:
        assert time.monotonic() < until_s, "no connection"
        time.sleep(0.001)


# Trouble: each gives an address, and whether a device gets a connection at first.


@contextmanager
def nobody_there() -> Iterator[tuple[str, bool]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        yield f"127.0.0.1:{taken.getsockname()[1]}", False


@contextmanager
def says_nothing() -> Iterator[tuple[str, bool]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", False


@contextmanager
def refuses() -> Iterator[tuple[str, bool]]:
    def say_no(_request):
        raise Refused("too much to do", Reason.OVERLOADED)

    with CloudDouble() as cloud:
        cloud.answer = say_no
        yield cloud.address, True


@contextmanager
def never_done() -> Iterator[tuple[str, bool]]:
    with CloudDouble() as cloud:
        cloud.open.clear()
        yield cloud.address, True


@contextmanager
def behind_a_thin_wire() -> Iterator[tuple[str, bool]]:
    with CloudDouble() as cloud, Wire(cloud.port, uplink_bps=20_000) as link:
        yield link.address, True


@contextmanager
def dies_in_the_middle() -> Iterator[tuple[str, bool]]:
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        cloud.open.clear()
        over = threading.Event()

        def kill() -> None:
            while cloud.requests == 0 and not over.wait(0.005):
                pass
            link.cut()

        killer = threading.Thread(target=kill)
        killer.start()
        yield link.address, True
        over.set()
        killer.join()


@contextmanager
def swallows_everything() -> Iterator[tuple[str, bool]]:
    with CloudDouble() as cloud, Wire(cloud.port) as link:
        link.swallow.set()
        yield link.address, False


TROUBLE = pytest.mark.parametrize(
    "trouble",
    [nobody_there, says_nothing, refuses, never_done, behind_a_thin_wire, dies_in_the_middle, swallows_everything],
    ids=lambda trouble: trouble.__name__,
)


@TROUBLE
def test_with_the_whole_bundle_an_answer_comes(bundle_path, answer, trouble):
    with trouble() as (address, connects), Client(bundle_path, address, settings=static(1)) as client:
        assert client.fallback
        if connects:
            connected(client)
        result = client.infer(tiny_input())
    assert result.outcome in (Outcome.RESUMED, Outcome.LOCAL)
    for name, array in answer.items():
        np.testing.assert_allclose(result.outputs[name], array, rtol=1e-5, atol=1e-6)


@TROUBLE
@pytest.mark.parametrize("cut", [0, 1])
def test_with_the_head_alone_a_typed_error_comes_by_the_deadline(heads, trouble, cut):
    heard: list[Failed] = []
    settings = replace(static(cut), observers=(lambda event: heard.append(event) if isinstance(event, Failed) else None,))
    with ExitStack() as stack:
        address, connects = stack.enter_context(trouble())
        client = stack.enter_context(Client(heads[1], address, budget=Budget(latency_ms=DEADLINE_MS), settings=settings))
        assert not client.fallback
        if connects:
            connected(client)
        began_s = time.monotonic()
        with pytest.raises(RemoteError) as failed:
            client.infer(tiny_input())
        took_ms = (time.monotonic() - began_s) * 1e3
    assert took_ms < DEADLINE_MS + GRACE_MS
    assert [event.outcome for event in heard] == [Outcome.REFUSED if isinstance(failed.value, Refused) else Outcome.EXPIRED]


@TROUBLE
def test_without_a_deadline_the_error_comes_all_the_same(heads, trouble):
    with trouble() as (address, connects), Client(heads[1], address, settings=static(1)) as client:
        if connects:
            connected(client)
        with pytest.raises(RemoteError):
            client.infer(tiny_input())


def test_without_any_cloud_the_head_alone_says_so(heads):
    with Client(heads[1]) as client, pytest.raises(RemoteError, match="without a cloud"):
        client.infer(tiny_input())


# What a device with a part of the model does.


@pytest.mark.parametrize(("kept", "cut"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_head_here_and_the_whole_there_give_the_answer_of_the_whole(cloud, tiny, bundle_path, heads, kept, cut, batch):
    inputs = tiny_input(batch)
    with Client(bundle_path) as alone, Client(heads[kept], cloud.start(tiny).address, settings=static(cut)) as client:
        connected(client)
        result, want = client.infer(inputs), alone.infer(inputs).outputs
    assert (result.outcome, result.plan) == (Outcome.REMOTE, Plan(cut, "raw"))
    for name, array in want.items():
        np.testing.assert_allclose(result.outputs[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kept", [1, 2])
def test_whatever_the_link_nothing_is_chosen_that_is_not_held(cloud, tiny, heads, kept):
    with Client(heads[kept], cloud.start(tiny).address, settings=Settings(read_power=lambda: PowerRead(None))) as client:
        connected(client)
        for event in (LinkChanged(False), PowerRead(0.03, False), LinkChanged(True), PowerRead(None), LinkChanged(False)):
            client.tell(event)
            assert client.plan.cut <= kept
            assert all(client._planning.plan_from(cut).cut in range(cut, kept + 1) for cut in range(kept + 1))


def test_a_fixed_plan_that_is_not_held_is_refused_with_the_reason(heads):
    with pytest.raises(NoFeasiblePlan, match="segment 1 is not held here"):
        Client(heads[1], settings=static(2))
    with pytest.raises(NoFeasiblePlan, match=r"segments 1\.\.2 are not held here"):
        Client(heads[1], settings=Settings(policy="static:3/none"))


# Memory.


@pytest.fixture
def heavy(tmp_path):
    """A whole bundle whose last segment takes 50 MB, says its profile."""
    bundle = tiny_bundle(tmp_path / "heavy")
    peaks = (0, MB, 2 * MB, 50 * MB)
    bundle.save_profile(Profile(bundle.digest, "desk", "x", (1.0, 1.0, 1.0), tail_ms=(3.0, 2.0, 1.0, 0.0), peak_bytes=peaks))
    return bundle.path


LIGHT = Budget(memory_bytes=40 * MB)


def test_a_plan_that_needs_too_much_memory_is_not_chosen_however_bad_the_link(cloud, tiny, heavy):
    with Client(heavy, cloud.start(tiny).address, budget=LIGHT) as client:
        connected(client)
        client.tell(LinkChanged(False))
        assert client.plan.cut < 3
        with pytest.raises(NoFeasiblePlan, match="needs 50 MB of memory, the budget has 40 MB"):
            client.infer(tiny_input(), budget=replace(LIGHT, depth_min=1.0))
        client.set_budget(Budget())
        assert client.plan == Plan(3, "none")


def test_what_takes_too_much_memory_is_not_even_loaded(heavy):
    for budget, loaded in ((LIGHT, {(0, 1), (1, 2)}), (Budget(), {(0, 1), (1, 2), (2, 3)})):
        with Client(heavy, budget=budget) as client:
            assert client._driver.engine._ranges.keys() == loaded


def test_an_answer_counts_more_than_memory(heavy, answer):
    with nobody_there() as (address, _), Client(heavy, address, budget=LIGHT, settings=static(1)) as client:
        result = client.infer(tiny_input())
    assert (result.outcome, result.plan.cut) == (Outcome.RESUMED, 1)
    np.testing.assert_allclose(result.outputs["logits"], answer["logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("budget", "outcome"), [(Budget(), Outcome.RACED_LOCAL), (LIGHT, Outcome.RESUMED)])
def test_what_may_not_be_chosen_is_not_raced(heavy, budget, outcome):
    with never_done() as (address, _):
        hurried = replace(budget, latency_ms=50, hedge_max_share=1.0)
        with Client(heavy, address, budget=hurried, settings=static(1)) as client:
            connected(client)
            assert client.infer(tiny_input()).outcome is outcome
