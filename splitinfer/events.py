"""What happens, as values: the closed union of events, and who may hear them.

Events are API: an application reads them as they come, as JSON Lines on disk, or in metrics. They are facts in the past tense;
nobody reacts to an event inside the code that says it. Numbering and time stamps are the log's (`Recorded`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

from splitinfer.model import Digest, Model
from splitinfer.plan import Budget, Cost, Plan, Profile, Scorecard


class Outcome(StrEnum):
    """How a request ended."""

    LOCAL = "local"
    """The plan was to compute everything here."""
    REMOTE = "remote"
    """The cloud answered."""
    RACED_LOCAL = "raced_local"
    """Both were asked; the device was first."""
    RACED_REMOTE = "raced_remote"
    """Both were asked; the cloud was first."""
    RESUMED = "resumed"
    """The cloud did not answer, or could not be asked; the device went on from what it held."""
    EXPIRED = "expired"
    """No answer by the deadline (only where the device cannot finish alone)."""
    REFUSED = "refused"
    """The cloud said no (only where the device cannot finish alone)."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The application asked. What was known a while ago is known less well now: the plan is looked at again."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """A request was answered.

    Attributes:
        plan: what was carried out (late binding may differ from what was chosen at the start).
        cost: measured.
        outcome: how.
        segment_ms: device time of each segment that ran here; None where it did not.
        late: the answer came after the budget's latency.
        departed: tensors that another codec took over, because the plan's could not code their values: not finite, or unlike
            the samples.
        raced_ms: device time that a race spent and did not need.
    """

    plan: Plan
    cost: Cost
    outcome: Outcome
    segment_ms: tuple[float | None, ...] = ()
    late: bool = False
    departed: tuple[str, ...] = ()
    raced_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A request ended without an answer."""

    plan: Plan
    outcome: Outcome
    error: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """Bytes went up.

    Attributes:
        nbytes: acknowledged by the other side.
        elapsed_ms: from the first byte sent to the reply, less the server's own time: one-way delay, sending, reply.
        complete: False = it was broken off; `nbytes` then is what is known to have arrived (a bound, not a sample).
        first: the first on a fresh connection (slow start and handshake are in it).
        attempted_bytes: what was to be sent, where it was broken off; None = unknown.
        rtt_ms: the shortest round trip that the kernel has seen on this connection; None = it does not tell.
    """

    nbytes: int
    elapsed_ms: float
    complete: bool = True
    first: bool = False
    attempted_bytes: int | None = None
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The connection came up or went down, or the network became another one.

    Attributes:
        up: whether it can be used.
        cause: for people ("connected", "timeout", "network changed").
        metered: None = as before.
        radio: kind of link, as `Power.radios` names it ("wifi", "lte"); None = as before.
        network: which one it is, in words that mean nothing to others (a hash of the access point's or the operator's name), so
            that what was learnt of it is remembered; None = as before.
    """

    up: bool
    cause: str = ""
    metered: bool | None = None
    radio: str | None = None
    network: str | None = None


@dataclass(frozen=True, slots=True)
class PowerRead:
    """The battery was read. `battery` 0..1, None = mains."""

    battery: float | None
    charging: bool | None = None


@dataclass(frozen=True, slots=True)
class LoadReported:
    """The cloud said how busy it is. `tail_scale` None = it does not know yet."""

    queue_ms: float
    tail_scale: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetSet:
    """The application changed what may be spent."""

    budget: Budget


@dataclass(frozen=True)
class ModelReady:
    """A model was loaded and profiled; from now on there is a table of plans."""

    model: Model
    profile: Profile
    scorecard: Scorecard

    @property
    def digest(self) -> Digest:
        """Of the bundle."""
        return self.model.digest


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """The scheduler chose another plan.

    Attributes:
        old: None = the first one.
        new: from now on.
        cause: "start", "link", "battery", "load", "budget", "profile", "explore", "drift".
        reason: for people.
    """

    old: Plan | None
    new: Plan
    cause: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InputsDrifted:
    """One request after the other has tensors that the plan's codec cannot code: inputs are unlike the samples of the build.

    For a while lossy plans give way to lossless ones, where there are such; then they are tried again.

    Attributes:
        plan: whose codec it was.
        tensors: names, of the last request.
    """

    plan: Plan
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """The scheduler wants to know the link better: somebody should send `nbytes`."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Served:
    """The cloud answered a request (said by the tails, not by a device)."""

    digest: Digest
    cut: int
    codec: str
    queue_ms: float
    decode_ms: float
    tail_ms: float
    received_bytes: int


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The cloud said no (said by the tails, and by a device that hears it). `reason` is a `errors.Reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Woken:
    """A time came that the scheduler had asked for: what it had put off is due."""


Event = (
    Requested
    | Inferred
    | Failed
    | Transferred
    | LinkChanged
    | PowerRead
    | LoadReported
    | BudgetSet
    | ModelReady
    | PlanChanged
    | InputsDrifted
    | ProbeDue
    | Served
    | RequestRefused
    | Woken
)

Observer = Callable[[Event], None]
"""Hears events. Called one at a time; what it raises is logged and counted, never passed on."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the log: sequence number and milliseconds since the log began."""

    seq: int
    at_ms: float
    event: Event


EVENT_VERSION = 1
"""Of the JSON form: raised when a field changes its meaning; new fields do not raise it."""


def as_json(recorded: Recorded) -> dict[str, object]:
    """An event as a JSON object: type, version, seq, at_ms and its fields; None = unknown.

    A model is its digest and labels, a profile and a scorecard are the number of plans they hold.
    """
    event = recorded.event
    head = {"type": type(event).__name__, "version": EVENT_VERSION, "seq": recorded.seq, "at_ms": round(recorded.at_ms, 3)}
    return head | {f.name: _plain(getattr(event, f.name)) for f in fields(event)}


def _plain(value: object) -> object:
    match value:
        case Model():
            return {"digest": value.digest, "name": value.name, "version": value.version}
        case Profile():
            return {
                "device": value.device,
                "engine": value.engine,
                "segment_ms": list(value.segment_ms),
                "peak_bytes": list(value.peak_bytes),
                "source": value.source,
            }
        case Scorecard():
            return {"metric": value.metric, "plans": len(value.scores)}
        case Cost():
            return _fields(value) | {"latency_ms": value.latency_ms}
        case tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return _fields(value)
    return value


def _fields(value: object) -> dict[str, object]:
    assert is_dataclass(value)
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
