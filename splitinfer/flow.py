"""The way of one request, as a generator of effects.

The flow decides the order of things: which segments run here, where to hand over, what to do when the cloud does not
answer. It performs nothing: a driver carries each effect out and sends back what came of it. The device's driver uses
threads and sockets, a simulator's uses virtual time, and both run this same code. It reads no clock and knows no scheduler:
the plan is a callable that is asked again at every cut (late binding).

    Run* -> Encode -> Send                  the cloud answers
                   -> Race(Send, rest)      the deadline is at risk: both compute, the first answer wins
                   -> Send, no reply -> Run the cloud does not answer: go on from what is held; nothing is computed twice
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from splitinfer.engine import Held
from splitinfer.errors import SplitInferError
from splitinfer.events import Outcome
from splitinfer.model import Model, Tensors
from splitinfer.payload import Payload
from splitinfer.plan import NOTHING, Cost, Plan
from splitinfer.remote import Reply


@dataclass(frozen=True, slots=True)
class Run:
    """Run segments from `held.at` up to cut `stop`. Answered by `Ran`."""

    held: Held
    stop: int


@dataclass(frozen=True, slots=True)
class Encode:
    """Code what is held. Answered by `Encoded`."""

    held: Held
    codec: str


@dataclass(frozen=True, slots=True)
class Send:
    """Hand over, and wait until `patience_until_ms` (None = for ever). Answered by `Sent`."""

    payload: Payload
    patience_until_ms: float | None


@dataclass(frozen=True, slots=True)
class Race:
    """Hand over; if there is no reply by `start_at_ms`, compute `rest` here as well. Answered by `Sent`."""

    send: Send
    rest: Run
    start_at_ms: float


@dataclass(frozen=True, slots=True)
class Ran:
    """What is held now, the wall time it took, and the engine's time of each segment that ran."""

    held: Held
    elapsed_ms: float
    segment_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The payload, or why these tensors cannot cross (an intermediate one is empty, say), and the time it took."""

    payload: Payload | None
    elapsed_ms: float
    error: SplitInferError | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of handing over. Exactly one of `reply`, `ran` and `error` decided.

    Attributes:
        reply: the cloud answered (first).
        outputs: decoded from the reply.
        ran: the device finished first.
        error: neither: the cloud failed, or was not asked, and nothing was computed here meanwhile.
        elapsed_ms: wall time until that was known.
        raced_ms: time the device spent on computing the rest while waiting; 0 where it did not.
    """

    elapsed_ms: float
    reply: Reply | None = None
    outputs: Tensors | None = None
    ran: Ran | None = None
    error: SplitInferError | None = None
    raced_ms: float = 0.0


