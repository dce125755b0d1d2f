"""Whole runs of the simulated world: the same seed is the same run, the oracle knows best, and what a device must not do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from math import inf
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitinfer
from splitinfer.energy import RADIOS
from splitinfer.errors import SimulationError
from splitinfer.events import (
    Event,
    Inferred,
    LinkChanged,
    LoadReported,
    Outcome,
    PlanChanged,
    ProbeDue,
    Recorded,
    Requested,
    Transferred,
    as_json,
)
from splitinfer.hedges import KEPT_MOST
from splitinfer.plan import NOTHING, Budget, Plan
from splitinfer.policy import Thompson
from splitinfer.scheduler import Scheduler
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import WORKLOADS, Run, Setting, simulate, world
from splitinfer.sim.world.agenda import Agenda
from splitinfer.sim.world.cloud import Cloud, CloudSetting, Served
from splitinfer.sim.world.device import Around, Charge, Device
from splitinfer.sim.world.errand import Errand
from splitinfer.sim.world.link import Uplink
from splitinfer.sim.world.world import starts_at_ms

B = WORKLOADS["B"]
"""ResNet-50: 320 ms on the device, 12 ms in the cloud, 32 KB to upload."""
LOCAL = Plan(B.ready.model.n, NOTHING)
CALM = CloudSetting(wobble=0.0, bursts_per_s=0.0)
WIFI = LinkTrace.steps([(60.0, 20.0, 12.0)], wraps=True)
PATCHY = LinkTrace.steps([(30.0, 20.0, 30.0), (15.0, 0.0, 30.0)], wraps=True, name="patchy")
UNEVEN = LinkTrace.steps(
    [(20.0, 12.0, 25.0), (15.0, 1.0, 40.0), (20.0, 4.0, 60.0), (5.0, 0.0, 40.0)], wraps=True, name="uneven"
)

Log = list[tuple[float, Event]]


def run(setting: Setting, seed: int = 0) -> tuple[Run, Log]:
    log: Log = []
    return simulate(setting, seed, lambda event, at_ms: log.append((at_ms, event))), log


def mean_ms(made: Run) -> float:
    return fmean(finished.latency_ms for finished in made.finished)


# The same seed is the same run.


def fingerprint(policy: str = "thompson", seed: int = 7) -> str:
    setting = Setting(B, UNEVEN, "lte", policy, Budget(latency_ms=400.0), requests=60, rate_hz=2.0, devices=3)
    made, log = run(setting, seed)
    lines = [json.dumps(as_json(Recorded(seq, at_ms, event)), sort_keys=True) for seq, (at_ms, event) in enumerate(log)]
    return sha256("\n".join([*lines, repr(made)]).encode()).hexdigest()


@pytest.mark.parametrize("policy", ["thompson", "robust", "neurosurgeon", "linucb", "oracle"])
def test_the_same_seed_gives_the_same_events_to_the_last_bit(policy: str) -> None:
    assert fingerprint(policy) == fingerprint(policy)
    assert fingerprint(policy, seed=8) != fingerprint(policy)


def test_it_does_so_in_another_process_with_other_hashes() -> None:
    program = "from tests.sim.test_world import fingerprint; print(fingerprint())"
    root = str(splitinfer.__path__[0]).removesuffix("/splitinfer")
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == fingerprint()


def test_policies_that_are_compared_meet_the_same_requests() -> None:
    """Whatever they make of them: a request is asked for at its own time, or when the one before it has its answer."""
    asked = []
    for policy in ("thompson", "oracle", f"static:{LOCAL}"):
        made, _ = run(Setting(B, WIFI, policy=policy, requests=60, rate_hz=0.2, cloud=CALM))
        free_ms = [0.0, *(f.began_ms + f.latency_ms for f in made.finished)]
        asked.append(
            [
                round(f.began_ms, 6) if f.began_ms > free + 1e-6 else None
                for f, free in zip(made.finished, free_ms, strict=False)
            ]
        )
    for one, *others in zip(*asked, strict=True):
        assert all(None in (one, other) or one == other for other in others)
    assert sum(None in triple for triple in zip(*asked, strict=True)) < 10


# What a run says of itself.


def test_every_request_is_answered_once_and_its_parts_add_up() -> None:
    made, log = run(Setting(B, UNEVEN, "lte", budget=Budget(latency_ms=400.0), requests=150, rate_hz=2.0))
    inferred = [event for _, event in log if isinstance(event, Inferred)]
    assert len(made.finished) == len(inferred) == sum(isinstance(event, Requested) for _, event in log) == 150
    assert made.switches == sum(isinstance(event, PlanChanged) for _, event in log)
    assert all(a.began_ms + a.latency_ms <= b.began_ms for a, b in pairwise(made.finished))
    assert [at_ms for at_ms, _ in log] == sorted(at_ms for at_ms, _ in log)
    for event, finished in zip(inferred, made.finished, strict=True):
        assert event.outcome == finished.outcome
        assert event.cost.latency_ms == pytest.approx(finished.latency_ms, abs=0.1)
        assert event.late == (finished.latency_ms > 400.0)
    assert made.energy_mj >= sum(finished.energy_mj for finished in made.finished) - 1e-6
    assert made.energy_mj >= sum(B.power.compute_w * (event.cost.head_ms + event.raced_ms) for event in inferred)


def test_the_device_alone_takes_what_it_takes_and_sends_nothing() -> None:
    made, log = run(Setting(B, WIFI, policy=f"static:{LOCAL}", requests=60, cloud=CALM))
    assert {finished.outcome for finished in made.finished} == {Outcome.LOCAL}
    assert mean_ms(made) == pytest.approx(320.0, rel=0.05)
    assert made.energy_mj == pytest.approx(sum(finished.latency_ms for finished in made.finished) * B.power.compute_w, rel=1e-6)
    assert (made.sent_bytes, [event for _, event in log if isinstance(event, Transferred)]) == (0, [])


def test_an_upload_takes_what_its_link_and_the_cloud_take() -> None:
    wide = LinkTrace.steps([(60.0, 8.0, 40.0)], wraps=True)
    made, _ = run(Setting(B, wide, policy="static:0/raw", requests=60, cloud=CALM))
    sent_ms = 8e3 * 32_000 * 1500 / 1448 / 8e6
    assert fmean(f.latency_ms for f in made.finished[20:]) == pytest.approx(4.0 + sent_ms + 40.0 + 1.0 + 12.0 + 3.0, abs=1.5)


# The one who knows the future.


@pytest.mark.parametrize(("trace", "radio"), [(WIFI, "wifi"), (UNEVEN, "wifi"), (PATCHY, "wifi"), (UNEVEN, "lte")])
def test_no_fixed_plan_is_better_than_the_oracle(trace: LinkTrace, radio: str) -> None:
    setting = Setting(B, trace, radio, requests=80, cloud=CALM)
    oracle = mean_ms(run(replace(setting, policy="oracle"))[0])
    for offer in ("0/raw", "1/int8+zstd1", "3/int8", "4/int4+zstd1", str(LOCAL)):
        assert oracle <= 1.01 * mean_ms(run(replace(setting, policy=f"static:{offer}"))[0]), offer


@pytest.mark.parametrize("policy", ["thompson", "robust"])
def test_ours_is_between_the_oracle_and_the_best_fixed_plan(policy: str) -> None:
    setting = Setting(B, UNEVEN, requests=150, cloud=CALM)
    ours, oracle = (mean_ms(run(replace(setting, policy=name))[0]) for name in (policy, "oracle"))
    fixed = [mean_ms(run(replace(setting, policy=f"static:{plan}"))[0]) for plan in ("0/raw", "4/int4+zstd1", LOCAL)]
    assert oracle <= ours < 1.25 * oracle
    assert ours < min(fixed)


# Many devices and one cloud.


def queue_ms(devices: int, slots: int) -> float:
    setting = Setting(WORKLOADS["A"], WIFI, policy="static:0/raw", requests=60, rate_hz=3.0, devices=devices)
    _, log = run(replace(setting, cloud=replace(CALM, slots=slots)))
    return fmean(event.queue_ms for _, event in log if isinstance(event, LoadReported))


def test_devices_that_share_a_cloud_wait_for_each_other() -> None:
    alone, shared, roomy = queue_ms(1, 1), queue_ms(25, 1), queue_ms(25, 8)
    assert alone == 0.0
    assert shared > 5.0
    assert roomy < 0.1 * shared


def test_a_crowd_that_may_choose_does_not_drown_the_cloud() -> None:
    """60 devices ask 240 times a second for 12 ms each: three times what one slot can do. They go on alone instead."""
    crowd = Setting(WORKLOADS["A"], WIFI, requests=60, rate_hz=4.0, devices=60, cloud=replace(CALM, slots=1))
    made, _ = run(crowd)
    assert mean_ms(made) < 1.35 * WORKLOADS["A"].local_ms


# Outages.


def returns_ms(trace: LinkTrace, seed: int, made: Run) -> list[float]:
    """When the link came back, in a run over `PATCHY`."""
    first_ms = -starts_at_ms(trace, seed)
    return [at_ms for k in range(20) if 1_000 < (at_ms := first_ms + k * 45_000.0) < made.ended_ms - 8_000]


@pytest.mark.parametrize(
    ("radio", "latency_ms"),
    [
        ("wifi", None),
        ("wifi", 400.0),
        ("lte", None),
        ("lte", 400.0),
    ],
)
def test_a_device_that_went_local_in_an_outage_is_remote_again_soon(radio: str, latency_ms: float | None) -> None:
    waited_ms = []
    for seed in range(6):
        setting = Setting(B, PATCHY, radio, budget=Budget(latency_ms=latency_ms), requests=180, cloud=CALM, regular=True)
        made, log = run(setting, seed)
        plans = [(at_ms, event.new) for at_ms, event in log if isinstance(event, PlanChanged)]
        asked = [at_ms for at_ms, event in log if isinstance(event, Requested)]
        for back_ms in returns_ms(PATCHY, seed, made):
            if [plan for at_ms, plan in plans if at_ms <= back_ms][-1] == LOCAL:
                begins_ms = next(at_ms for at_ms in asked if at_ms > back_ms)
                remote_ms = next((at_ms for at_ms, plan in plans if at_ms > back_ms and plan != LOCAL), inf)
                waited_ms.append(remote_ms - (back_ms if begins_ms - back_ms < 2_000 else begins_ms - 2_000))
    assert len(waited_ms) >= 6
    assert max(waited_ms) <= 5_000.0, sorted(map(round, waited_ms))


def test_a_dead_link_costs_patience_once_and_not_every_time() -> None:
    dead = LinkTrace.steps([(1e4, 0.0, 30.0)], wraps=True)
    made, _ = run(Setting(B, dead, requests=60, cloud=CALM))
    assert {finished.outcome for finished in made.finished[3:]} == {Outcome.LOCAL}
    assert fmean(finished.latency_ms for finished in made.finished[3:]) == pytest.approx(320.0, rel=0.05)


@pytest.mark.parametrize("trace", [UNEVEN, PATCHY], ids=lambda trace: trace.name)
def test_where_the_device_alone_is_in_time_a_race_keeps_the_deadline(trace: LinkTrace) -> None:
    made, log = run(Setting(B, trace, budget=Budget(latency_ms=400.0), requests=300, cloud=CALM))
    late = [finished for finished in made.finished if finished.latency_ms > 400.0]
    assert len(late) <= 0.03 * 300
    raced = [
        event
        for _, event in log
        if isinstance(event, Inferred) and event.outcome in (Outcome.RACED_LOCAL, Outcome.RACED_REMOTE)
    ]
    assert len([event for event in raced if event.outcome is Outcome.RACED_LOCAL]) <= 0.1 * 300 + KEPT_MOST + 1


def test_a_cloud_that_is_down_is_left_until_it_answers() -> None:
    broken = replace(CALM, down=((20_000.0, 60_000.0),))
    made, _ = run(Setting(B, WIFI, requests=180, rate_hz=1.0, cloud=broken))
    during = [f for f in made.finished if 25_000 < f.began_ms < 60_000]
    after = [f for f in made.finished if f.began_ms > 120_000]
    assert sum(f.outcome is Outcome.LOCAL for f in during) > 0.7 * len(during)
    assert all(f.outcome is Outcome.REMOTE for f in after)


# A server that tells lies about itself.


class Liar(Cloud):
    """Is never busy and always fast, as it says; the answers come seconds later, and that was its own time, not the link's."""

    def __init__(self, setting: CloudSetting, seed: int) -> None:
        super().__init__(setting, seed)
        self.asked = 0

    def serve(self, at_ms: float, tail_ms: float) -> Served:
        self.asked += 1
        return Served(at_ms + self._setting.burst_slow * 1e3, 0.0, tail_ms, 1.0)


