"""The scheduler in virtual time against a made-up link: what it says, when, and how often."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import exp

import pytest

from splitinfer.events import (
    Event,
    Inferred,
    InputsDrifted,
    LinkChanged,
    LoadReported,
    ModelReady,
    Outcome,
    PlanChanged,
    PowerRead,
    ProbeDue,
    Requested,
    Transferred,
)
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Budget, Cost, Plan, PlanScore, Profile, Scorecard
from splitinfer.policy import Policy, Robust, Thompson
from splitinfer.scheduler import PROBE_BYTES, Scheduler

DIGEST = Digest("0" * 64)
SHAPES = ((1, 224, 224, 3), (1, 24, 56, 56), (1, 40, 28, 28), (1, 80, 14, 14), (1, 192, 7, 7))
SEGMENT_MS = (50.0, 30.0, 40.0, 60.0, 40.0)
BYTES = {
    Plan(0, "raw"): 150_528,
    Plan(1, "int8+zstd1"): 40_000,
    Plan(1, "int4+zstd1"): 18_000,
    Plan(2, "int8+zstd1"): 17_000,
    Plan(3, "int8+zstd1"): 8_700,
    Plan(3, "int6+zstd1"): 6_500,
    Plan(4, "int8+zstd1"): 5_000,
}
LOCAL = Plan(5, "none")
PATIENCE_MS = 400.0
"""After this a request is finished on the device and its upload broken off."""


def ready() -> ModelReady:
    """A network of 220 ms on the device and 22 ms in the cloud: an image at cut 0, ever smaller tensors after it."""
    n = len(SEGMENT_MS)
    dtypes = ("uint8", *["float32"] * (n - 1))
    cuts = [
        Cut(k, f"{k:012x}", f"t{k}", (TensorSpec(f"t{k}", dtypes[k], SHAPES[k]),), sum(SEGMENT_MS[:k]) / sum(SEGMENT_MS))
        for k in range(n)
    ]
    cuts.append(Cut(n, f"{n:012x}", "end", (), 1.0))
    segments = tuple(Segment(i, f"{i:064x}", 1_000, 10, 1_000, (f"t{i}",), (f"t{i + 1}",)) for i in range(n))
    output = TensorSpec("t5", "float32", (1, 1000))
    model = Model(DIGEST, "net", "1", cuts[0].tensors, (output,), tuple(cuts), segments, frozenset(range(n)))
    tail_ms = tuple(sum(SEGMENT_MS[k:]) / 10 for k in range(n + 1))
    profile = Profile(DIGEST, "made up", "none", SEGMENT_MS, encode_ms=dict.fromkeys(BYTES, 1.0), tail_ms=tail_ms)
    scores = {plan: PlanScore(nbytes, nbytes, 0.0, 0.0, 200) for plan, nbytes in BYTES.items()}
    return ModelReady(model, profile, Scorecard(DIGEST, scores))


@dataclass(frozen=True)
class Phase:
    """A stretch of network. `announced` = the operating system says that it is another one."""

    name: str
    seconds: float
    rate_bps: float = 0.0
    rtt_ms: float = 0.0
    announced: bool = False

    @property
    def dead(self) -> bool:
        return self.rate_bps == 0.0


@dataclass
class World:
    """Drives a scheduler as a device would: requests at a steady pace, probes when asked for, wakes when due.

    Attributes:
        odd: says at the time of a request whether its input is unlike the samples.
    """

    scheduler: Scheduler
    noise: float = 0.0
    jitter_ms: float = 0.0
    seed: int = 1
    now_ms: float = 0.0
    said: list[tuple[float, Event]] = field(default_factory=list)
    plans: list[tuple[float, Plan]] = field(default_factory=list)
    up: bool = False
    odd: Callable[[float], bool] = lambda _now_ms: False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def tell(self, event: Event, phase: Phase | None = None) -> None:
        self._hear(self.scheduler.handle(event, self.now_ms), phase)

    def live(self, phase: Phase, period_ms: float = 200.0, requests: bool = True) -> list[PlanChanged]:
        """Lives through a phase; returns the changes of the plan in it."""
        begin, end_ms = len(self.said), self.now_ms + phase.seconds * 1e3
        if not phase.dead and (phase.announced or not self.up):
            self.up = True
            self.tell(LinkChanged(True, "connected"), phase)
        while self.now_ms < end_ms:
            next_ms = self.now_ms + period_ms
            if requests:
                self._request(phase)
            while (wake_ms := self.scheduler.wakeup_at_ms) is not None and wake_ms <= next_ms:
                self.now_ms = max(self.now_ms, wake_ms)
                before = self.scheduler.wakeup_at_ms
                self._hear(self.scheduler.wake(self.now_ms), phase)
                assert self.scheduler.wakeup_at_ms != before, "a wake must move the next one"
            self.now_ms = max(self.now_ms, next_ms)
        return [event for _, event in self.said[begin:] if isinstance(event, PlanChanged)]

    def _hear(self, events: list[Event], phase: Phase | None) -> None:
        for event in events:
            self.said.append((self.now_ms, event))
            if isinstance(event, ProbeDue) and phase is not None:
                self._send(event.nbytes, phase)

    def _request(self, phase: Phase) -> None:
        self.tell(Requested(), phase)
        plan = self.scheduler.plan
        assert plan is not None
        self.plans.append((self.now_ms, plan))
        head_ms = sum(SEGMENT_MS[: plan.cut])
        departed = (f"t{plan.cut}",) if plan.codec.startswith("int") and self.odd(self.now_ms) else ()
        self.now_ms += head_ms
        outcome = Outcome.LOCAL
        if plan != LOCAL:
            outcome = Outcome.REMOTE if self._send(BYTES.get(plan, 150_528), phase) else Outcome.RESUMED
        cost = Cost(head_ms=head_ms, encode_ms=1.0)
        self.tell(Inferred(plan, cost, outcome, SEGMENT_MS[: plan.cut], departed=departed), phase)

    def _send(self, nbytes: int, phase: Phase) -> bool:
        if phase.dead:
            self.now_ms += 300.0
            if self.up:
                self.up = False
                self.tell(LinkChanged(False, "timeout"), phase)
            return False
        sending_ms = 8e3 * nbytes / phase.rate_bps * exp(self.random.gauss(0.0, self.noise))
        elapsed_ms = phase.rtt_ms + sending_ms + self.jitter_ms * self.random.random()
        in_time = elapsed_ms <= PATIENCE_MS
        self.now_ms += min(elapsed_ms, PATIENCE_MS)
        if in_time:
            self.tell(Transferred(nbytes, elapsed_ms), phase)
        else:
            self.tell(Transferred(0, PATIENCE_MS, complete=False, attempted_bytes=nbytes), phase)
        return in_time


WIFI = Phase("wifi", 30.0, 40e6, 6.0)
LTE = Phase("lte", 30.0, 6e6, 50.0)
SLOW = Phase("slow", 30.0, 0.1e6, 100.0)
TUNNEL = Phase("tunnel", 20.0)
UPLOAD = {Plan(0, "raw"), Plan(0, "narrow"), Plan(0, "narrow+zstd1")}


def world(
    latency_ms: float | None = 150.0,
    noise: float = 0.0,
    seed: int = 1,
    rule: Policy = Robust(),  # noqa: B008
) -> World:
    made = World(Scheduler(rule, Budget(latency_ms=latency_ms)), noise=noise, jitter_ms=2.0 if noise else 0.0, seed=seed)
    made.tell(ready())
    return made


def last_change(w: World) -> PlanChanged:
    return [event for _, event in w.said if isinstance(event, PlanChanged)][-1]


def probes(said: list[tuple[float, Event]]) -> list[float]:
    return [at_ms for at_ms, event in said if event == ProbeDue(PROBE_BYTES[0])]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (0.2, 1), (0.2, 2), (0.2, 3)])
def test_the_plan_follows_the_link_and_changes_once_or_twice_a_phase(announced: bool, noise: float, seed: int) -> None:
    w = world(noise=noise, seed=seed)
    for phase, good in (
        (WIFI, UPLOAD),
        (LTE, {Plan(1, "int4+zstd1")}),
        (TUNNEL, {LOCAL}),
        (LTE, {Plan(1, "int4+zstd1")}),
        (WIFI, UPLOAD),
    ):
        begin_ms = w.now_ms
        changes = w.live(replace(phase, announced=announced))
        assert 1 <= len(changes) <= 2, (phase.name, changes)
        assert changes[-1].new in good
        assert {change.cause for change in changes} <= {"start", "link", "explore"}
        settled = [plan for at_ms, plan in w.plans if at_ms > begin_ms + 7_000]
        assert set(settled) <= good, (phase.name, set(settled))


def test_a_dead_link_and_its_return_change_the_plan_without_any_request() -> None:
    w = world()
    w.live(WIFI)
    w.tell(LinkChanged(False, "timeout"))
    assert (last_change(w).new, last_change(w).cause) == (LOCAL, "link")
    w.tell(LinkChanged(True, "connected"))
    assert (last_change(w).old, last_change(w).cause) == (LOCAL, "link")
    assert w.scheduler.plan != LOCAL


@pytest.mark.parametrize("seed", range(3))
def test_late_replies_bound_the_rate_until_the_device_goes_on_alone_and_probes_bring_it_back(seed: int) -> None:
    w = world(noise=0.2, seed=seed)
    w.live(WIFI)
    w.live(SLOW)
    assert w.scheduler.plan == LOCAL
    assert w.scheduler.conditions.link_up is True, "late is not dead"
    changes = w.live(replace(WIFI, seconds=40.0))
    assert w.scheduler.plan in UPLOAD
    assert changes[0].cause == "explore"


def test_probes_back_off_while_they_change_nothing() -> None:
    w = world()
    w.live(replace(SLOW, seconds=5.0))
    assert w.scheduler.plan == LOCAL
    begin = len(w.said)
    w.live(replace(SLOW, seconds=120.0))
    at_ms = probes(w.said[begin:])
    gaps = [round(b - a) for a, b in pairwise(at_ms)]
    assert len(at_ms) >= 4
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(30_000, abs=1_500)


def test_without_requests_nothing_is_sent() -> None:
    w = world()
    w.live(replace(LTE, seconds=60.0), requests=False)
    w.tell(LinkChanged(False, "timeout"))
    w.tell(LinkChanged(True, "connected"))
    w.live(replace(LTE, seconds=60.0), requests=False)
    assert probes(w.said) == []
    assert w.scheduler.wakeup_at_ms is None


@pytest.mark.parametrize(
    "rule",
    [Thompson(), pytest.param(Robust(), marks=pytest.mark.xfail(reason="nothing makes it look at a dear link again"))],
    ids=["thompson", "robust"],
)
def test_a_metered_link_is_never_probed_and_yet_found_again(rule: Policy) -> None:
    w = world(noise=0.2, rule=rule)
    w.tell(LinkChanged(True, "connected", metered=True))
    w.live(replace(SLOW, seconds=200.0))
    assert w.scheduler.plan == LOCAL
    w.live(replace(WIFI, seconds=120.0))
    assert probes(w.said) == []
    assert LOCAL not in {plan for at_ms, plan in w.plans if at_ms > w.now_ms - 30_000.0}


@pytest.mark.parametrize("radio", ["lte", "5g", "3g"])
def test_a_radio_with_a_long_tail_is_never_probed(radio: str) -> None:
    w = world(rule=Thompson())
    w.tell(LinkChanged(True, "connected", radio=radio))
    w.live(replace(SLOW, seconds=100.0))
    assert probes(w.said) == []
    w.tell(LinkChanged(True, "connected", radio="wifi"))
    w.live(replace(SLOW, seconds=100.0))
    assert probes(w.said) != []


def test_a_critical_battery_ends_probing() -> None:
    w = world()
    w.tell(PowerRead(0.04, charging=False))
    w.live(replace(SLOW, seconds=60.0))
    begin = len(w.said)
    w.live(replace(SLOW, seconds=60.0))
    assert probes(w.said[begin:]) == []


@pytest.mark.parametrize("rate_bps", [0.5e6, 1.5e6, 2e6, 6e6, 10e6, 40e6])
@pytest.mark.parametrize(
    ("rule", "in_all", "in_a_minute"), [(Robust(), 20, 6), (Thompson(), 120, 12)], ids=["robust", "thompson"]
)
def test_ten_steady_minutes_with_noise_bring_few_changes(rate_bps: float, rule: Policy, in_all: int, in_a_minute: int) -> None:
    """One that draws changes its mind more often than one that does not."""
    w = world(noise=0.2, seed=7, rule=rule)
    w.live(Phase("settle", 30.0, rate_bps, 40.0))
    changes = w.live(Phase("steady", 600.0, rate_bps, 40.0))
    at_ms = [at_ms for at_ms, event in w.said if isinstance(event, PlanChanged)]
    assert len(changes) <= in_all
    assert max((sum(1 for other in at_ms if t <= other < t + 60_000) for t in at_ms), default=0) <= in_a_minute


def test_an_emptying_battery_on_a_steady_link_lowers_the_energy_of_a_request() -> None:
    steady = Phase("steady", 20.0, 0.7e6, 80.0)
    w = world()
    w.tell(PowerRead(0.80, charging=False))
    w.live(steady)
    full_mj = w.scheduler.predicted(w.scheduler.plan or LOCAL).energy_mj
    changes: list[PlanChanged] = []
    for percent in range(80, 9, -2):
        begin = len(w.said)
        w.tell(PowerRead(percent / 100, charging=False), steady)
        w.live(replace(steady, seconds=2.0))
        changes += [event for _, event in w.said[begin:] if isinstance(event, PlanChanged)]
    low_mj = w.scheduler.predicted(w.scheduler.plan or LOCAL).energy_mj
    assert full_mj is not None
    assert low_mj is not None
    assert low_mj < 0.8 * full_mj
    assert "battery" in {change.cause for change in changes}
    assert len(changes) <= 4


def test_a_report_of_a_long_queue_drives_the_device_home_and_fades() -> None:
    w = world()
    w.live(WIFI)
    w.tell(LoadReported(queue_ms=2_000.0))
    assert (last_change(w).new, last_change(w).cause) == (LOCAL, "load")
    w.live(WIFI)
    assert w.scheduler.plan in UPLOAD


def test_a_throttled_device_is_noticed_and_hands_over_earlier() -> None:
    w = world(latency_ms=None)
    steady = Phase("steady", 20.0, 0.6e6, 60.0)
    w.live(steady)
    assert w.scheduler.plan == LOCAL
    plan = w.scheduler.plan
    for _ in range(10):
        w.now_ms += 1_000
        w.tell(Inferred(plan, Cost(head_ms=1_100), Outcome.LOCAL, tuple(5 * ms for ms in SEGMENT_MS)))
    assert last_change(w).cause == "profile"
    assert last_change(w).new.cut < LOCAL.cut
    assert w.scheduler.predicted(LOCAL).head_ms == pytest.approx(5 * sum(SEGMENT_MS))


def drifts(w: World) -> list[float]:
    return [at_ms for at_ms, event in w.said if isinstance(event, InputsDrifted)]


def lossy(w: World, since_ms: float = 0.0) -> list[float]:
    return [at_ms for at_ms, plan in w.plans if at_ms >= since_ms and plan.codec.startswith("int")]


def settled(odd: Callable[[float], bool]) -> tuple[World, float]:
    """A world on LTE where a lossy split is the best plan; odd inputs may come from the time that is returned on."""
    w = world()
    w.live(LTE)
    assert w.scheduler.plan == Plan(1, "int4+zstd1")
    w.odd = odd
    return w, w.now_ms


def test_a_stream_of_odd_inputs_ends_lossy_plans_within_three_requests() -> None:
    w, from_ms = settled(lambda _now_ms: True)
    first, *more = w.live(replace(LTE, seconds=20.0))
    assert (first.cause, first.new, more) == ("drift", LOCAL, [])
    assert "inputs are unlike the samples" in first.reason
    assert len(lossy(w, from_ms)) == 3
    assert [event for _, event in w.said if isinstance(event, InputsDrifted)] == [InputsDrifted(first.old, ("t1",))]
    assert w.scheduler.conditions.drifted


def test_on_a_fast_link_the_input_itself_crosses_without_loss_instead() -> None:
    w = World(Scheduler(Robust(), Budget(latency_ms=150.0)))
    made = ready()
    w.tell(
        replace(
            made,
            model=replace(made.model, image_input=None),
            scorecard=replace(
                made.scorecard,
                scores={
                    Plan(0, "raw"): PlanScore(150_528, 150_528, 0.0, 0.0, 200),
                    Plan(1, "int4+zstd1"): PlanScore(900, 900, 0.0, 0.0, 200),
                },
            ),
        )
    )
    fast = Phase("fast", 10.0, 15e6, 6.0)
    w.live(fast)
    assert w.scheduler.plan == Plan(1, "int4+zstd1")
    w.odd = lambda _now_ms: True
    w.live(fast)
    assert w.scheduler.plan in UPLOAD


def test_one_odd_input_or_two_change_nothing() -> None:
    for count in (1, 2):
        w, from_ms = settled(lambda _now_ms: False)
        w.odd = lambda _now_ms, w=w, from_ms=from_ms, count=count: len(lossy(w, from_ms)) <= count
        assert w.live(replace(LTE, seconds=60.0)) == []
        assert drifts(w) == []


def test_while_inputs_stay_odd_lossy_plans_are_tried_ever_more_rarely_and_with_one_request() -> None:
    w, from_ms = settled(lambda _now_ms: True)
    w.live(replace(LTE, seconds=3_600.0))
    gaps_s = [round((b - a) / 1e3) for a, b in pairwise(drifts(w))]
    assert gaps_s[:5] == pytest.approx([30, 60, 120, 240, 480], abs=3)
    assert gaps_s[5:] == pytest.approx([600] * len(gaps_s[5:]), abs=3)
    assert len(lossy(w, from_ms)) == 3 + len(gaps_s)


def test_when_inputs_are_as_usual_again_the_lossy_plan_returns_and_stays() -> None:
    w, from_ms = settled(lambda _now_ms: True)
    w.odd = lambda now_ms: now_ms < from_ms + 40_000.0
    changes = w.live(replace(LTE, seconds=600.0))
    assert [change.cause for change in changes] == ["drift"] * 4, "a rest, a trial that fails, a rest, a trial that does not"
    assert w.scheduler.plan == Plan(1, "int4+zstd1")
    assert not w.scheduler.conditions.drifted
    assert len(lossy(w, from_ms + 120_000.0)) > 1_000
    w.odd = lambda _now_ms: True
    begin = len(drifts(w))
    w.live(replace(LTE, seconds=45.0))
    first, second = drifts(w)[begin:]
    assert second - first == pytest.approx(30_000, abs=2_000), "the old drift is forgotten: the first rest is short again"


def test_without_requests_a_rest_ends_nothing_and_begins_nothing() -> None:
    w, _ = settled(lambda _now_ms: True)
    w.live(replace(LTE, seconds=10.0))
    said = len(w.said)
    w.live(replace(LTE, seconds=600.0), requests=False)
    assert [event for _, event in w.said[said:] if not isinstance(event, ProbeDue)] == []
