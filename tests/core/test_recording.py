"""Recordings: what is written is read back exactly, what was changed is found, and a scheduler lives its life again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import fields, replace
from inspect import signature
from math import inf, nan
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitinfer.energy import RADIOS, Power
from splitinfer.errors import RecordingError
from splitinfer.estimate import Prior
from splitinfer.events import (
    Event,
    Failed,
    Inferred,
    InputsDrifted,
    LinkChanged,
    LoadReported,
    ModelReady,
    Outcome,
    PlanChanged,
    PowerRead,
    ProbeDue,
    Recorded,
    Requested,
    Woken,
    as_json,
)
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Budget, Cost, Plan, PlanScore, Profile, Scorecard
from splitinfer.policy import policy
from splitinfer.recording import ANSWERS, Journal, Recording, Start, compare, read, replay
from splitinfer.recording.lines import event_line, event_of, parse, start_line, start_of
from splitinfer.scheduler import Scheduler
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import WORKLOADS, Setting, simulate
from splitinfer.sim.world.device import Charge

POLICIES = ("thompson", "robust", "neurosurgeon", "neurosurgeon+kalman", "linucb", "static:4/int4+zstd1")
COMMUTE = LinkTrace.steps([(20, 30, 15), (20, 8, 50), (10, 0, 50), (20, 3, 60), (15, 15, 40)], wraps=True)
WORKLOAD = WORKLOADS["C"]
BUDGET = Budget(latency_ms=WORKLOAD.latency_ms)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 1 << 62)
NAMES = st.text(max_size=8)
PLANS = st.builds(Plan, st.integers(0, 30), st.sampled_from(("raw", "none", "int8+zstd1", "klt:0.5", "odd/name")))
st.register_type_strategy(Plan, PLANS)
st.register_type_strategy(float, FINITE)
st.register_type_strategy(int, COUNTS)
LIMITS = st.none() | st.floats(0.0, 1e300)
st.register_type_strategy(
    Budget,
    st.builds(
        Budget,
        latency_ms=LIMITS,
        accuracy_loss_max=st.floats(0.0, 1e300),
        strict=st.booleans(),
        energy_mj=LIMITS,
        uplink_bytes=st.none() | COUNTS,
        memory_bytes=st.none() | COUNTS,
        depth_min=st.floats(0.0, 1.0),
        hedge_max_share=st.floats(0.0, 1.0),
        battery_lasts_ms=LIMITS,
        battery_share_per_h=LIMITS,
        joule_s=st.floats(0.0, 1e300),
    ),
)
st.register_type_strategy(str, NAMES)


def _model(n: int) -> Model:
    specs = tuple(TensorSpec(f"t{i}", "float32", (None, i + 1)) for i in range(n))
    cuts = tuple(Cut(i, f"{i:012x}", f"t{i}", (specs[i],), i / n) for i in range(n))
    segments = tuple(Segment(i, f"{i:064x}", 1, 2, 3, (f"t{i}",), (f"t{i + 1}",)) for i in range(n))
    end = Cut(n, f"{n:012x}", "end", (), 1.0)
    return Model(Digest("0" * 64), "net", "1", specs[:1], specs[-1:], (*cuts, end), segments, frozenset(range(0, n, 2)), "t0")


@st.composite
def _ready(draw: st.DrawFn) -> ModelReady:
    model = _model(draw(st.integers(1, 4)))
    times = st.dictionaries(PLANS, FINITE, max_size=3)
    profile = Profile(
        model.digest,
        draw(NAMES),
        draw(NAMES),
        tuple(draw(st.lists(st.none() | FINITE, min_size=model.n, max_size=model.n))),
        draw(times),
        draw(times),
        tuple(draw(st.lists(FINITE, max_size=3))),
        tuple(draw(st.lists(st.none() | COUNTS, max_size=3))),
    )
    scores = draw(st.dictionaries(PLANS, st.from_type(PlanScore), max_size=3))
    return ModelReady(model, profile, Scorecard(model.digest, scores, draw(NAMES), draw(COUNTS)))


EVENTS = {kind: _ready() if kind is ModelReady else st.from_type(kind) for kind in get_args(Event)}


def recorded_run(rule: str, path: Path, requests: int = 300, **values: Any) -> Recording:
    """A simulated run, recorded; on LTE where nothing else is said."""
    setting = Setting(WORKLOAD, COMMUTE, **{"radio": "lte", "budget": BUDGET, **values}, policy=rule, requests=requests)
    seed = 7
    journal = Journal(path, Start(rule, seed, setting.budget, WORKLOAD.power))
    told: list[Recorded] = []

    def tell(event: Event, at_ms: float) -> None:
        told.append(Recorded(len(told), at_ms, event))
        journal.write(told[-1])

    simulate(setting, seed, tell)
    journal.close()
    (recording,) = read(path)
    assert recording.events == tuple(told)
    return recording


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A run of the default policy."""
    return recorded_run("thompson", tmp_path_factory.mktemp("lived") / "log.jsonl")