@pytest.mark.parametrize("policy", ["thompson", "robust"])
@pytest.mark.parametrize("late_s", [0.8, 3.0])
def test_a_server_cannot_pin_a_device_to_itself_by_lies(monkeypatch: pytest.MonkeyPatch, policy: str, late_s: float) -> None:
    monkeypatch.setattr(world, "Cloud", Liar)
    liar = replace(CALM, burst_slow=late_s)
    made, _ = run(Setting(B, WIFI, policy=policy, requests=200, cloud=liar))
    assert fmean(finished.latency_ms for finished in made.finished[20:]) < 1.35 * B.local_ms


# A device that nobody asks.


@pytest.mark.parametrize("radio", [*RADIOS])
@pytest.mark.parametrize("metered", [True, False])
def test_a_device_that_nobody_asks_sends_nothing_and_wants_nothing(radio: str, metered: bool) -> None:
    agenda, log = Agenda(), []
    link = Uplink(agenda, WIFI, RADIOS[radio])
    device = Device(
        Around(agenda, link, Cloud(CALM, 0)), B, Scheduler(Thompson()), seed=0, tell=lambda event, at_ms: log.append(event)
    )
    device.start()
    device.hear(LinkChanged(True, metered=metered))
    for second in range(60):
        agenda.at(second * 1e3, device.read_gauge)
    with pytest.raises(SimulationError, match="nothing is left"):
        agenda.run(lambda: False)
    assert link.sent_bytes == 0
    assert not any(isinstance(event, ProbeDue) for event in log)


