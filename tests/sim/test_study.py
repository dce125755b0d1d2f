"""Studies over several links: what a trace is one of, workloads as files, runs on several cores, figures by hand."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.errors import CorruptBundle, NoFeasiblePlan, SimulationError
from splitinfer.events import Outcome
from splitinfer.plan import Budget, Plan
from splitinfer.sim.families import family_of, radio_of
from splitinfer.sim.study import Course, Link, Results, Study, Way, conduct, figures, links_in, named_ways, quantiles, verdict
from splitinfer.sim.study.course import OUTCOMES
from splitinfer.sim.trace import LinkTrace, Piece
from splitinfer.sim.workload_file import from_text, of_bundle, read, to_text
from splitinfer.sim.world import WORKLOADS, Setting, simulate
from tests.picture_values import bundle

B = WORKLOADS["B"]
BUDGET = Budget(latency_ms=B.latency_ms)
FAST = LinkTrace.steps([(20, 20, 10), (2, 0.2, 30), (8, 5, 20)], name="wifi-a", wraps=True)
SLOW = LinkTrace.steps([(30, 0.5, 80)], name="lte-b", wraps=True)


def study(**changes):
    links = (Link(FAST, "wifi", "one"), Link(SLOW, "lte", "two"))
    asked = {"workload": B, "links": links, "ways": named_ways((), B, BUDGET), "budget": BUDGET, "requests": 12}
    return Study(**{**asked, **changes})


# What a trace is one of.


@pytest.mark.parametrize(
    ("name", "source", "radio"),
    [
        ("att-lte-driving-up", "somebody", "lte"),
        ("town", "Ghent 4G/LTE", "lte"),
        ("norway-bus-15", "Norway HSDPA (Riiser, MMSys 2013)", "3g"),
        ("verizon-evdo-up", "x", "3g"),
        ("tmobile-umts", "x", "3g"),
        ("run", "Lumos5G mmWave", "5g"),
        ("5g-run", "LTE too", "5g"),
        ("starlink_3", "x", "satellite"),
        ("wifi-cafe-1", "x", "wifi"),
        ("fcc-01", "FCC MBA 2016", "wired"),
        ("house", "DSL lines", "wired"),
        ("filter", "Delft", "wifi"),  # "lte" inside a word tells nothing
    ],
)
def test_the_radio_of_a_trace_is_told_by_its_words(name, source, radio):
    assert radio_of(LinkTrace(name, (Piece(1e3, 1e6),), source=source)) == radio


def test_what_the_header_says_of_radio_and_family_counts_more():
    text = "#: name=wifi-a; source=mine; radio=lte; family=buses; wraps\nt_s,up_mbps\n0,1\n1,2\n"
    trace = LinkTrace.parse(text)
    assert (radio_of(trace), family_of(trace)) == ("lte", "buses")
    assert LinkTrace.parse(trace.text()) == trace
    with pytest.raises(SimulationError, match=r"radio='smoke'; use one of wifi, lte"):
        radio_of(replace(trace, radio="smoke"))


def test_the_family_of_a_trace_is_its_source_without_brackets():
    assert family_of(replace(FAST, source="Norway HSDPA (Riiser, 2013) downlink x0.5")) == "Norway HSDPA downlink x0.5"
    assert family_of(replace(FAST, source="(nobody)")) == "wifi-a"


# Workloads as files.


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_from_its_file_gives_the_same_run(name):
    workload = WORKLOADS[name]
    again = from_text(to_text(workload))
    assert to_text(again) == to_text(workload)
    runs = [simulate(Setting(w, FAST, "lte", budget=BUDGET, requests=10), 7) for w in (workload, again)]
    assert runs[0] == runs[1]


def test_radios_of_ones_own_and_no_deadline_survive_a_file():
    own = replace(B.power.radio("lte"), tail_w=0.3)
    changed = replace(B, latency_ms=inf, power=replace(B.power, radios={**B.power.radios, "lte": own}))
    again = from_text(to_text(changed))
    assert again.latency_ms == inf
    assert again.power.radio("lte") == own
    assert again.power.radio("wifi") == B.power.radio("wifi")


def broken(change) -> str:
    document = json.loads(to_text(B))
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("power"), r"the field 'power' is missing"),
        (lambda d: d.update(wings=2), r"unknown field 'wings'; expected format, name"),
        (lambda d: d.update(format="2"), r'format: expected "splitinfer workload 1", got "2"'),
        (lambda d: d.update(name=3), r"name: expected a text, got 3"),
        (lambda d: d.update(latency_ms=-1), r"latency_ms: expected a finite number of at least 0, got -1"),
        (lambda d: d["power"].update(compute_w=True), r"power\.compute_w: expected a finite number"),
        (lambda d: d["segment_ms"].__setitem__(1, nan), r"segment_ms\[1\]: expected a number from 0 to 3\.6e\+06, got NaN"),
        (lambda d: d["segment_ms"].pop(), r"segment_ms: expected 5 times"),
        (lambda d: d["cuts"][2].update(tail_ms=inf), r"cuts\[2\]\.tail_ms: .*got Infinity"),
        (lambda d: d["cuts"][2].update(depth=1.5), r"cuts\[2\]\.depth: expected a number from 0 to 1, got 1\.5"),
        (lambda d: d["cuts"][2].update(depth=0), r"cuts\[2\]\.depth: expected at least the"),
        (lambda d: d["cuts"][1].update(tensors=[]), r"cuts\[1\]\.tensors: expected a list of at least 1"),
        (lambda d: d["cuts"][-1].update(tensors=d["cuts"][0]["tensors"]), r"cuts\[5\]\.tensors: expected an empty list"),
        (lambda d: d["cuts"][0]["tensors"][0].update(dtype="cloth"), r"cuts\[0\]\.tensors\[0\]\.dtype: expected the name"),
        (
            lambda d: d["cuts"][0]["tensors"][0].update(shape=[1.5]),
            r"shape\[0\]: expected a whole number of at least 0, got 1\.5",
        ),
        (lambda d: d["plans"][3].update(bytes_p50=-5), r"plans\[3\]\.bytes_p50: expected a whole number of at least 0, got -5"),
        (lambda d: d["plans"][3].update(bytes_p50=10**20), r"plans\[3\]\.bytes_p50: expected a whole number of at most"),
        (
            lambda d: d["segment_ms"].__setitem__(1, 1e300),
            r"segment_ms\[1\]: expected a number from 0 to 3\.6e\+06, got 1e\+300",
        ),
        (lambda d: d.update(segment_ms=[0.0] * 5), r"segment_ms: expected a time above 0"),
        (
            lambda d: d["plans"][3].update(codec="telepathy"),
            r'plans\[3\]\.codec: expected a codec that is installed here, got "tele',
        ),
        (lambda d: d["plans"][3].update(cut=5), r"plans\[3\]\.cut: expected a cut before the last one, at most 4, got 5"),
        (lambda d: d["plans"].append(d["plans"][0]), r"expected each plan once"),
        (lambda d: d.update(plans="none" * 99), r'plans: expected a list, got "nonenone.*…'),
    ],
)
def test_a_file_that_is_no_workload_names_the_place(change, said):
    with pytest.raises(SimulationError, match=said):
        from_text(broken(change))


def test_a_file_that_is_no_json_names_the_line(tmp_path):
    (tmp_path / "w.json").write_text('{\n  "format" 1\n}')
    with pytest.raises(SimulationError, match=r"w\.json: not JSON: line 2, column 12"):
        read(tmp_path / "w.json")
    with pytest.raises(SimulationError, match="cannot read the workload"):
        read(tmp_path / "absent.json")
    for text in ("[" * 100_000, '{"a": ' + "9" * 5000 + "}"):
        with pytest.raises(SimulationError, match="not JSON"):
            from_text(text)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_value_in_any_field_is_read_or_refused(value):
    for field in json.loads(to_text(B)):
        try:
            from_text(broken(lambda d, field=field: d.update({field: value})))
        except SimulationError:
            continue


def test_a_bundle_says_what_it_can_do(tmp_path):
    whole = of_bundle(bundle(4), latency_ms=50.0)
    assert (whole.name, whole.local_ms, whole.feasible) == ("net", 8.0, True)
    part = of_bundle(bundle(4, holds=2))
    assert part.latency_ms == inf
    assert not part.feasible
    again = from_text(to_text(part))
    assert again.ready.model.holds == {0, 1}
    with pytest.raises(CorruptBundle, match="no reference profile: build it again"):
        of_bundle(bundle(4, profiled=False))


# What is asked.


def test_folders_of_traces_are_read_in_the_order_of_their_names(tmp_path):
    for trace in (SLOW, FAST):
        (tmp_path / f"{trace.name}.csv").write_text(trace.text())
    assert [link.trace.name for link in links_in([tmp_path])] == ["lte-b", "wifi-a"]
    assert [link.radio for link in links_in([tmp_path], radio="5g")] == ["5g", "5g"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SimulationError, match=r"no trace in .*empty"):
        links_in([tmp_path / "empty"])
    (tmp_path / "bad.csv").write_text("t_s,up_mbps\n0,1\n1,x\n")
    with pytest.raises(SimulationError, match=r"bad\.csv: line 3 of the trace: 'x' is not a number"):
        links_in([tmp_path])


def test_the_oracle_always_joins_and_names_are_checked():
    assert named_ways(["robust"], B, BUDGET) == (Way("robust", "robust"), Way("oracle", "oracle"))
    usual = {way.name: way.policy for way in named_ways((), B, BUDGET)}
    assert list(usual) == ["thompson", "robust", "neurosurgeon", "device", "upload", "oracle"]
    assert usual["device"] == "static:5/none"
    assert usual["upload"].startswith("static:0/")
    with pytest.raises(SimulationError, match="unknown policy 'luck': use thompson"):
        named_ways(["luck"], B, BUDGET)
    with pytest.raises(SimulationError, match=r"3/zstd9 cannot be used with B: there is no such plan"):
        named_ways(["static:3/zstd9"], B, BUDGET)
    private = replace(BUDGET, depth_min=0.3)
    with pytest.raises(SimulationError, match="no upload of the input is within the budget"):
        named_ways(["upload"], B, private)
    assert "upload" not in [way.name for way in named_ways((), B, private)]
    with pytest.raises(SimulationError, match=r"depth 0\.00 is below depth_min"):
        named_ways(["static:0/raw"], B, private)


def test_a_device_that_does_not_hold_everything_is_not_asked_to_work_alone():
    part = of_bundle(bundle(4, holds=2))
    assert "device" not in [way.name for way in named_ways((), part, Budget())]
    with pytest.raises(SimulationError, match=r"segments 2\.\.3 are not held here"):
        named_ways(["device"], part, Budget())


# Runs.


def same(a: Results, b: Results) -> bool:
    columns = ("began_ms", "latency_ms", "plan", "outcome")
    return all(
        x.plans == y.plans
        and (x.switches, x.energy_mj, x.sent_bytes, x.ended_ms) == (y.switches, y.energy_mj, y.sent_bytes, y.ended_ms)
        and all(np.array_equal(getattr(x, column), getattr(y, column)) for column in columns)
        for x, y in zip(a.courses, b.courses, strict=True)
    )


def test_the_number_of_processes_changes_nothing_and_none_is_left():
    asked = study(seeds=(1, 2), requests=5)
    told: list[tuple[int, int]] = []
    alone = conduct(asked, 1, lambda done, of: told.append((done, of)))
    assert told == [(i + 1, 24) for i in range(24)]
    before = set(multiprocessing.active_children())
    assert same(alone, conduct(asked, 2))
    assert set(multiprocessing.active_children()) == before


def test_an_error_in_a_run_ends_all_processes():
    # Nothing is feasible: a device without the last segments may not send anything either.
    part = of_bundle(bundle(4, holds=2))
    ways = (Way("robust", "robust"), Way("oracle", "oracle"))
    asked = study(workload=part, ways=ways, budget=Budget(depth_min=1.0))
    for workers in (1, 2):
        with pytest.raises(NoFeasiblePlan):
            conduct(asked, workers)
    assert not multiprocessing.active_children()


def test_an_interrupt_leaves_no_process(tmp_path):
    """Ctrl-C reaches the whole group; so does this."""
    script = tmp_path / "long.py"
    script.write_text(
        "from dataclasses import replace\n"
        "import multiprocessing, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job inherits that it is ignored
        "from tests.sim.test_study import study, conduct\n"
        "def told(done, of):\n"
        "    print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "if __name__ == '__main__':\n"
        "    conduct(study(requests=20, seeds=tuple(range(500))), 2, told)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True
    ) as run:
        workers = [int(pid) for pid in run.stdout.readline().split()]
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert len(workers) == 2
    assert b"KeyboardInterrupt" in errors
    assert run.returncode != 0
    ends_by = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < ends_by, "a process was left"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Figures, by hand.


def course(*latency_ms: float, cut: int = 0, outcome: Outcome = Outcome.REMOTE, energy_mj: float = 100.0) -> Course:
    n = len(latency_ms)
    return Course(
        np.arange(n) * 1e3,
        np.array(latency_ms),
        np.zeros(n, np.int32),
        np.full(n, OUTCOMES.index(outcome), np.int32),
        (Plan(cut, "raw"),),
        switches=3,
        energy_mj=energy_mj,
        sent_bytes=1000,
        ended_ms=30e3,
    )


@pytest.fixture
def by_hand() -> Results:
    """Two ways and the oracle over a family of two traces and one of one."""
    links = (Link(FAST, "wifi", "one"), Link(SLOW, "lte", "one"), Link(replace(SLOW, name="c"), "lte", "two"))
    ways = (Way("device", "static:5/none"), Way("robust", "robust"), Way("oracle", "oracle"))
    local = [course(320.0, 320.0, cut=5, outcome=Outcome.LOCAL)] * 3
    robust = [course(100.0, 200.0), course(400.0, 500.0, outcome=Outcome.RACED_REMOTE), course(300.0, 300.0, cut=2)]
    oracle = [course(100.0, 100.0), course(300.0, 300.0), course(200.0, 200.0)]
    return Results(study(links=links, ways=ways), (*local, *robust, *oracle))


def test_families_weigh_equally(by_hand):
    found = figures(by_hand, by_hand.study.ways[1])
    assert found.mean_ms == pytest.approx((150 / 2 + 450 / 2 + 300) / 2)
    assert found.regret == pytest.approx((0.5 / 2 + 0.5 / 2 + 0.5) / 2)
    assert found.late == pytest.approx((0 / 2 + 0.5 / 2 + 0) / 2)  # the budget is 400 ms; 400 is in time
    assert (found.upload, found.split, found.device, found.raced, found.unanswered) == (0.5, 0.5, 0, 0.25, 0)
    assert (found.energy_mj, found.uplink_bytes, found.switches_per_min) == (50, 500, 6)
    assert (found.traces, found.requests) == (3, 6)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (300, 500, 500)


def test_a_family_alone(by_hand):
    found = figures(by_hand, by_hand.study.ways[1], "two")
    assert (found.mean_ms, found.regret, found.traces) == (300, pytest.approx(0.5), 1)


def test_quantiles_follow_the_weights(by_hand):
    study_ = by_hand.study
    # sorted: 100, 200 (1/8 each), 300, 300 (1/4 each), 400, 500 (1/8 each)
    shares = (0.01, 0.125, 0.126, 0.25, 0.26, 0.75, 0.76, 1.0)
    assert quantiles(by_hand, study_.ways[1], study_.links, shares) == (100, 100, 200, 200, 300, 300, 400, 500)


def test_lateness_is_not_said_where_the_device_alone_would_be_late(by_hand):
    hasty = replace(by_hand.study, workload=replace(B, latency_ms=100.0), budget=Budget(latency_ms=100.0))
    assert figures(replace(by_hand, study=hasty), hasty.ways[1]).late is None
    free = replace(by_hand.study, budget=Budget())
    assert figures(replace(by_hand, study=free), free.ways[1]).late is None


def test_the_verdict_says_where_no_cut_is_worth_it(by_hand):
    assert verdict(by_hand).best == "robust"
    expected = "Robust is best, 300.0 ms on average: 6.2 % below the device alone, 50.0 % above the oracle."
    assert verdict(by_hand).text == expected
    local, worse = course(320.0, 320.0), course(330.0, 390.0)
    lost = replace(by_hand, courses=(local,) * 3 + (worse,) * 3 + (course(319.0, 319.0),) * 3)
    assert verdict(lost).best == "device"
    expected = "The device alone is the best plan, 320.0 ms on average; robust is 12.5 % above it. The oracle is no faster."
    assert verdict(lost).text == expected
    gains = replace(lost, courses=(*lost.courses[:6], *(course(240.0, 240.0),) * 3))
    assert verdict(gains).text.endswith("The oracle would be 25.0 % faster.")


def test_a_fixed_plan_that_is_as_good_wins(by_hand):
    close = replace(by_hand, courses=(course(101.0),) * 3 + (course(100.5),) * 3 + (course(90.0),) * 3)
    assert verdict(close).best == "device"


def test_without_a_fixed_plan_the_best_is_named(by_hand):
    ways = by_hand.study.ways[1:]
    alone = Results(replace(by_hand.study, ways=ways), by_hand.courses[3:])
    assert verdict(alone).text == "Robust has the lowest mean latency, 300.0 ms, 50.0 % above the oracle."
    only = Results(replace(by_hand.study, ways=ways[1:]), by_hand.courses[6:])
    assert verdict(only).text == "Nothing was compared with the oracle."
    with pytest.raises(SimulationError, match="needs a trace, a seed and the oracle"):
        replace(by_hand.study, ways=ways[:1])
