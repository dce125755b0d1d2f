"""What is made of rides through the demo's timeline: arithmetic on rides that were made up."""

from __future__ import annotations

import pytest

from splitinfer.bench.demo.outcome import Row as Figures
from splitinfer.bench.demo.run import Ride, Shot
from splitinfer.bench.demo.scenario import Phase, Scenario
from splitinfer.bench.demo.ways import Way
from splitinfer.bench.main import rides
from splitinfer.device import Result
from splitinfer.events import Outcome, PlanChanged
from splitinfer.plan import Cost, Offer, Plan, PlanScore

FAST, SLOW, DEAD = Phase("fast", 4, 20, 10), Phase("slow", 4, 0.5, 10), Phase("dead", 4, 0, 10)
UP, LOCAL = Plan(0, "raw"), Plan(1, "none")
TABLE = (
    Offer(UP, Cost(), PlanScore(10_000, 10_000, accuracy_loss=0.0), 0.0, local=False),
    Offer(LOCAL, Cost(head_ms=100.0), PlanScore(0, 0, accuracy_loss=0.0), 1.0, local=True),
)


def shot(at_s: float, latency_ms: float = 100.0, energy_mj: float = 50.0, right: bool = True) -> Shot:
    return Shot(at_s, 0, latency_ms, Result({}, UP, Cost(energy_mj=energy_mj), Outcome.REMOTE), right)


def ride(*shots: Shot, phases: tuple[Phase, ...] = (FAST, SLOW, DEAD, FAST), changes: tuple[float, ...] = (), **fields) -> Ride:
    changed = [(at_s, PlanChanged(UP, LOCAL, "link")) for at_s in changes]
    return Ride(Way("a way", "robust"), Scenario(phases), shots=list(shots), plan_changes=changed, **fields)


def figures(mean_ms: float, se_ms: float) -> Figures:
    return Figures(100, 100, mean_ms, se_ms, 2 * mean_ms, 0.0, 0, 1.0, 0.0)


def test_one_request_without_an_answer_in_any_way_shows():
    good = ride(*(shot(at_s) for at_s in range(9)), shot(9, right=False))
    bad = ride(*(shot(at_s) for at_s in range(9)), unanswered=1)
    answered, agreement = rides.answers(
        {8.0: {"splitinfer": good, "other": good}, 2.0: {"splitinfer": good, "other": bad}}, 8.0
    )
    assert (answered.value, answered.met, answered.n) == (0.9, False, 40)
    assert (agreement.value, agreement.met, agreement.n) == (0.9, False, 10)


@pytest.mark.parametrize(
    ("ours", "theirs", "errors", "met"), [(100, 120, 4.0, True), (100, 105, 1.0, False), (120, 100, -4.0, False)]
)
def test_a_rival_is_beaten_by_standard_errors(ours, theirs, errors, met):
    row = rides.rival_row(figures(ours, 3.0), "fixed_best", figures(theirs, 4.0))
    assert (row.value, row.met, row.ratio) == (pytest.approx(errors), met, pytest.approx(ours / theirs))


def test_a_sweep_step_is_against_the_best_other_way():
    step = {"splitinfer": ride(shot(0, 115)), "slow": ride(shot(0, 300)), "quick": ride(shot(0, 100))}
    row = rides.sweep_row(4.0, step)
    assert (row.ratio, row.met) == (pytest.approx(1.15), False)
    assert row.rival is not None
    assert row.rival.startswith("quick")


def test_which_boundary_changes_the_best_plan():
    boundaries = ((FAST, SLOW), (SLOW, DEAD), (DEAD, FAST), (FAST, FAST))
    assert [rides.best_changes(TABLE, *pair) for pair in boundaries] == [True, False, True, False]


@pytest.mark.parametrize(
    ("changes", "most", "fewest"),
    [
        ((4.5, 12.5), 1, 1),
        ((4.5, 5.0, 5.5, 12.5), 3, 1),
        ((4.5, 9.0), 1, 0),  # none after dead -> fast
        ((), 0, 0),
    ],
)
def test_plan_changes_by_phase_and_after_boundaries(changes, most, fewest):
    in_phase, after = rides.plan_changes(ride(changes=changes), TABLE)
    assert (in_phase.value, in_phase.met) == (most, most <= 2)
    assert (after.value, after.met, after.n) == (fewest, fewest >= 1, 2)
    assert "fast -> slow, dead -> fast" in after.name


def test_the_first_plan_is_no_change():
    one = ride()
    one.plan_changes = [(0.5, PlanChanged(None, UP, "start"))]
    assert rides.plan_changes(one, TABLE)[0].value == 0


def test_a_battery_lowers_the_energy_of_the_last_third():
    shots = [shot(at_s, energy_mj=100.0 if at_s < 6 else 40.0) for at_s in range(12)]
    energy, causes = rides.battery(ride(*shots, phases=(Phase("steady", 12, 6, 20),), changes=(6.0,)))
    assert (energy.value, energy.met) == (pytest.approx(0.4), True)
    assert (causes.value, causes.met) == (0, False)  # it changed, but because of the link
