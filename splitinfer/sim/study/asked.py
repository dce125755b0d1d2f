"""What a study asks: a workload, links, the policies that are compared. Knows no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from splitinfer.errors import SimulationError
from splitinfer.plan import ASSUMED_UPLINK, NOTHING, Budget, Conditions, Offer, Plan, objection, offers, predict
from splitinfer.policy import policy
from splitinfer.sim.families import family_of, radio_of
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import ORACLE, Setting, Workload

DEVICE, UPLOAD = "device", "upload"
"""The device alone, and the input sent as its fastest codec makes it: the two that need no cut."""
USUAL = ("thompson", "robust", "neurosurgeon", DEVICE, UPLOAD, ORACLE)
"""Compared where nothing else is asked for."""
RIVALS = ("neurosurgeon", "neurosurgeon+kalman", "linucb")
"""They do not race."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of those that are compared.

    Attributes:
        name: for people.
        policy: as `policy` reads it, or "oracle".
        races: whether the device may race; published rivals do not.
    """

    name: str
    policy: str
    races: bool = True

    @property
    def fixed(self) -> bool:
        """Whether it has one plan for every link."""
        return self.policy.startswith("static:")


@dataclass(frozen=True)
class Link:
    """A trace with what it is one of."""

    trace: LinkTrace
    radio: str
    family: str

    @classmethod
    def over(cls, trace: LinkTrace, radio: str | None = None) -> Link:
        """What the trace tells of itself, unless the radio is said."""
        return cls(trace, radio or radio_of(trace), family_of(trace))


@dataclass(frozen=True)
class Study:
    """What is run: every way over every link with every seed.

    Attributes:
        workload: model, device and cloud as figures.
        links: at least one.
        ways: those that are compared; the oracle, whom regret is measured against, is among them.
        budget: of the application.
        requests: in each run.
        rate_hz: of requests.
        seeds: of the runs; all ways meet the same worlds.
    """

    workload: Workload
    links: tuple[Link, ...]
    ways: tuple[Way, ...]
    budget: Budget = field(default_factory=Budget)
    requests: int = 200
    rate_hz: float = 1.0
    seeds: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if not self.links or not self.seeds or all(way.policy != ORACLE for way in self.ways):
            raise SimulationError("a study needs a trace, a seed and the oracle among its policies")

    @property
    def families(self) -> tuple[str, ...]:
        """In the order of the links."""
        return tuple(dict.fromkeys(link.family for link in self.links))

    @property
    def oracle(self) -> Way:
        """The one who knows the future."""
        return next(way for way in self.ways if way.policy == ORACLE)

    def runs(self) -> list[tuple[int, int, int]]:
        """(way, link, seed) of every run: indices of the first two."""
        return list(product(range(len(self.ways)), range(len(self.links)), self.seeds))

    def setting(self, way: int, link: int) -> Setting:
        """The world of a run."""
        chosen = self.links[link]
        return Setting(
            self.workload,
            chosen.trace,
            chosen.radio,
            self.ways[way].policy,
            self.budget if self.ways[way].races else replace(self.budget, hedge_max_share=0.0),
            self.requests,
            self.rate_hz,
        )


def links_in(paths: Iterable[str | Path], radio: str | None = None) -> tuple[Link, ...]:
    """The traces in files, and in all *.csv of folders, in the order of names.

    Raises:
        SimulationError: there is none, or one is no trace; names the file.
    """
    found: list[Link] = []
    for path in map(Path, paths):
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files:
            raise SimulationError(f"no trace in {path}: expected files *.csv with columns t_s,up_mbps")
        found += [_link(file, radio) for file in files]
    return tuple(found)


def _link(file: Path, radio: str | None) -> Link:
    try:
        return Link.over(LinkTrace.read(file), radio)
    except SimulationError as error:
        raise SimulationError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def named_ways(names: Sequence[str], workload: Workload, budget: Budget) -> tuple[Way, ...]:
    """Ways by name: a policy, "device", "upload" or "oracle"; none = the usual ones that this workload has. The oracle joins.

    Raises:
        SimulationError: there is none of that name, or this workload cannot go it within the budget.
    """
    found: dict[str, Way] = {}
    for name in names or USUAL:
        try:
            found[name] = _way(name, workload, budget)
        except SimulationError:
            if names:
                raise
    found[ORACLE] = Way(ORACLE, ORACLE)
    return tuple(found.values())


def _way(name: str, workload: Workload, budget: Budget) -> Way:
    if name == ORACLE:
        return Way(name, ORACLE)
    if name == DEVICE:
        name = f"static:{Plan(workload.ready.model.n, NOTHING)}"
        return Way(DEVICE, _possible(name, workload, budget))
    if name == UPLOAD:
        return Way(UPLOAD, f"static:{_fastest_upload(workload, budget).plan}")
    return Way(name, _possible(name, workload, budget), races=name not in RIVALS)


def _possible(name: str, workload: Workload, budget: Budget) -> str:
    try:
        policy(name)
    except ValueError as error:
        raise SimulationError(f"{error}; or {DEVICE}, {UPLOAD}, {ORACLE}") from error
    kind, _, rest = name.partition(":")
    if kind == "static":
        plan = Plan.parse(rest)
        offer = next((offer for offer in _offers(workload) if offer.plan == plan), None)
        why_not = "there is no such plan" if offer is None else objection(offer, budget)
        if why_not:
            raise SimulationError(f"the plan {plan} cannot be used with {workload.name}: {why_not}")
    return name


def _offers(workload: Workload) -> tuple[Offer, ...]:
    ready = workload.ready
    return offers(ready.model, ready.profile, ready.scorecard)


def _fastest_upload(workload: Workload, budget: Budget) -> Offer:
    """On a link that nobody knows: what a person would choose who has to choose once."""
    uploads = [offer for offer in _offers(workload) if offer.plan.cut == 0 and objection(offer, budget) is None]
    if not uploads:
        raise SimulationError(f"no upload of the input is within the budget with {workload.name}")
    unknown = Conditions(link_up=True, uplink=ASSUMED_UPLINK)
    return min(uploads, key=lambda offer: predict(offer, unknown, workload.power).latency_ms)
