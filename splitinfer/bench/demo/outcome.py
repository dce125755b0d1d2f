"""Numbers from rides: the table, and the JSON that docs/json.md describes. Nothing here was typed: each figure is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan, sqrt
from statistics import fmean, stdev
from typing import Any

import numpy as np

from splitinfer.bench.demo.run import Ride
from splitinfer.bench.demo.scenario import Scenario
from splitinfer.bench.demo.ways import OURS


@dataclass(frozen=True, slots=True)
class Row:
    """One way in numbers. `se_ms` is the standard error of the mean; the energy is modelled."""

    requests: int
    answered: int
    mean_ms: float
    se_ms: float
    p99_ms: float
    uplink_bytes_mean: float
    budget_misses: int
    agreement: float
    energy_mj: float


def row(ride: Ride) -> Row:
    """The numbers of one ride; NaN where nothing was answered."""
    times = [shot.latency_ms for shot in ride.shots]
    costs = [shot.result.cost for shot in ride.shots]
    return Row(
        requests=len(ride.shots) + ride.unanswered,
        answered=len(ride.shots),
        mean_ms=_mean(times),
        se_ms=stdev(times) / sqrt(len(times)) if len(times) > 1 else 0.0,
        p99_ms=float(np.percentile(times, 99)) if times else nan,
        uplink_bytes_mean=_mean([cost.uplink_bytes for cost in costs]),
        budget_misses=sum(ms > ride.scenario.latency_ms for ms in times),
        agreement=_mean([shot.right for shot in ride.shots]),
        energy_mj=_mean([cost.energy_mj or 0.0 for cost in costs]),
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else nan


def by_phase(ride: Ride) -> list[float | None]:
    """Mean latency in each phase; None where no photo was taken."""
    phases = range(len(ride.scenario.phases))
    groups = [[shot.latency_ms for shot in ride.shots if shot.phase == index] for index in phases]
    return [fmean(times) if times else None for times in groups]


def as_object(rides: dict[str, Ride], scenario: Scenario, slowdown: float) -> dict[str, Any]:
    """One sweep step as JSON."""
    changes = rides[OURS].plan_changes if OURS in rides else []
    return {
        "ways": {
            name: asdict(row(ride)) | {"policy": ride.way.policy, "phase_mean_ms": by_phase(ride)}
            for name, ride in rides.items()
        },
        "device_slowdown": slowdown,
        "phases": [asdict(phase) for phase in scenario.phases],
        "plan_changes": [
            {
                "at_ms": round(at_s * 1e3, 1),
                "from": None if change.old is None else str(change.old),
                "to": str(change.new),
                "cause": change.cause,
                "reason": change.reason,
            }
            for at_s, change in changes
        ],
    }
