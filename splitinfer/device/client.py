"""The one object an application holds: inputs in, outputs out, wherever they are computed.

It wires the parts together (engine, driver, scheduler, link, observers) and translates between the application's words and
theirs. What is decided is decided in the scheduler; what is done is done by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor
from pathlib import Path
from secrets import randbits
from types import TracebackType

from splitinfer.backends.grpc_remote import GrpcRemote, is_local
from splitinfer.backends.network import NOWHERE
from splitinfer.backends.ort import OrtEngine
from splitinfer.backends.prometheus import Metrics
from splitinfer.bundle import Bundle
from splitinfer.codec import codec_of_file
from splitinfer.device.driver import Driver, now_ms
from splitinfer.device.feed import Feed
from splitinfer.device.lasting import lasting_until
from splitinfer.device.link import Cloud, Link, Member
from splitinfer.device.pipeline import in_order
from splitinfer.device.planning import Planning
from splitinfer.device.profiler import measure
from splitinfer.device.remembered import Remembered, recall
from splitinfer.device.settings import Settings
from splitinfer.device.slowed import Slowed
from splitinfer.energy import Power
from splitinfer.engine import Engine
from splitinfer.errors import CodecError, InvalidInput, Refused, RemoteError, SecurityError
from splitinfer.events import (
    BudgetSet,
    Event,
    Failed,
    Inferred,
    LinkChanged,
    ModelReady,
    Observer,
    Outcome,
    Recorded,
    Requested,
)
from splitinfer.flow import Answer, infer
from splitinfer.model import Array, Model, Tensors
from splitinfer.payload import Packer, Payload
from splitinfer.plan import ASSUMED_UPLINK, Budget, Conditions, Cost, Plan, Scorecard, Uplink
from splitinfer.policy import Policy, policy
from splitinfer.recording import Journal, Start
from splitinfer.remote import Remote, Tls
from splitinfer.scheduler import PROBE_TAIL_MAX_MS
from splitinfer.terms import Request

Inputs = Mapping[str, Array | bytes]
"""Input name -> array. An image input may be the bytes of a JPEG, PNG, WebP or AVIF file of the model's size."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one request.

    Attributes:
        outputs: of the model, by name.
        plan: what was carried out.
        cost: measured times and bytes; the energy is modelled.
        outcome: who computed it, and why.
    """

    outputs: Tensors
    plan: Plan
    cost: Cost
    outcome: Outcome


class Client:
    """Runs a model on this device and in the cloud. Thread-safe. Close it, or use it as a context manager."""

    def __init__(
        self,
        bundle: Bundle | Path | str,
        cloud: str | Sequence[str] | None = None,
        *,
        tls: Tls | None = None,
        token: str | None = None,
        budget: Budget | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Opens a bundle, profiles its segments (each runs a few times), starts to connect. A cloud that is down is no error.

        Args:
            bundle: a folder that `splitinfer build` made.
            cloud: HOST:PORT of one replica or several; None = this device only.
            tls: certificates; needed for addresses other than loopback.
            token: bearer token.
            budget: what requests may spend.
            settings: how the device behaves.

        Raises:
            ModelError: the bundle cannot be used.
            SecurityError: the cloud would be spoken to in plaintext.
            NoFeasiblePlan: the budget excludes every plan.
            ValueError: an address or the name of a policy cannot be read.
        """
        self.settings = settings or Settings()
        self._bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle), verify=self.settings.verify)
        self._metrics: Metrics | None = None
        self._link: Link | None = None
        self._packer = Packer(self.model, self._bundle.tables)
        rule = _rule(self.settings)
        start = _begin(self.settings, rule, budget or Budget())
        self._feed = Feed(start.began_at_ms)
        self._planning = Planning(start.scheduler(rule), self._feed)
        addresses = (cloud,) if isinstance(cloud, str) else tuple(cloud or ())
        with ExitStack() as stack:
            self._observe(stack, start)
            self._driver = self._start(stack, Cloud(addresses, tls, token, self.settings.insecure) if addresses else None)
            self._cleanup = stack.pop_all()

    @property
    def model(self) -> Model:
        """What is run."""
        return self._bundle.model

    @property
    def plan(self) -> Plan:
        """What the next request would do."""
        return self._planning.plan_from(0)

    @property
    def conditions(self) -> Conditions:
        """What is believed of the link, the cloud and the battery."""
        return self._planning.scheduler.conditions

    def predicted(self, plan: Plan | None = None) -> Cost:
        """What a request would cost now, at the median of what is believed of the link.

        Args:
            plan: None = the one that the next request would follow.

        Raises:
            ValueError: this model has no such plan.
        """
        return self._planning.scheduler.predicted(plan or self.plan)

    @property
    def metrics_port(self) -> int | None:
        """Where metrics are served on loopback; None = nowhere."""
        return None if self._metrics is None else self._metrics.port

    @property
    def fallback(self) -> bool:
        """Whether an answer comes without the cloud: this device holds all segments."""
        return self.model.whole

    def infer(self, inputs: Inputs, budget: Budget | None = None) -> Result:
        """One request.

        Args:
            inputs: see `Inputs`; dtypes and shapes as `model.inputs` says.
            budget: for this request only; None = the client's.

        Raises:
            InvalidInput: the inputs do not fit the model.
            RemoteError: the cloud did not answer in time, and this device does not hold the whole model.
            SecurityError: the cloud did not accept the credentials, and this device does not hold the whole model.
            NoFeasiblePlan: `budget` excludes every plan.
        """
        began_ms = now_ms()
        spend = budget or self._planning.scheduler.budget
        request = Request(began_ms, spend, self.fallback, self._planning.scheduler, now_ms)
        tensors, brought = self._taken(inputs)
        self._planning.hear(Requested())
        self._look()
        seen = self.conditions
        followed: list[Plan] = []

        def plan(cut: int) -> Plan:
            followed.append(self._planning.plan_from(cut, budget))
            return followed[-1]

        flow = infer(self.model, self._driver.engine.hold(0, tensors), plan, request.terms())
        try:
            answer = self._driver.drive(flow, brought)
        except (RemoteError, SecurityError) as error:
            outcome = Outcome.REFUSED if isinstance(error, Refused | SecurityError) else Outcome.EXPIRED
            self._planning.hear(Failed(followed[-1], outcome, str(error)))
            raise
        return self._finish(answer, request, seen)

    def stream(self, source: Iterable[Inputs], trigger: Callable[[Inputs], bool] | None = None) -> Iterator[Result]:
        """Many requests, two in flight; results in the order of the inputs.

        Args:
            source: inputs.
            trigger: says which inputs are worth inferring; the others cost nothing and yield nothing.
        """
        return in_order(source, self.infer, trigger)

    def events(self) -> Iterator[Recorded]:
        """Events from the first call of `next` on, until the client is closed. A reader that is too slow misses some."""
        listener = self._feed.listen()
        try:
            yield from listener
        finally:
            self._feed.unlisten(listener)

    def subscribe(self, observer: Observer) -> None:
        """Calls `observer` for every event from now on, in a thread of its own."""
        self._feed.subscribe(observer)

    def tell(self, event: Event) -> None:
        """Says something that the application knows first: `PowerRead`, or `LinkChanged` when the phone changes networks.

        What is said of the network (`radio`, `metered`) stands until `Settings.read_network` says that it is another one.
        """
        self._planning.hear(event)
        if isinstance(event, LinkChanged):
            self._look()

    def set_budget(self, budget: Budget) -> None:
        """Changes what requests may spend from now on.

        Raises:
            NoFeasiblePlan: it excludes every plan; the old budget stays.
        """
        self._planning.hear(BudgetSet(budget))

    def last_until(self, until: datetime) -> None:
        """Spends the battery so that it lasts until then; otherwise the budget stays as it is.

        Args:
            until: "18:00" is `datetime.now().replace(hour=18, minute=0)`. Without a time zone it is local time.

        Raises:
            ValueError: it is past.
        """
        self.set_budget(lasting_until(self._planning.scheduler.budget, until))

    def close(self) -> None:
        """Ends threads and connection. Requests in flight fail or finish here."""
        self._cleanup.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _observe(self, stack: ExitStack, start: Start) -> None:
        settings = self.settings
        journal: Journal | None = None
        if settings.events_file is not None:
            journal = Journal(settings.events_file, start)
            stack.callback(journal.close)
        if settings.metrics_port is not None:
            self._metrics = Metrics("device", settings.metrics_port)
            stack.callback(self._metrics.close)
        remembered = self._remembered(stack, start)
        stack.callback(self._feed.close)  # before those three: it lets them finish
        if journal is not None:
            self._feed.record(journal.write)
        ours = (observer for observer in (self._metrics, remembered) if observer is not None)
        for observer in (*ours, *settings.observers):
            self._feed.subscribe(observer)

    def _remembered(self, stack: ExitStack, start: Start) -> Remembered | None:
        if self.settings.state_file is None:
            return None
        remembered = Remembered(self.settings.state_file, self._planning.priors, now_ms, start.priors)
        stack.callback(remembered.write)
        return remembered

    def _start(self, stack: ExitStack, cloud: Cloud | None) -> Driver:
        engine = _engine(self._bundle, self.settings)
        if cloud is None:
            self._planning.hear(LinkChanged(up=False, cause="no cloud was given"))
        profile = measure(engine, self._bundle.profile, now_ms, self._planning.scheduler.budget.memory_bytes)
        scorecard = self._bundle.scorecard or Scorecard(self.model.digest, {})
        self._planning.hear(ModelReady(self.model, profile, scorecard))
        remote: Remote | None = None
        if cloud is not None:
            self._link = self._join(stack, cloud)
            self._look()
            remote = self._link.remote
        driver = Driver(engine, self._packer, remote, observe=self._planning.hear, slowdown=self.settings.slowdown)
        stack.callback(driver.close)
        self._planning.start(driver.probe, self.settings.read_power, self.settings.power_every_ms)
        stack.callback(self._planning.close)
        return driver

    def _join(self, stack: ExitStack, cloud: Cloud) -> Link:
        power = self.settings.power
        member = Member(self._heard, lambda: self.conditions.uplink, lambda: _is_dear(self.conditions, power))
        here = all(is_local(address) for address in cloud.addresses)
        link = Link.join(cloud, _connect, member, (lambda: NOWHERE) if here else self.settings.read_network)
        stack.callback(link.leave, member)
        return link

    def _heard(self, event: Event, at_ms: float) -> None:
        """Of the link, which may be on a network that is dear now."""
        self._planning.hear(event, at_ms)
        if isinstance(event, LinkChanged):
            self._look()

    def _look(self) -> None:
        if self._link is not None:
            self._link.look()

    def _taken(self, inputs: Inputs) -> tuple[Tensors, Callable[[Plan], Payload | None]]:
        """The tensors, and the payload for cut 0 if the application brought an encoded image."""
        files = {name: value for name, value in inputs.items() if isinstance(value, bytes)}
        arrays = {name: value for name, value in inputs.items() if not isinstance(value, bytes)}
        if not files:
            self.model.check_inputs(arrays)
            return arrays, lambda _plan: None
        image = self.model.image_input
        if image is None or files.keys() != {image} or arrays:
            raise InvalidInput(f"only the input of a model of one image may be the bytes of a file, got {sorted(files)}")
        try:
            payload = self._packer.pack_encoded(files[image], codec_of_file(files[image]).id)
            tensors = self._packer.unpack(payload)
        except CodecError as error:
            raise InvalidInput(f"input {image!r}: {error}") from error
        return tensors, lambda plan: payload if plan.cut == 0 else None

    def _finish(self, answer: Answer, request: Request, seen: Conditions) -> Result:
        """Tells what it took. `seen` is from before anything was sent: by now the radio is awake in any case."""
        computed_ms = sum(ms or 0.0 for ms in answer.segment_ms) + answer.cost.encode_ms + answer.raced_ms
        sent_ms = _sent_ms(answer, self.conditions.uplink)
        nbytes = answer.cost.uplink_bytes
        energy_mj = self.settings.power.energy_mj(computed_ms, sent_ms, nbytes, seen.radio, seen.radio_idle_ms)
        cost, late = replace(answer.cost, energy_mj=energy_mj), request.late()
        self._planning.hear(
            Inferred(answer.plan, cost, answer.outcome, answer.segment_ms, late, answer.departed, answer.raced_ms)
        )
        return Result(answer.outputs, answer.plan, cost, answer.outcome)


