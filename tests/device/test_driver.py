"""The driver against a cloud that is a function: who answers first, who fails, who is stopped."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.device.driver import Driver, now_ms
from splitinfer.errors import EngineError, InvalidInput, Reason, Refused, SecurityError, Stopped, Unreachable
from splitinfer.events import Outcome, RequestRefused
from splitinfer.flow import Terms, infer
from splitinfer.payload import Packer
from splitinfer.plan import Plan
from splitinfer.remote import Reply
from tests.bundles import tiny_input

FOREVER_MS = 60_000.0


class Gated:
    """The engine behind a gate; a run that is stopped leaves it."""

    def __init__(self, engine):
        self._engine = engine
        self.model = engine.model
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def hold(self, at, tensors):
        return self._engine.hold(at, tensors)

    def run(self, start, stop, held, stopper=None):
        left = threading.Event()
        if stopper is not None:
            stopper.when_asked(lambda: (left.set(), self.open.set()))
        self.entered.set()
        assert self.open.wait(10)
        if left.is_set():
            raise Stopped("at the gate")
        return self._engine.run(start, stop, held, stopper)


class FakeRemote:
    """Runs the tail when it is let; `answer` may raise instead."""

    def __init__(self, engine, packer, answer=None):
        self._engine, self._packer, self._answer = engine, packer, answer
        self.let = threading.Event()
        self.asked_to_stop = threading.Event()

    def send(self, payload, deadline_at_ms, stopper=None):
        stopper.when_asked(lambda: (self.asked_to_stop.set(), self.let.set()))
        assert self.let.wait(10)
        if self.asked_to_stop.is_set():
            raise Stopped("not needed")
        if self._answer is not None:
            return self._answer(self)
        return self.reply(payload)

    def reply(self, payload):
        held = self._engine.hold(payload.cut, self._packer.unpack(payload))
        outputs = self._engine.run(payload.cut, self._engine.model.n, held).outputs()
        return _reply(self._packer.pack_outputs(outputs))

    def unreadable(self):
        return _reply(replace(self._packer.pack_outputs({}), cut=1))


def _reply(payload):
    return Reply(payload, 0.0, 0.0, 1.0, 1.0, 0.0, None, 2.0, payload.nbytes)


@pytest.fixture
def parts(bundle_path):
    bundle = Bundle.open(bundle_path)
    engine = OrtEngine(bundle)
    return engine, Packer(bundle.model, bundle.tables)


@pytest.fixture
def want(parts):
    engine, _ = parts
    return engine.run(0, engine.model.n, engine.hold(0, tiny_input())).outputs()


def made(parts, answer=None):
    engine, packer = parts
    gated, heard = Gated(engine), []
    remote = FakeRemote(engine, packer, answer)
    return Driver(gated, packer, remote, observe=heard.append), gated, remote, heard


def ask(driver, race_from_ms=None):
    held = driver.engine.hold(0, tiny_input())
    terms = Terms(lambda _payload: now_ms() + FOREVER_MS, lambda _cut: race_from_ms)
    return driver.drive(infer(driver.engine.model, held, lambda _at: Plan(1, "raw"), terms))


def racing():
    """Terms that let the device start on the rest at once."""
    return Terms(lambda _payload: now_ms() + FOREVER_MS, lambda _cut: now_ms())


def raising(error):
    def answer(_remote):
        raise error

    return answer


def same(answer, want):
    assert answer.outputs.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_allclose(answer.outputs[name], array, rtol=1e-5, atol=1e-6)


def test_a_cloud_that_answers_before_the_race_begins(parts, want):
    driver, _, remote, _ = made(parts)
    remote.let.set()
    answer = ask(driver, now_ms() + FOREVER_MS)
    assert answer.outcome is Outcome.REMOTE
    same(answer, want)


def test_a_cloud_that_answers_while_the_device_computes(parts, want):
    driver, gated, remote, _ = made(parts)
    held = driver.run(driver.engine.hold(0, tiny_input()), 1).held
    gated.entered.clear()
    gated.open.clear()
    helper = threading.Thread(target=lambda: gated.entered.wait(10) and remote.let.set())
    helper.start()
    answer = driver.drive(infer(driver.engine.model, held, lambda _at: Plan(1, "raw"), racing()))
    helper.join()
    assert answer.outcome is Outcome.RACED_REMOTE
    assert answer.raced_ms > 0
    same(answer, want)


def test_a_device_that_is_first_stops_the_request(parts, want):
    driver, _, remote, _ = made(parts)
    answer = ask(driver, now_ms())
    assert answer.outcome is Outcome.RACED_LOCAL
    assert remote.asked_to_stop.wait(5)
    same(answer, want)


def test_an_answer_of_the_cloud_does_not_wait_for_the_engine(parts, want):
    """Another request has the engine: the race cannot begin here, and is over when the reply is there."""
    driver, gated, remote, _ = made(parts)
    held = driver.run(driver.engine.hold(0, tiny_input()), 1).held
    gated.entered.clear()
    gated.open.clear()
    other = threading.Thread(target=lambda: driver.run(held, 3))
    other.start()
    assert gated.entered.wait(5)
    threading.Timer(0.05, remote.let.set).start()
    answer = driver.drive(infer(driver.engine.model, held, lambda _at: Plan(1, "raw"), racing()))
    assert other.is_alive()
    gated.open.set()
    other.join()
    assert answer.outcome is Outcome.RACED_REMOTE
    same(answer, want)


@pytest.mark.parametrize("race_from_ms", [None, 0.0, FOREVER_MS], ids=["alone", "raced", "before the race"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raising(Unreachable("gone")), None),
        (raising(Refused("busy", Reason.OVERLOADED)), Reason.OVERLOADED),
        (raising(SecurityError("wrong token")), Reason.UNAUTHENTICATED),
        (lambda remote: remote.unreadable(), Reason.INTERNAL),
    ],
    ids=["gone", "busy", "not let in", "unreadable"],
)
def test_whatever_the_cloud_does_there_is_an_answer(parts, want, answer, reason, race_from_ms):
    driver, _, remote, heard = made(parts, answer)
    remote.let.set()
    given = ask(driver, None if race_from_ms is None else now_ms() + race_from_ms)
    assert given.outcome in (Outcome.RESUMED, Outcome.RACED_LOCAL)
    same(given, want)
    if race_from_ms != 0.0:
        assert heard == ([] if reason is None else [RequestRefused(reason)])


def test_an_engine_that_fails_in_a_race_says_so_and_stops_the_request(parts):
    driver, gated, remote, _ = made(parts)
    held = driver.run(driver.engine.hold(0, tiny_input()), 1).held

    def broken(*_):
        raise EngineError("mine")

    gated.run = broken
    with pytest.raises(EngineError, match="mine"):
        driver.drive(infer(driver.engine.model, held, lambda _at: Plan(1, "raw"), racing()))
    assert remote.asked_to_stop.wait(5)
    del gated.run
    assert driver.run(held, 3).held.at == 3, "the engine is free again"


def test_an_intermediate_tensor_that_cannot_cross_costs_no_answer(parts, want, monkeypatch):
    driver, _, _, _ = made(parts)

    def empty(*_):
        raise InvalidInput("tensor 'a' is empty")

    monkeypatch.setattr(parts[1], "pack", empty)
    answer = ask(driver)
    assert answer.outcome is Outcome.RESUMED
    same(answer, want)


def test_a_closed_driver_races_no_more_but_answers(parts, want):
    driver, _, _, _ = made(parts)
    driver.close()
    answer = ask(driver, now_ms())
    assert answer.outcome is Outcome.RESUMED
    same(answer, want)