def rewritten(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def log_of(*events: Event, start: Start | None = None) -> list[str]:
    """Lines of a recording of these events, a second apart."""
    head = start_line(start or Start("robust"))
    return [head, *(event_line(Recorded(seq, 1e3 * seq, event)) for seq, event in enumerate(events))]


# Forms.


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_event_comes_back_exactly(kind: type, data: st.DataObject) -> None:
    recorded = Recorded(data.draw(COUNTS), data.draw(FINITE), data.draw(EVENTS[kind]))
    back = event_of(parse(event_line(recorded)))
    assert back == recorded
    assert repr(back) == repr(recorded), "types, the order of mappings and every digit, too"


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@settings(max_examples=10, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_line_holds_all_that_the_short_form_shows(kind: type, data: st.DataObject) -> None:
    """Readers of an events file find what `as_json` has always shown."""

    def holds(line: Any, short: Any) -> bool:
        if isinstance(short, dict):
            return all(name in line and holds(line[name], value) for name, value in short.items() if name != "at_ms")
        return bool(line == short)

    recorded = Recorded(3, 1.5, data.draw(EVENTS[kind]))
    assert holds(json.loads(event_line(recorded)), json.loads(json.dumps(as_json(recorded))))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    budget=st.from_type(Budget),
    power=st.builds(Power, FINITE, FINITE, st.dictionaries(NAMES, st.sampled_from([*RADIOS.values()]), max_size=2)),
    priors=st.dictionaries(NAMES, st.from_type(Prior), max_size=2),
    began_at_ms=FINITE,
)
def test_a_start_comes_back_exactly(budget: Budget, power: Power, priors: dict[str, Prior], began_at_ms: float) -> None:
    start = Start("robust", 1 << 70, budget, power, priors, began_at_ms)
    assert start_of(parse(start_line(start))) == start


def test_a_field_that_joined_later_may_be_missing_in_an_old_line() -> None:
    raw = parse(event_line(Recorded(0, 0.0, Inferred(Plan(1, "raw"), Cost(), Outcome.REMOTE, raced_ms=3.0))))
    del raw["raced_ms"]
    assert event_of(raw).event == Inferred(Plan(1, "raw"), Cost(), Outcome.REMOTE)


@pytest.mark.parametrize("number", [inf, -inf, nan])
def test_what_is_not_finite_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        event_line(Recorded(0, 0.0, LoadReported(number)))


def test_told_and_answered_are_told_apart_for_every_event() -> None:
    """A scheduler says nothing but answers; what it says to each event of a long run is one of them (see below)."""
    assert {PlanChanged, InputsDrifted, ProbeDue} == set(ANSWERS) < set(get_args(Event))


# Files.


def test_recordings_stand_one_behind_the_other_even_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        journal = Journal(path, Start("robust"))
        journal.write(Recorded(0, 1.0, Requested()))
        journal.close()
        with path.open("a") as file:
            file.write('{"type": "Wok')
    first, second = read(path)
    assert first.events == second.events == (Recorded(0, 1.0, Requested()),)
    assert (first.line, first.torn) == (1, True)
    assert (second.line, second.torn) == (4, True)
    assert second.line_of(second.events[0]) == 5


def test_a_whole_last_line_needs_no_line_break(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(log_of(Requested())))
    (recording,) = read(path)
    assert not recording.torn
    assert len(recording.events) == 1


def changed(line: str, **values: object) -> str:
    return json.dumps(json.loads(line) | values)


_LOG = log_of(Requested(), PowerRead(0.5, False), WORKLOAD.ready)
_READY = json.loads(_LOG[3])


@pytest.mark.parametrize(
    ("number", "line", "why"),
    [
        (1, _LOG[1], "no recording starts here"),
        (1, "{", "not JSON"),
        (1, changed(_LOG[0], version=2), "version 2"),
        (1, changed(_LOG[0], clever=True), "no field 'clever'"),
        (1, changed(_LOG[0], budget={"latency_ms": "soon"}), "budget: latency_ms: a number was expected, 'soon' came"),
        (2, "", "not JSON"),
        (2, "[" * 100_000, "nested too deeply"),
        (2, "[1]", "no object with a type"),
        (2, '{"type": 3}', "no object with a type"),
        (2, '{"seq": 0, "seq": 0, "type": "Requested"}', "twice"),
        (2, "\x00", "not JSON"),
        (2, "\udcff", "not UTF-8"),
        (3, changed(_LOG[2], type="PowerFelt"), "no event 'PowerFelt'"),
        (3, changed(_LOG[2], version=2), "version 2"),
        (3, changed(_LOG[2], seq=2), "event 2 stands where 1 should"),
        (3, changed(_LOG[2], seq=True), "a whole number was expected, True came"),
        (3, changed(_LOG[2], at_ms=None), "a number was expected, null came"),
        (3, changed(_LOG[2], volts=3.7), "no field 'volts'"),
        (3, changed(_LOG[2], battery="full"), "battery: a number was expected, 'full' came"),
        (3, changed(_LOG[2], charging=1), "charging: true or false was expected, 1 came"),
        (3, _LOG[2].replace("0.5", "NaN"), "finite"),
        (3, _LOG[2].replace("0.5", "-Infinity"), "finite"),
        (3, _LOG[2].replace("0.5", "1e999"), "finite"),
        (3, _LOG[2].replace("0.5", "9" * 400), "too large"),
        (3, _LOG[2].replace("0.5", "9" * 5000), "not JSON|digits"),
        (3, '{"type": "PowerRead", "version": 1, "seq": 1, "at_ms": 0}', "lacks the field 'battery'"),
        (4, changed(_LOG[3], model=_READY["model"] | {"segments": []}), "contradicts itself: n segments"),
        (4, changed(_LOG[3], model=_READY["model"] | {"holds": [99]}), "contradicts itself: segments"),
        (4, changed(_LOG[3], profile=_READY["profile"] | {"digest": "f" * 64}), "contradicts itself: profile and"),
        (4, changed(_LOG[3], profile=_READY["profile"] | {"segment_ms": [1.0]}), "contradicts itself: the profile"),
        (4, _LOG[3].replace('"float32"', '"float3"'), "contradicts itself: 'pool' has no such type|contradicts itself"),
        (4, _LOG[3].replace('"4/raw"', '"four/raw"'), "CUT/CODEC"),
    ],
)
def test_a_line_that_was_not_written_by_us_is_named(tmp_path: Path, number: int, line: str, why: str) -> None:
    lines = [*_LOG[: number - 1], line, *_LOG[number:]]
    path = tmp_path / "log.jsonl"
    path.write_bytes("".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordingError, match=rf"^line {number}: .*({why})"):
        read(path)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_log_with_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = bytearray("\n".join([*_LOG, event_line(Recorded(3, 5.0, Woken()))]).encode() + b"\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(log) - 1))
        log[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=3) | st.sampled_from([b"{", b"1e9", b"\n"]))
    path = tmp_path_factory.getbasetemp() / "damaged.jsonl"
    path.write_bytes(log)
    refusal, recordings = "line ", ()
    try:
        recordings = read(path)
    except RecordingError as error:
        refusal = str(error)
    assert refusal.startswith("line ")
    assert all(recorded.seq == seq for one in recordings for seq, recorded in enumerate(one.events))


def test_a_last_line_that_ends_is_not_taken_for_torn(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"^line 3: it is not JSON"):
        read(rewritten(tmp_path / "log.jsonl", *_LOG[:2], '{"type": "Wok'))


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitinfer.recording.reader.LINE_BYTES_MAX", 4096)
    with pytest.raises(RecordingError, match=r"^line 2: it is longer"):
        read(rewritten(tmp_path / "log.jsonl", _LOG[0], "x" * 5000))


def test_an_empty_file_and_one_that_is_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordingError, match="holds no recording"):
        read(rewritten(tmp_path / "empty.jsonl"))
    monkeypatch.setattr("splitinfer.recording.reader.FILE_BYTES_MAX", 10)
    with pytest.raises(RecordingError, match="larger than"):
        read(rewritten(tmp_path / "large.jsonl", *_LOG))


