"""Runs in numbers: latency, regret, misses, energy. Families of traces weigh equally, and so do the traces of a family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from splitinfer.events import Outcome
from splitinfer.sim.study.asked import Link, Study, Way
from splitinfer.sim.study.course import Course, Floats
from splitinfer.sim.study.crew import Results


@dataclass(frozen=True, slots=True)
class Figures:
    """One way over some links. Everything is simulated.

    Attributes:
        traces: how many.
        requests: how many, over all traces and seeds.
        mean_ms: latency.
        p50_ms: its median, and other quantiles.
        p95_ms: see there.
        p99_ms: see there.
        regret: mean over traces of mean(ours) / mean(oracle) - 1.
        late: share over the deadline; None = there is none, or the device alone would not be in time.
        energy_mj: a request, by the true figures of the simulated device: races, broken-off uploads and probes included.
        uplink_bytes: a request, counted in the same way.
        switches_per_min: changes of the plan.
        device: share of requests that stayed on the device.
        upload: share that was sent as it came.
        split: share that was cut in between.
        raced: share for which the device had begun, too, when an answer came.
        unanswered: share that was given up.
    """

    traces: int
    requests: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    regret: float
    late: float | None
    energy_mj: float
    uplink_bytes: float
    switches_per_min: float
    device: float
    upload: float
    split: float
    raced: float
    unanswered: float


def figures(results: Results, way: Way, family: str | None = None) -> Figures:
    """A way over a family of traces, or over all of them."""
    study = results.study
    links = links_of(study, family)
    shares = weights(links)
    n, limit_ms = study.workload.ready.model.n, study.budget.latency_ms
    p50_ms, p95_ms, p99_ms = quantiles(results, way, links, (0.5, 0.95, 0.99))

    def mean(of: Callable[[Course], float]) -> float:
        return sum(share * fmean(map(of, results.of(way, link))) for share, link in zip(shares, links, strict=True))

    return Figures(
        traces=len(links),
        requests=sum(len(course) for link in links for course in results.of(way, link)),
        mean_ms=mean(_mean_ms),
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        regret=sum(share * _regret(results, way, link) for share, link in zip(shares, links, strict=True)),
        late=mean(lambda c: _late(c, limit_ms)) if limit_ms is not None and study.workload.feasible else None,
        energy_mj=mean(lambda c: c.energy_mj / len(c)),
        uplink_bytes=mean(lambda c: c.sent_bytes / len(c)),
        switches_per_min=mean(lambda c: 60e3 * c.switches / c.ended_ms),
        device=mean(lambda c: float((c.cuts == n).mean())),
        upload=mean(lambda c: float((c.cuts == 0).mean())),
        split=mean(lambda c: float(((c.cuts > 0) & (c.cuts < n)).mean())),
        raced=mean(lambda c: c.share(Outcome.RACED_LOCAL, Outcome.RACED_REMOTE)),
        unanswered=mean(lambda c: c.share(Outcome.EXPIRED, Outcome.REFUSED)),
    )


def links_of(study: Study, family: str | None) -> tuple[Link, ...]:
    """Those of a family; None = all."""
    return tuple(link for link in study.links if family in (None, link.family))


def weights(links: Sequence[Link]) -> tuple[float, ...]:
    """Of each link in a mean: 1 together."""
    of_family = Counter(link.family for link in links)
    return tuple(1.0 / (len(of_family) * of_family[link.family]) for link in links)


def quantiles(results: Results, way: Way, links: Sequence[Link], shares: Sequence[float]) -> tuple[float, ...]:
    """Of the latency, each link with its weight: the least latency that such a share of requests does not exceed."""
    columns: list[Floats] = []
    counts: list[Floats] = []
    for weight, link in zip(weights(links), links, strict=True):
        latencies = np.concatenate([course.latency_ms for course in results.of(way, link)])
        columns.append(latencies)
        counts.append(np.full(len(latencies), weight / len(latencies)))
    latency_ms = np.concatenate(columns)
    order = np.argsort(latency_ms, kind="stable")
    reached = np.cumsum(np.concatenate(counts)[order])
    places = np.searchsorted(reached, np.asarray(shares) - 1e-9)
    return tuple(float(ms) for ms in latency_ms[order][np.minimum(places, len(order) - 1)])


def _regret(results: Results, way: Way, link: Link) -> float:
    mine, theirs = (fmean(map(_mean_ms, results.of(w, link))) for w in (way, results.study.oracle))
    return mine / theirs - 1


def _mean_ms(course: Course) -> float:
    return float(course.latency_ms.mean())


def _late(course: Course, limit_ms: float) -> float:
    return float((course.latency_ms > limit_ms).mean())
