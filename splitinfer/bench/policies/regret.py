"""Ours beside a rival and the one who knows the future, over recorded links. Everything here is simulated.

A configuration is one budget for all workloads and all links; its name is in every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from splitinfer.bench.rows import Goal, Row, at_most
from splitinfer.plan import Budget
from splitinfer.sim.study import Figures, Link, Study, Way, conduct, figures
from splitinfer.sim.world import ORACLE, WORKLOADS, Workload

Tell = Callable[[str], None]
OURS = Way("thompson", "thompson")
RIVAL = Way("neurosurgeon", "neurosurgeon", races=False)
KNOWS = Way(ORACLE, ORACLE)
SEEDS = (1,)
REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an application asks of the scheduler.

    Attributes:
        name: in the rows.
        rate_hz: of requests.
        joule_s: seconds that a joule is worth.
    """

    name: str
    rate_hz: float
    joule_s: float = 0.0

    def budget(self, workload: Workload) -> Budget:
        """The deadline is the workload's."""
        return Budget(latency_ms=workload.latency_ms, joule_s=self.joule_s)


LATENCY_FIRST = Configuration("latency first (0.01 s/J), 1 Hz", 1.0, joule_s=0.01)
ENERGY_NEUTRAL = Configuration("energy neutral (0.02 s/J), 1 Hz", 1.0, joule_s=0.02)
SELDOM = Configuration("latency first (0.01 s/J), 0.1 Hz", 0.1, joule_s=0.01)


@dataclass(frozen=True)
class Compared:
    """One workload under one configuration."""

    workload: Workload
    ours: Figures
    rival: Figures
    knows: Figures

    @property
    def energy(self) -> float:
        """Ours over the rival's."""
        return self.ours.energy_mj / self.rival.energy_mj

    @property
    def regrets(self) -> float:
        """Ours over the rival's."""
        return self.ours.regret / self.rival.regret if self.rival.regret > 0 else float("inf")


def measure(links: Sequence[Link], tell: Tell) -> list[Row]:
    """All configurations."""
    first = _compared(LATENCY_FIRST, links, tell)
    neutral = _compared(ENERGY_NEUTRAL, links, tell)
    seldom = _compared(SELDOM, links, tell)
    return [
        *_regrets(LATENCY_FIRST, first, at_most(0.08), at_most(0.12)),
        *_punctual(LATENCY_FIRST, first),
        Row(
            f"{LATENCY_FIRST.name}: energy over neurosurgeon's, worst workload, simulated",
            max(c.energy for c in first),
            "ratio",
            at_most(1.25),
        ),
        *_regrets(ENERGY_NEUTRAL, neutral, at_most(0.11), None),
        Row(
            f"{ENERGY_NEUTRAL.name}: energy over neurosurgeon's, worst workload, simulated",
            max(c.energy for c in neutral),
            "ratio",
            at_most(1.1),
        ),
        *_regrets(SELDOM, seldom, at_most(0.13), None),
        *(row for one in first for row in _best(one)),
    ]


def _compared(configuration: Configuration, links: Sequence[Link], tell: Tell) -> list[Compared]:
    return [_one(configuration, workload, tuple(links), tell) for workload in WORKLOADS.values()]


def _one(configuration: Configuration, workload: Workload, links: tuple[Link, ...], tell: Tell) -> Compared:
    study = Study(workload, links, (OURS, RIVAL, KNOWS), configuration.budget(workload), REQUESTS, configuration.rate_hz, SEEDS)
    results = conduct(study)
    found = Compared(workload, *(figures(results, way) for way in study.ways))
    tell(
        f"  {configuration.name}, workload {workload.name} (simulated): regret {found.ours.regret:.1%}, neurosurgeon "
        f"{found.rival.regret:.1%}; energy x{found.energy:.2f}"
    )
    return found


def _regrets(configuration: Configuration, compared: Sequence[Compared], mean: Goal, worst: Goal | None) -> list[Row]:
    name, n = configuration.name, sum(one.ours.requests for one in compared)
    rows = [
        Row(
            f"{name}, workload {one.workload.name}: regret, simulated",
            one.ours.regret,
            "share",
            rival=f"neurosurgeon {one.rival.regret:.3f}",
            ratio=one.regrets,
            n=one.ours.requests,
        )
        for one in compared
    ]
    rows.append(
        Row(
            f"{name}: regret, mean of {len(compared)} workloads, simulated",
            fmean(one.ours.regret for one in compared),
            "share",
            mean,
            n=n,
        )
    )
    if worst is not None:
        rows.append(
            Row(f"{name}: regret, worst workload, simulated", max(one.ours.regret for one in compared), "share", worst, n=n)
        )
        rows.append(
            Row(
                f"{name}: regret over neurosurgeon's, worst workload, simulated",
                max(one.regrets for one in compared),
                "ratio",
                at_most(0.5),
                n=n,
            )
        )
    return rows


def _punctual(configuration: Configuration, compared: Sequence[Compared]) -> list[Row]:
    """Where the device alone would be in time."""
    feasible = [one for one in compared if one.workload.feasible]
    n = sum(one.ours.requests for one in feasible)
    late = max(one.ours.late or 0.0 for one in feasible)
    p99 = max(one.ours.p99_ms / one.workload.latency_ms for one in feasible)
    where = f"worst of {', '.join(one.workload.name for one in feasible)}, simulated"
    return [
        Row(f"{configuration.name}: requests over the deadline, {where}", late, "share", at_most(0.005), n=n),
        Row(f"{configuration.name}: p99 over the deadline, {where}", p99, "ratio", at_most(1.1), n=n),
    ]


def _best(one: Compared) -> list[Row]:
    """What the one who knows does: where the device alone or the coded upload is best, the table says so."""
    shares = (("keeps it on the device", one.knows.device), ("sends the input", one.knows.upload), ("cuts", one.knows.split))
    return [
        Row(
            f"workload {one.workload.name}: share of requests for which the oracle {does}, simulated",
            share,
            "share",
            n=one.knows.requests,
        )
        for does, share in shares
    ]