# Lives.


@pytest.mark.parametrize("rule", POLICIES)
def test_a_simulated_run_of_every_policy_is_lived_again_exactly(tmp_path: Path, rule: str) -> None:
    recording = recorded_run(rule, tmp_path / "log.jsonl")
    assert sum(isinstance(recorded.event, Inferred) for recorded in recording.events) == 300
    assert any(isinstance(recorded.event, PlanChanged) for recorded in recording.events)
    assert replay(recording) is None


def test_timers_probes_and_a_battery_that_must_last_are_lived_again_exactly(tmp_path: Path) -> None:
    budget = replace(BUDGET, battery_lasts_ms=600e3)
    recording = recorded_run(
        "thompson", tmp_path / "log.jsonl", radio="wifi", budget=budget, charge=lambda: Charge(2e6, WORKLOAD.power, 0.6)
    )
    assert {Woken, ProbeDue, PowerRead, LinkChanged} <= {type(recorded.event) for recorded in recording.events}
    assert replay(recording) is None


def test_an_absolute_clock_is_lived_again_exactly(lived: Recording) -> None:
    """A device's clock began long before: what is recorded is where, and the times since."""
    start = replace(lived.start, began_at_ms=123_456_789.0)
    scheduler, said = start.scheduler(), []
    for recorded in (r for r in lived.events if not isinstance(r.event, ANSWERS)):
        heard_at_ms = start.began_at_ms + recorded.at_ms
        answers = scheduler.handle(recorded.event, heard_at_ms)
        said += [(heard_at_ms - start.began_at_ms, event) for event in (recorded.event, *answers)]
    events = tuple(Recorded(seq, at_ms, event) for seq, (at_ms, event) in enumerate(said))
    assert replay(Recording(start, events)) is None


