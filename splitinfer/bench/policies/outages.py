"""How soon a device that went local in an outage is remote again once the link is back. Simulated."""

from __future__ import annotations

from splitinfer.bench.rows import Row, at_most
from splitinfer.events import Outcome
from splitinfer.plan import Budget
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import WORKLOADS, Run, Setting, simulate

OUTAGES_S = (5.0, 20.0, 120.0)
RADIOS = (("wifi", 12.0), ("lte", 50.0), ("3g", 100.0))
SEEDS = range(1, 6)
BEFORE_S = 30.0
WORKLOAD = WORKLOADS["B"]
"""Four times faster in the cloud than on the device, on any link of 10 Mbit/s."""


def measure() -> list[Row]:
    """From the link's return to the first answer from the cloud, at one request a second."""
    rows = []
    for radio, rtt_ms in RADIOS:
        took = [_took_s(radio, rtt_ms, outage_s, seed) for outage_s in OUTAGES_S for seed in SEEDS]
        about = f"outage of 5 to 120 s on {radio}, 1 request/s: link's return to an answer from the cloud, worst, simulated"
        rows.append(Row(about, max(took), "s", at_most(5), n=len(took)))
    return rows


def _took_s(radio: str, rtt_ms: float, outage_s: float, seed: int) -> float:
    back_s = BEFORE_S + outage_s
    trace = LinkTrace.steps([(BEFORE_S, 10.0, rtt_ms), (outage_s, 0.0, rtt_ms), (3_600.0, 10.0, rtt_ms)], name="outage")
    setting = Setting(
        WORKLOAD,
        trace,
        radio,
        budget=Budget(latency_ms=WORKLOAD.latency_ms),
        requests=int(back_s) + 60,
        from_ms=0.0,
        regular=True,
    )
    return _first_remote_s(simulate(setting, seed), back_s) - back_s


def _first_remote_s(run: Run, after_s: float) -> float:
    remote = (Outcome.REMOTE, Outcome.RACED_REMOTE)
    ends_s = ((one.began_ms + one.latency_ms) / 1e3 for one in run.finished if one.outcome in remote)
    return next((end_s for end_s in ends_s if end_s >= after_s), float("inf"))