# The battery.


def test_a_battery_pays_for_what_is_done_and_for_being_there() -> None:
    power = replace(B.power, idle_w=1.0)
    charges: list[Charge] = []

    def charge() -> Charge:
        charges.append(Charge(1e7, power))
        return charges[-1]

    made, _ = run(Setting(B, WIFI, "wifi", f"static:{LOCAL}", requests=100, cloud=CALM, charge=charge))
    drawn_mj = (1.0 - charges[0].level) * 1e7
    assert drawn_mj == pytest.approx(made.energy_mj + 1.0 * made.ended_ms, rel=0.02)


def test_a_gauge_shows_whole_per_cents_and_a_run_ends_when_it_is_empty() -> None:
    assert [Charge(1.0, B.power, level).shown for level in (1.0, 0.991, 0.99, 0.005, 0.0)] == [1.0, 1.0, 0.99, 0.01, 0.0]
    made, _ = run(Setting(B, WIFI, policy=f"static:{LOCAL}", requests=10_000, cloud=CALM, charge=lambda: Charge(1e5, B.power)))
    assert 40 < len(made.finished) < 60


# Steady conditions.


def changes_in_a_minute(log: Log) -> int:
    at_ms = [at_ms for at_ms, event in log if isinstance(event, PlanChanged)]
    return max((sum(t <= other < t + 60_000 for other in at_ms) for t in at_ms), default=0)