def test_the_log_of_a_seed_is_the_same_in_another_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.core.test_recording import recorded_run\n"
        "recorded_run('thompson', Path(sys.argv[1]))"
    )
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    recorded_run("thompson", here)
    subprocess.run([sys.executable, "-c", program, there], check=True, timeout=60)
    assert hashlib.sha256(here.read_bytes()).digest() == hashlib.sha256(there.read_bytes()).digest()


def _at(lived: Recording, kind: type) -> int:
    """Where the second event of a kind stands."""
    return [r.seq for r in lived.events if isinstance(r.event, kind)][1]


def _without(lived: Recording, seq: int) -> Recording:
    rest = [r for r in lived.events if r.seq != seq]
    return replace(lived, events=tuple(Recorded(i, r.at_ms, r.event) for i, r in enumerate(rest)))


def _with(lived: Recording, seq: int, **values: Any) -> Recording:
    one = lived.events[seq]
    return replace(lived, events=(*lived.events[:seq], replace(one, **values), *lived.events[seq + 1 :]))


def test_an_answer_that_was_changed_is_the_first_difference(lived: Recording) -> None:
    seq = _at(lived, PlanChanged)
    truth = lived.events[seq].event
    assert isinstance(truth, PlanChanged)
    for name, value in {"new": Plan(1, "raw"), "cause": "battery", "reason": "a whim"}.items():
        difference = replay(_with(lived, seq, event=replace(truth, **{name: value})))
        assert difference is not None
        assert (difference.line, difference.replayed) == (2 + seq, truth)


def test_an_answer_at_another_time_is_a_difference(lived: Recording) -> None:
    seq = _at(lived, PlanChanged)
    difference = replay(_with(lived, seq, at_ms=lived.events[seq].at_ms + 0.001))
    assert difference is not None
    assert difference.line == 2 + seq