Effect = Run | Encode | Send | Race
Done = Ran | Encoded | Sent
Flow = Generator[Effect, Done, "Answer"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request is held to; points in time are on the driver's clock.

    Attributes:
        patience_until_ms: payload -> when to give the cloud up, asked when it is ready; None = never.
        race_from_ms: cut -> when the device must start on the rest to be in time; None = do not race.
    """

    patience_until_ms: Callable[[Payload], float | None]
    race_from_ms: Callable[[int], float | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        outputs: of the model, by name.
        plan: what was carried out.
        cost: measured stages; the energy is the driver's to add, it knows the device.
        outcome: how.
        segment_ms: engine time of each segment that ran here; None where it did not.
        raced_ms: device time that a race spent and did not need.
        departed: tensors that another codec than the plan's took over (`Payload.departed`).
    """

    outputs: Tensors
    plan: Plan
    cost: Cost
    outcome: Outcome
    segment_ms: tuple[float | None, ...]
    raced_ms: float = 0.0
    departed: tuple[str, ...] = ()


class _Trail:
    """What one request did so far."""

    def __init__(self, model: Model) -> None:
        self.head_ms = self.encode_ms = self.lost_ms = 0.0
        self.lost_bytes = 0
        self.segment_ms: list[float | None] = [None] * model.n
        self.departed: tuple[str, ...] = ()

    def ran(self, start: int, ran: Ran) -> None:
        self.head_ms += ran.elapsed_ms
        self.segment_ms[start : start + len(ran.segment_ms)] = ran.segment_ms

    def replied(self, reply: Reply, elapsed_ms: float) -> Cost:
        """Splits the network's share of a reply evenly into up and down, but for the sending time, which is all upwards.

        The server's times are its own words: together they are no longer than the wait, which was measured here.
        """
        server_ms = _within(reply.server_ms, elapsed_ms)
        decode_ms = _within(reply.decode_ms, server_ms)
        tail_ms = _within(reply.tail_ms, server_ms - decode_ms)
        network_ms = elapsed_ms - server_ms
        down_ms = min(reply.rtt_ms / 2, network_ms)
        return Cost(
            head_ms=self.head_ms,
            encode_ms=self.encode_ms,
            uplink_ms=network_ms - down_ms,
            queue_ms=server_ms - decode_ms - tail_ms,
            tail_ms=tail_ms,
            downlink_ms=down_ms,
            decode_ms=decode_ms,
            uplink_bytes=reply.uplink_bytes,
        )

    def alone(self) -> Cost:
        """Of a request that the device finished."""
        return Cost(self.head_ms, self.encode_ms, self.lost_ms, uplink_bytes=self.lost_bytes)

    def answer(self, outputs: Tensors, plan: Plan, outcome: Outcome, cost: Cost | None = None, raced_ms: float = 0.0) -> Answer:
        return Answer(outputs, plan, cost or self.alone(), outcome, tuple(self.segment_ms), raced_ms, self.departed)


def infer(model: Model, held: Held, plan: Callable[[int], Plan], terms: Terms) -> Flow:
    """One request.

    Args:
        model: what is run.
        held: the inputs, at cut 0.
        plan: cut -> the plan to follow from there on; its cut is never below the one given.
        terms: deadlines.

    Returns:
        The answer, as the generator's value.

    Raises:
        RemoteError: the cloud did not answer, and this device does not hold the rest.
        SecurityError: the cloud did not accept the credentials, and this device does not hold the rest.
        InvalidInput: what is held cannot cross, and this device does not hold the rest.
    """
    trail = _Trail(model)
    while (chosen := plan(held.at)).cut > held.at:
        held = yield from _run(trail, held, held.at + 1)
    if held.at == model.n:
        return trail.answer(held.outputs(), chosen, Outcome.LOCAL)

    encoded = yield from _encode(trail, held, chosen.codec)
    sent = yield from _hand_over(model, held, encoded, terms)
    if sent.reply is not None and sent.outputs is not None:
        cost = trail.replied(sent.reply, sent.elapsed_ms)
        outcome = Outcome.RACED_REMOTE if sent.raced_ms else Outcome.REMOTE
        return trail.answer({**held.outputs(), **sent.outputs}, chosen, outcome, cost, sent.raced_ms)

    trail.lost_ms = max(sent.elapsed_ms - (sent.ran.elapsed_ms if sent.ran else 0.0), 0.0)
    trail.lost_bytes = encoded.payload.nbytes if encoded.payload else 0
    if sent.ran is not None:
        trail.ran(held.at, sent.ran)
        return trail.answer(sent.ran.held.outputs(), chosen, Outcome.RACED_LOCAL)
    if not model.whole:
        assert sent.error is not None
        raise sent.error
    held = yield from _run(trail, held, model.n)
    return trail.answer(held.outputs(), chosen, Outcome.RESUMED)


def local_plan(model: Model) -> Plan:
    """The plan that never needs the cloud."""
    return Plan(model.n, NOTHING)


def _within(said_ms: float, most_ms: float) -> float:
    """A time that somebody else measured; what is no number counts as 0."""
    return min(said_ms, most_ms) if said_ms > 0.0 else 0.0


def _run(trail: _Trail, held: Held, stop: int) -> Generator[Effect, Done, Held]:
    ran = yield Run(held, stop)
    assert isinstance(ran, Ran)
    trail.ran(held.at, ran)
    return ran.held


def _encode(trail: _Trail, held: Held, codec: str) -> Generator[Effect, Done, Encoded]:
    encoded = yield Encode(held, codec)
    assert isinstance(encoded, Encoded)
    trail.encode_ms = encoded.elapsed_ms
    trail.departed = encoded.payload.departed if encoded.payload else ()
    return encoded


def _hand_over(model: Model, held: Held, encoded: Encoded, terms: Terms) -> Generator[Effect, Done, Sent]:
    if encoded.payload is None:
        return Sent(0.0, error=encoded.error)
    send = Send(encoded.payload, terms.patience_until_ms(encoded.payload))
    start_at_ms = terms.race_from_ms(held.at) if model.whole else None
    sent = yield send if start_at_ms is None else Race(send, Run(held, model.n), start_at_ms)
    assert isinstance(sent, Sent)
    return sent