def _sent_ms(answer: Answer, uplink: Uplink | None) -> float:
    """The radio's time: the way up less the delay. Where no reply came, what the bytes should take: the rest was waiting."""
    cost, link = answer.cost, uplink or ASSUMED_UPLINK
    if answer.outcome in (Outcome.REMOTE, Outcome.RACED_REMOTE):
        return max(cost.uplink_ms - link.rtt_ms / 2, 0.0)
    return min(cost.uplink_ms, 8e3 * cost.uplink_bytes / link.rate_bps)


def _is_dear(seen: Conditions, power: Power) -> bool:
    """Whether nothing may be sent but requests: the user pays, or the radio stays awake for long after each byte."""
    return bool(seen.metered) or power.radio(seen.radio).tail_ms > PROBE_TAIL_MAX_MS


def _begin(settings: Settings, rule: Policy, budget: Budget) -> Start:
    priors = {} if settings.state_file is None else recall(settings.state_file)
    seed = randbits(63) if settings.seed is None else settings.seed
    return Start(rule.name, seed, budget, settings.power, priors, began_at_ms=float(floor(now_ms())))


def _rule(settings: Settings) -> Policy:
    return policy(settings.policy) if isinstance(settings.policy, str) else settings.policy


def _engine(bundle: Bundle, settings: Settings) -> Engine:
    engine = OrtEngine(bundle, threads=settings.threads)
    return engine if settings.slowdown == 1 else Slowed(engine, settings.slowdown)


def _connect(link: Link) -> Remote:
    cloud = link.cloud
    return GrpcRemote(
        cloud.addresses,
        tls=cloud.tls,
        token=cloud.token,
        insecure=cloud.insecure,
        observe=link.say,
        rate=link.believed,
    )
