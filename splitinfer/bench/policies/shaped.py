"""Predicted against measured latency of requests over a shaped link: real sockets, a real server, a real network."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from splitinfer.bench.main.bundles import LITE0, build_named
from splitinfer.bench.main.cloud import connected
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.device import Settings
from splitinfer.events import Outcome, PowerRead
from splitinfer.plan import Plan
from splitinfer.sim.proxy import Link

LINKS = ((4.0, 40.0), (12.0, 20.0), (40.0, 10.0))
"""Mbit/s and ms."""
WARM_UP = 6
REQUESTS = 25


@dataclass(frozen=True, slots=True)
class Compared:
    """One request: what was said before, and what came."""

    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """Of what was predicted, as a share of what came."""
        return abs(self.predicted_ms / self.measured_ms - 1)


def measure() -> list[Row]:
    """The input, and the smallest of the plain inner tensors, over three links."""
    with tempfile.TemporaryDirectory() as name:
        bundle = build_named(LITE0, Path(name))
        plans = (Plan(0, "raw"), Plan(_smallest(bundle), "raw"))
        rows, errors = [], []
        for mbps, rtt_ms in LINKS:
            for plan in plans:
                found = [one.error for one in _compared(bundle, plan, Link(mbps * 1e6, mbps * 1e6, rtt_ms))]
                errors += found
                about = f"plan {plan} at {mbps:g} Mbit/s and {rtt_ms:g} ms: predicted off measured latency, p50"
                rows.append(Row(about, median(found), "share", n=len(found), spread=spread_of(found)))
    whole = Row(
        "predicted off measured latency over the shaped link, p50 of all", median(errors), "share", at_most(0.1), n=len(errors)
    )
    return [*rows, whole]


def _smallest(bundle: Bundle) -> int:
    inner = bundle.model.cuts[1:-1]
    return min(inner, key=lambda cut: cut.nbytes).index


def _compared(bundle: Bundle, plan: Plan, link: Link) -> list[Compared]:
    """Answers from the cloud only: others were not what was predicted."""
    feeds = {name: np.asarray(array) for name, array in random_feeds(bundle.model).items()}
    found = []
    settings = Settings(policy=f"static:{plan}", read_power=lambda: PowerRead(None))
    with connected(bundle, settings) as (client, proxy):
        proxy.set(rate_bps=link.rate_bps, down_bps=link.down_bps, rtt_ms=link.rtt_ms)
        for index in range(WARM_UP + REQUESTS):
            predicted_ms = client.predicted(plan).latency_ms
            result = client.infer(feeds)
            if index >= WARM_UP and result.outcome is Outcome.REMOTE:
                found.append(Compared(predicted_ms, result.cost.latency_ms))
    return found
