"""How fast the simulation runs, and how long a decision takes. CPU time of one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from splitinfer.bench.rows import Row, at_least, at_most, spread_of
from splitinfer.draw import uniform
from splitinfer.plan import Budget, Conditions, Cost, Offer, Plan, PlanScore, Uplink
from splitinfer.policy import Table, Thompson
from splitinfer.sim.study import Link
from splitinfer.sim.world import WORKLOADS, Setting, simulate

WORKLOAD = WORKLOADS["D"]
RATE_HZ = 5.0
REQUESTS = 1_500
ROUNDS = 5
PLANS = 120
DECISIONS = 2_000


def measure(links: Sequence[Link], _tell: Callable[[str], None]) -> list[Row]:
    """One device at five requests a second, over the first link of each family; and decisions among 120 plans."""
    first = {link.family: link for link in reversed(links)}.values()
    runs = [_ran(link) for link in first]
    faster = [virtual_s / cpu_s for virtual_s, cpu_s in runs]
    a_second = [REQUESTS / cpu_s for _, cpu_s in runs]
    decisions = _decisions_us()
    about = f"simulation of one device at {RATE_HZ:g} requests/s, {len(runs)} links, quickest of {ROUNDS} runs"
    return [
        Row(
            f"{about}: virtual over CPU time, median",
            median(faster),
            "x",
            at_least(3_000),
            n=len(runs),
            spread=spread_of(faster),
        ),
        Row(
            f"{about}: requests a second and core, median",
            median(a_second),
            "1/s",
            at_least(10_000),
            n=len(runs),
            spread=spread_of(a_second),
        ),
        Row(
            f"decision among {PLANS} plans, p50", median(decisions), "us", at_most(50), n=DECISIONS, spread=spread_of(decisions)
        ),
    ]


def _ran(link: Link) -> tuple[float, float]:
    """Virtual and CPU seconds; of several runs the quickest, since neighbours only ever slow one down."""
    setting = Setting(WORKLOAD, link.trace, link.radio, "thompson", Budget(latency_ms=WORKLOAD.latency_ms), REQUESTS, RATE_HZ)
    took = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        run = simulate(setting, 1)
        took.append(time.process_time() - began_s)
    return run.ended_ms / 1e3, min(took)


def _decisions_us() -> list[float]:
    table, budget, policy = Table(_offers()), Budget(latency_ms=200.0), Thompson()
    took, current = [], None
    for number in range(DECISIONS):
        link = Uplink(1e6 * (1 + number % 40), 0.3, 30.0, doubt=0.2)
        conditions = Conditions(link_up=True, uplink=link, queue_ms=2.0, battery=0.4, charging=False)
        began_ns = time.perf_counter_ns()
        current = policy.decide(table, conditions, budget, current, uniform(1, number)).plan
        took.append((time.perf_counter_ns() - began_ns) / 1e3)
    return took


def _offers() -> tuple[Offer, ...]:
    """Twelve cuts, ten codecs each but for the last plan, which is the device alone."""
    rows = [_offer(index) for index in range(PLANS - 1)]
    return (*rows, Offer(Plan(12, "none"), Cost(head_ms=180.0), PlanScore(0, 0, 0.0, 0.0), 1.0, local=True, lossless=True))


def _offer(index: int) -> Offer:
    cut, codec = divmod(index, 10)
    cost = Cost(head_ms=15.0 * cut, encode_ms=0.2 * codec, tail_ms=20.0 - 1.5 * cut, decode_ms=0.3)
    nbytes = int(2e5 / (1 + cut) / (1 + 0.4 * codec))
    return Offer(Plan(cut, f"c{codec}"), cost, PlanScore(nbytes, nbytes, 0.0, 0.0), cut / 12, local=False)