def steady(policy: str, workload: str, radio: str, mbps: float, rtt_ms: float, rate_hz: float, hurried: bool, seed: int) -> Log:
    """Ninety seconds of them."""
    trace, what = LinkTrace.steps([(60.0, mbps, rtt_ms)], wraps=True), WORKLOADS[workload]
    budget = Budget(latency_ms=what.latency_ms) if hurried else Budget()
    return run(Setting(what, trace, radio, policy, budget, requests=int(90 * rate_hz), rate_hz=rate_hz, cloud=CALM), seed)[1]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.sampled_from([("thompson", False), ("robust", False), ("robust", True)]),
    st.sampled_from("ABCD"),
    st.sampled_from(["wifi", "lte", "5g"]),
    st.floats(-1.0, 2.0).map(lambda power: 10**power),
    st.floats(5.0, 200.0),
    st.floats(1.0, 10.0),
    st.integers(0, 10**6),
)
def test_in_steady_conditions_the_plan_changes_at_most_twelve_times_a_minute(
    how: tuple[str, bool], workload: str, radio: str, mbps: float, rtt_ms: float, rate_hz: float, seed: int
) -> None:
    policy, hurried = how
    assert changes_in_a_minute(steady(policy, workload, radio, mbps, rtt_ms, rate_hz, hurried, seed)) <= 12


@pytest.mark.parametrize(
    ("workload", "mbps"),
    [
        ("A", 1.0),
        ("A", 6.0),
        ("A", 40.0),
        ("B", 1.0),
        ("B", 6.0),
    ],
)
def test_nor_does_it_where_races_bound_what_is_tried(workload: str, mbps: float) -> None:
    most = max(changes_in_a_minute(steady("thompson", workload, "wifi", mbps, 5.0, 3.0, True, seed)) for seed in range(4))
    assert most <= 12


@pytest.mark.parametrize("latency_ms", [B.latency_ms, None])
def test_a_cloud_that_accepts_and_never_answers_does_not_keep_the_device(
    latency_ms: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a real connection does, one on which nothing came for long is given up; the next one is there at once."""
    monkeypatch.setattr(Errand, "_doubt", lambda errand: errand._device.lost("timeout"))
    mute = replace(CALM, down=((20_000.0, inf),))
    made, _ = run(Setting(B, WIFI, budget=Budget(latency_ms=latency_ms), requests=150, cloud=mute), 1)
    late = made.finished[50:]
    assert sum(finished.plan.cut < B.ready.model.n for finished in late) < 0.15 * len(late)


def test_the_oracle_is_held_to_the_budget_too() -> None:
    """It knows the future, not a way around the limits."""
    budget = Budget(latency_ms=B.latency_ms, depth_min=0.5)
    made, _ = run(Setting(B, WIFI, policy="oracle", budget=budget, requests=40, cloud=CALM))
    depths = [cut.depth for cut in B.ready.model.cuts]
    assert all(depths[finished.plan.cut] >= 0.5 for finished in made.finished)
