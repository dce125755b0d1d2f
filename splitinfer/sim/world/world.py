"""One run in virtual time: a setting and a seed in, what became of every request out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from splitinfer.draw import exponential, uniform
from splitinfer.energy import RADIOS
from splitinfer.events import BudgetSet, Event
from splitinfer.plan import Budget, objection
from splitinfer.policy import policy
from splitinfer.scheduler import Scheduler
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world.agenda import Agenda
from splitinfer.sim.world.cloud import Cloud, CloudSetting
from splitinfer.sim.world.device import Around, Charge, Device
from splitinfer.sim.world.held import Finished
from splitinfer.sim.world.link import Uplink
from splitinfer.sim.world.oracle import Oracle
from splitinfer.sim.world.workload import Workload

ORACLE = "oracle"
GAUGE_EVERY_MS = 30_000.0
_START, _GAP = 21, 22


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        workload: model, device and cloud as figures.
        trace: the link.
        radio: its kind.
        policy: by name, or "oracle".
        budget: of the application.
        requests: how many.
        rate_hz: of requests, whose times are drawn beforehand (a Poisson process); one that comes before the last answer waits
            for it.
        cloud: how it behaves.
        devices: that share it, each on the same trace from a moment of its own.
        charge: makes the battery of a device; None = mains.
        from_ms: where in the trace it begins; None = drawn.
        regular: requests come evenly instead.
    """

    workload: Workload
    trace: LinkTrace
    radio: str = "wifi"
    policy: str = "thompson"
    budget: Budget = field(default_factory=Budget)
    requests: int = 200
    rate_hz: float = 1.0
    cloud: CloudSetting = field(default_factory=CloudSetting)
    devices: int = 1
    charge: Callable[[], Charge] | None = None
    from_ms: float | None = None
    regular: bool = False


@dataclass(frozen=True)
class Run:
    """What became of a run.

    Attributes:
        finished: requests of the first device, in order.
        switches: changes of its plan.
        energy_mj: that it spent, idle draw apart.
        sent_bytes: that left it.
        ended_ms: virtual time.
    """

    finished: tuple[Finished, ...]
    switches: int
    energy_mj: float
    sent_bytes: int
    ended_ms: float


Tell = Callable[[Event, float], None]


def starts_at_ms(trace: LinkTrace, seed: int) -> float:
    """Where in its trace a run of this seed begins."""
    return uniform(seed, _START) * trace.duration_ms


def simulate(setting: Setting, seed: int, tell: Tell | None = None) -> Run:
    """Runs a world until the first device has its answers.

    Raises:
        SimulationError: nothing is left to happen before that.
    """
    if setting.policy == ORACLE:
        runs = {patient: _simulated(setting, seed, None, patient) for patient in (False, True)}
        better = min(runs, key=lambda patient: sum(finished.latency_ms for finished in runs[patient].finished))
        return runs[better] if tell is None else _simulated(setting, seed, tell, better)
    return _simulated(setting, seed, tell)


def _simulated(setting: Setting, seed: int, tell: Tell | None, patient: bool = False) -> Run:
    agenda, cloud = Agenda(), Cloud(setting.cloud, seed)
    riders = [
        _Rider(setting, agenda, cloud, seed + 1000 * index, tell if index == 0 else None) for index in range(setting.devices)
    ]
    first = riders[0]
    for rider in riders:
        rider.start(patient)
    agenda.run(lambda: len(first.finished) >= setting.requests or first.flat)
    device = first.device
    return Run(tuple(first.finished), device.switches, device.energy_mj, device.link.sent_bytes, agenda.now_ms)


class _Rider:
    """A device and who asks it."""

    def __init__(self, setting: Setting, agenda: Agenda, cloud: Cloud, seed: int, tell: Tell | None) -> None:
        self._setting = setting
        self._agenda = agenda
        self._seed = seed
        self.finished: list[Finished] = []
        self._due_ms = 0.0
        radio = RADIOS[setting.radio]
        from_ms = starts_at_ms(setting.trace, seed) if setting.from_ms is None else setting.from_ms
        link = Uplink(agenda, setting.trace, radio, from_ms)
        knows_future = setting.policy == ORACLE
        rule = policy("robust" if knows_future else setting.policy)
        scheduler = Scheduler(rule, setting.budget, setting.workload.power, seed=seed)
        charge = setting.charge() if setting.charge else None
        self.device = Device(Around(agenda, link, cloud), setting.workload, scheduler, seed=seed, charge=charge, tell=tell)

    @property
    def flat(self) -> bool:
        """Whether the battery is empty."""
        return self.device.charge is not None and self.device.charge.level <= 0.0

    def start(self, patient: bool) -> None:
        self.device.start()
        self.device.hear(BudgetSet(self._setting.budget))
        if self._setting.policy == ORACLE:
            table = self.device.scheduler.table
            assert table is not None
            allowed = tuple(offer for offer in table.offers if objection(offer, self._setting.budget) is None)
            self.device.choose = Oracle(allowed, self.device.link, self.device.cloud, patient).plan
        if self.device.charge is not None:
            self._gauge()
        self._pause()

    def _gauge(self) -> None:
        self.device.read_gauge()
        self._agenda.at(self._agenda.now_ms + GAUGE_EVERY_MS, self._gauge)

    def _pause(self) -> None:
        gap = 1.0 if self._setting.regular else exponential(self._seed, _GAP, len(self.finished))
        self._due_ms += 1e3 / self._setting.rate_hz * gap
        self._agenda.at(self._due_ms, self._ask)

    def _ask(self) -> None:
        self.device.request(self._setting.budget, self._answered)

    def _answered(self, finished: Finished) -> None:
        self.finished.append(finished)
        self._pause()