def test_an_answer_that_is_missing_is_a_difference(lived: Recording) -> None:
    seq = _at(lived, PlanChanged)
    difference = replay(_without(lived, seq))
    assert difference is not None
    assert (difference.line, difference.replayed) == (2 + seq, lived.events[seq].event)
    cut = replace(lived, events=lived.events[:seq])
    ended = replay(cut)
    assert ended is not None
    assert (ended.line, ended.recorded, ended.replayed) == (2 + seq, None, lived.events[seq].event)
    assert replay(replace(cut, torn=True)) is None, "a crash may have cut it off"


def test_an_answer_that_nobody_gave_is_a_difference(lived: Recording) -> None:
    events = (*lived.events, Recorded(len(lived.events), lived.events[-1].at_ms, ProbeDue(256)))
    difference = replay(replace(lived, events=events))
    assert difference is not None
    assert (difference.recorded, difference.replayed) == (ProbeDue(256), None)


def test_another_seed_and_another_policy_live_another_life(lived: Recording) -> None:
    assert replay(replace(lived, start=replace(lived.start, seed=8))) is not None
    assert replay(replace(lived, start=replace(lived.start, policy="robust"))) is not None


def test_a_policy_that_is_not_ours_or_cannot_go_on_is_an_error(lived: Recording) -> None:
    with pytest.raises(RecordingError, match="not known here"):
        replay(replace(lived, start=replace(lived.start, policy="clever")))
    with pytest.raises(RecordingError, match=r"^line 3: static:99/raw finds no plan"):
        replay(replace(lived, start=replace(lived.start, policy="static:99/raw")))


# Other lives.


def test_beside_itself_a_policy_agrees_with_itself(lived: Recording) -> None:
    compared = compare(lived, policy("thompson"))
    assert len(compared.asked) == 300
    assert compared.agree == 1.0
    assert compared.switches == compared.other_switches > 0
    assert compared.predicted_ms == compared.other_predicted_ms


def test_what_another_policy_would_have_done_is_predicted_and_what_happened_was_measured(lived: Recording) -> None:
    local = Plan(WORKLOAD.ready.model.n, "none")
    compared = compare(lived, policy(f"static:{local}"))
    answered = [r.event for r in lived.events if isinstance(r.event, Inferred)]
    assert [one.measured_ms for one in compared.asked] == [event.cost.latency_ms for event in answered]
    assert [one.carried_out for one in compared.asked] == [event.plan for event in answered]
    assert {one.other for one in compared.asked} == {local}
    assert all(one.other_predicted_ms == pytest.approx(WORKLOAD.local_ms, rel=0.2) for one in compared.asked)
    assert compared.other_switches == 0
    agreed = [one for one in compared.asked if one.plan == local]
    assert compared.agree == len(agreed) / 300


def test_nothing_is_predicted_over_a_link_that_is_believed_dead() -> None:
    done = Inferred(Plan(8, "none"), Cost(head_ms=110.0), Outcome.LOCAL)
    gone = Failed(Plan(8, "none"), Outcome.EXPIRED, "no answer")
    told = (LinkChanged(False), WORKLOAD.ready, Requested(), done, Requested(), gone, Woken())
    scheduler, events = Start("robust").scheduler(), list[Recorded]()
    for event in told:
        for one in (event, *scheduler.handle(event, 0.0)):
            events.append(Recorded(len(events), 0.0, one))
    compared = compare(Recording(Start("robust"), tuple(events)), policy("neurosurgeon"))
    answered, failed = compared.asked
    assert (answered.measured_ms, failed.measured_ms, failed.outcome) == (110.0, None, Outcome.EXPIRED)
    assert answered.predicted_ms == pytest.approx(110.0)
    assert compared.measured_ms == 110.0


def test_without_requests_there_is_nothing_to_compare() -> None:
    compared = compare(Recording(Start("robust"), ()), policy("robust"))
    assert (compared.agree, compared.measured_ms, compared.predicted_ms, compared.other_predicted_ms) == (None,) * 4


def test_the_first_line_says_all_that_a_scheduler_is_made_of() -> None:
    """A new argument of `Scheduler` has to be recorded, or a life is not the same."""
    assert set(signature(Scheduler).parameters) <= {field.name for field in fields(Start)}
