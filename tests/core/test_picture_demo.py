"""From rides to the page of the demo: what was recorded is what is shown."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.report import page
from splitinfer.bench.demo.run import Ride, Shot
from splitinfer.bench.demo.scenario import COMMUTE
from splitinfer.bench.demo.ways import Way
from splitinfer.device import Result
from splitinfer.events import Outcome, PlanChanged
from splitinfer.plan import Cost, Plan
from tests.picture_values import bundle, parsed, titles, words


def _ride(name: str, base_ms: float) -> Ride:
    ride = Ride(Way(name, f"policy of {name}"), COMMUTE)
    for i in range(40):
        at_s = i / 40 * COMMUTE.duration_s
        cost = Cost(head_ms=base_ms, energy_mj=10.0, uplink_bytes=1000 + i)
        result = Result({}, Plan(1, "raw"), cost, Outcome.REMOTE)
        ride.shots.append(Shot(at_s, COMMUTE.phase_at(at_s), base_ms + i % 2, result, right=i != 7, believed_mbps=3.0))
    ride.plan_changes.append((2.5, PlanChanged(Plan(1, "raw"), Plan(3, "none"), "link", "the link is down")))
    return ride


def _page(slowdowns: tuple[float, ...] = (8.0,)) -> str:
    assets = Assets(bundle(3), bundle(3), np.zeros((5, 1, 1, 3), np.uint8), np.zeros(5, np.int64))
    rides = {s: {"device_only": _ride("device_only", 40 * s), "splitinfer": _ride("splitinfer", 30 * s)} for s in slowdowns}
    return page(assets, rides, COMMUTE)


def test_the_first_lines_say_what_was_run_and_what_is_modelled():
    facts = {term.text: value.text for dl in parsed(_page()).iter("dl") for term, value in zip(dl[::2], dl[1::2], strict=True)}
    assert facts["network"].startswith("net@1")
    assert facts["device"] == "this machine, made slower by a stated factor: 8"
    assert "not measured" in facts["energy"]
    assert "given, not measured: 80% to 20%" in facts["battery"]
    assert "onnxruntime" in facts["versions"]
    assert "cores" in facts["machine"]


def test_the_table_holds_the_figures_of_the_rides():
    row = next(tr for tr in parsed(_page()).iter("tr") if tr[0].text == "splitinfer")
    assert [cell.text for cell in row][1:5] == ["policy of splitinfer", "40 of 40", "240 ms", "0.0801 ms"]
    assert [cell.text for cell in row][6:] == ["1.02 KB", "0", "97.5 %", "10 mJ"]


def test_phases_and_changes_stand_on_the_timeline():
    root = parsed(_page())
    seen = words(root)
    for phase in COMMUTE.phases:
        assert phase.name in seen
    assert any(title == "2.50 s: 1/raw → 3/none, link: the link is down" for title in titles(root))


def test_a_sweep_says_a_verdict_for_each_step():
    seen = words(parsed(_page((2.0, 8.0))))
    assert "× 2: is splitinfer below every other way by more than 2 standard errors? yes." in seen
    assert "× 8: is splitinfer below every other way by more than 2 standard errors? yes." in seen
