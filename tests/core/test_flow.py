"""The way of a request, driven by hand: no thread, no clock, no engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from splitinfer.errors import InvalidInput, Unreachable
from splitinfer.events import Outcome
from splitinfer.flow import Answer, Encode, Encoded, Flow, Race, Ran, Run, Send, Sent, Terms, infer
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.payload import Payload
from splitinfer.plan import NOTHING, Plan
from splitinfer.remote import Reply

DIGEST = Digest("0" * 64)
OUT = {"y": np.ones(1, np.float32)}


def model(n: int = 3, holds: int | None = None) -> Model:
    spec = TensorSpec("t", "float32", (None, 4))
    cuts = tuple(Cut(i, f"id{i}", f"cut{i}", (spec,) if i < n else (), i / n) for i in range(n + 1))
    segments = tuple(Segment(i, "", 0, 1, 1, ("t",), ("t",)) for i in range(n))
    return Model(DIGEST, "m", "1", (spec,), (spec,), cuts, segments, frozenset(range(n if holds is None else holds)))


@dataclass(frozen=True)
class FakeHeld:
    at: int
    path: tuple[int, ...] = ()

    def plain(self):
        return {"t": np.zeros((1, 4), np.float32)}

    def outputs(self):
        return OUT if self.path and self.path[-1] == 3 else {}


@dataclass
class Hand:
    """Performs effects, one canned answer for what is sent, and remembers them."""

    sent: Sent | None = None
    uncodable: bool = False
    effects: list[object] = field(default_factory=list)

    def drive(self, flow: Flow) -> Answer:
        done = None
        while True:
            try:
                effect = flow.send(done)
            except StopIteration as end:
                return end.value
            self.effects.append(effect)
            match effect:
                case Run(held, stop):
                    done = run(held, stop)
                case Encode() if self.uncodable:
                    done = Encoded(None, 1.0, InvalidInput("a tensor is empty"))
                case Encode(held, codec):
                    done = Encoded(Payload(DIGEST, held.at, codec, ()), 1.0)
                case Send() | Race():
                    done = self.sent


def run(held: FakeHeld, stop: int) -> Ran:
    steps = tuple(range(held.at + 1, stop + 1))
    return Ran(FakeHeld(stop, held.path + steps), 10.0 * len(steps), (10.0,) * len(steps))


def reply(**times: float) -> Reply:
    known = {"queue_ms": 0.0, "decode_ms": 1.0, "tail_ms": 5.0, "server_ms": 7.0, "load_queue_ms": 0.0}
    return Reply(Payload(DIGEST, 3, "raw", ()), tail_scale=None, elapsed_ms=40.0, uplink_bytes=99, rtt_ms=20.0, **known | times)


PATIENT = Terms(lambda _payload: 500.0, lambda _cut: None)
HEDGED = Terms(lambda _payload: 500.0, lambda cut: 100.0 + cut)


def kinds(hand: Hand) -> list[str]:
    return [type(effect).__name__ for effect in hand.effects]


def test_a_local_plan_runs_every_segment_and_sends_nothing():
    hand = Hand()
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(3, NOTHING), PATIENT))
    assert kinds(hand) == ["Run", "Run", "Run"]
    assert answer.outcome is Outcome.LOCAL
    assert answer.segment_ms == (10.0, 10.0, 10.0)
    assert answer.cost.head_ms == 30.0
    assert answer.cost.uplink_bytes == 0


def test_a_remote_plan_runs_up_to_its_cut_and_takes_the_reply():
    hand = Hand(Sent(40.0, reply=reply(), outputs=OUT))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), PATIENT))
    assert kinds(hand) == ["Run", "Encode", "Send"]
    assert answer.outcome is Outcome.REMOTE
    assert answer.outputs.keys() == {"y"}
    assert answer.segment_ms == (10.0, None, None)
    assert hand.effects[-1].patience_until_ms == 500.0


def test_the_stages_of_a_reply_add_up_to_the_time_it_took():
    hand = Hand(Sent(40.0, reply=reply(), outputs=OUT))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(0, "raw"), PATIENT))
    cost = answer.cost
    assert cost.uplink_ms + cost.queue_ms + cost.tail_ms + cost.decode_ms + cost.downlink_ms == pytest.approx(40.0)
    assert cost.downlink_ms == 10.0
    assert cost.queue_ms == 1.0


@pytest.mark.parametrize("said", [math.nan, math.inf, -1e9, 0.0, 39.9, 1e300])
@pytest.mark.parametrize("name", ["server_ms", "decode_ms", "tail_ms"])
def test_whatever_a_server_says_the_stages_add_up_to_the_wait_that_was_measured_here(name, said):
    hand = Hand(Sent(40.0, reply=reply(**{name: said}), outputs=OUT))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "raw"), PATIENT))
    assert answer.cost.remote_ms == pytest.approx(40.0)
    assert min(answer.cost.uplink_ms, answer.cost.queue_ms, answer.cost.tail_ms, answer.cost.decode_ms) >= 0.0


def test_the_plan_is_asked_again_at_every_cut():
    plans = {0: Plan(2, "int8"), 1: Plan(1, "half")}
    hand = Hand(Sent(40.0, reply=reply(), outputs=OUT))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda at: plans[at], PATIENT))
    assert answer.plan == Plan(1, "half")
    assert answer.segment_ms == (10.0, None, None)


def test_handing_over_later_than_first_planned():
    plans = {0: Plan(1, "int8"), 1: Plan(3, NOTHING), 2: Plan(3, NOTHING), 3: Plan(3, NOTHING)}
    answer = Hand().drive(infer(model(), FakeHeld(0), lambda at: plans[at], PATIENT))
    assert answer.outcome is Outcome.LOCAL


def test_no_reply_resumes_from_what_is_held_and_computes_nothing_twice():
    hand = Hand(Sent(120.0, error=Unreachable("gone")))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), PATIENT))
    assert answer.outcome is Outcome.RESUMED
    assert answer.segment_ms == (10.0, 10.0, 10.0)
    assert answer.cost.uplink_ms == 120.0
    runs = [(effect.held.at, effect.stop) for effect in hand.effects if isinstance(effect, Run)]
    assert runs == [(0, 1), (1, 3)]


def test_no_reply_is_an_error_where_the_rest_is_not_held():
    hand = Hand(Sent(120.0, error=Unreachable("gone")))
    with pytest.raises(Unreachable):
        hand.drive(infer(model(holds=1), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))
    assert kinds(hand)[-1] == "Send", "a device that cannot finish does not race"


def test_what_cannot_cross_is_finished_here():
    hand = Hand(uncodable=True)
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))
    assert kinds(hand) == ["Run", "Encode", "Run"]
    assert answer.outcome is Outcome.RESUMED
    assert answer.cost.uplink_bytes == 0
    with pytest.raises(InvalidInput, match="empty"):
        hand.drive(infer(model(holds=1), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))


def test_a_hedged_request_races_and_the_cloud_may_win():
    hand = Hand(Sent(40.0, reply=reply(), outputs=OUT, raced_ms=12.0))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))
    race = hand.effects[-1]
    assert isinstance(race, Race)
    assert race.start_at_ms == 101.0
    assert race.rest.stop == 3
    assert answer.outcome is Outcome.RACED_REMOTE
    assert answer.raced_ms == 12.0


def test_the_device_may_win_the_race():
    hand = Hand(Sent(90.0, ran=run(FakeHeld(1, (1,)), 3)))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))
    assert answer.outcome is Outcome.RACED_LOCAL
    assert answer.outputs.keys() == {"y"}
    assert answer.segment_ms == (10.0, 10.0, 10.0)
    assert answer.cost.latency_ms == pytest.approx(10.0 + 1.0 + 90.0)


def test_a_cloud_that_answers_before_the_race_began_is_a_plain_reply():
    hand = Hand(Sent(40.0, reply=reply(), outputs=OUT))
    answer = hand.drive(infer(model(), FakeHeld(0), lambda _at: Plan(1, "int8"), HEDGED))
    assert answer.outcome is Outcome.REMOTE
