"""A battery that should last a day, on devices that need more or less power than their energy model says. Simulated."""

from __future__ import annotations

from functools import partial

from splitinfer.bench.rows import Row, at_most
from splitinfer.energy import Power, Radio
from splitinfer.plan import Budget
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import WORKLOADS, Setting, simulate
from splitinfer.sim.world.device import Charge

DAY_MS = 24 * 3.6e6
SCALES = (0.6, 0.8, 1.0, 1.3, 1.6)
"""True power over the model's, which the policy does not know."""
RATE_HZ = 0.1
MJ_A_REQUEST = 800.0
"""What the battery holds for each request of the day: between the least that the workload can do with at 1.6 times the power,
and what it takes for speed at 0.6 times."""
LINK = LinkTrace.steps([(600.0, 0.75, 12.0), (600.0, 0.85, 12.0), (600.0, 0.95, 12.0)], name="slow wifi", wraps=True)
WORKLOAD = WORKLOADS["B"]
"""On this link a little faster on the device, and six times cheaper in the cloud: speed and energy pull apart."""


def measure() -> list[Row]:
    """How far the lifetime is from the goal, for each scale, and without a goal for comparison."""
    rows = []
    errors = []
    for scale in SCALES:
        lasted_ms, free_ms = _lasts_ms(scale, DAY_MS), _lasts_ms(scale, None)
        errors.append(abs(lasted_ms / DAY_MS - 1))
        about = f"battery: lifetime over a goal of 24 h, true power x{scale:g} of the model, simulated"
        rows.append(Row(about, lasted_ms / DAY_MS, "ratio", rival=f"without a goal {free_ms / DAY_MS:.2f}"))
    rows.append(
        Row("battery: lifetime off the goal, worst of them, simulated", max(errors), "share", at_most(0.05), n=len(SCALES))
    )
    return rows


def _lasts_ms(scale: float, goal_ms: float | None) -> float:
    """Until it is empty."""
    budget = Budget(latency_ms=WORKLOAD.latency_ms, battery_lasts_ms=goal_ms)
    charge = partial(Charge, MJ_A_REQUEST * DAY_MS / 1e3 * RATE_HZ, _scaled(WORKLOAD.power, scale))
    requests = int(2 * DAY_MS / 1e3 * RATE_HZ)
    return simulate(Setting(WORKLOAD, LINK, "wifi", "thompson", budget, requests, RATE_HZ, charge=charge), seed=1).ended_ms


def _scaled(power: Power, scale: float) -> Power:
    radios = {name: _scaled_radio(radio, scale) for name, radio in power.radios.items()}
    return Power(power.compute_w * scale, power.idle_w * scale, radios)


def _scaled_radio(radio: Radio, scale: float) -> Radio:
    return Radio(
        radio.name,
        radio.active_w * scale,
        radio.nj_per_bit * scale,
        radio.tail_w * scale,
        radio.tail_ms,
        radio.promotion_w * scale,
        radio.promotion_ms,
    )
