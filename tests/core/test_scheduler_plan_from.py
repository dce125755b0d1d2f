"""Late binding: which plan a request follows from the cut where it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.errors import NoFeasiblePlan
from splitinfer.events import BudgetSet, LinkChanged, LoadReported, ModelReady, PowerRead, Transferred
from splitinfer.plan import Budget, Plan, PlanScore, Profile, Scorecard
from splitinfer.policy import Robust, Static
from splitinfer.scheduler import Scheduler
from tests.core.test_flow import DIGEST, model

PROFILE = Profile(DIGEST, "board", "engine", (50.0, 50.0, 50.0), tail_ms=(9.0, 6.0, 3.0, 0.0))
SCORES = Scorecard(DIGEST, {Plan(cut, "int8"): PlanScore(1000, 1000, 0.0, 0.0, 100) for cut in range(3)})


def scheduler(policy=None, holds=3) -> Scheduler:
    one = Scheduler(policy or Robust())
    one.handle(ModelReady(model(holds=holds), PROFILE, SCORES), 0.0)
    one.handle(LinkChanged(True), 1.0)
    return one


def test_there_is_none_before_a_model_is_ready():
    with pytest.raises(NoFeasiblePlan):
        Scheduler().plan_from(0)


def test_the_plan_in_force_while_it_lies_ahead():
    one = scheduler(Static(Plan(1, "int8")))
    assert one.plan_from(0) == one.plan_from(1) == Plan(1, "int8")


def test_past_a_fixed_plan_the_device_goes_on_alone():
    assert scheduler(Static(Plan(1, "int8"))).plan_from(2) == Plan(3, "none")


def test_past_a_fixed_plan_a_device_with_half_the_model_hands_over_where_it_stands():
    assert scheduler(Static(Plan(1, "int8")), holds=2).plan_from(2).cut == 2


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_policy_chooses_among_what_is_still_open(cut):
    one = scheduler()
    assert one.plan.cut == 0
    assert one.plan_from(cut).cut >= cut


def test_a_budget_of_one_request_is_its_own():
    one = scheduler()
    assert one.plan_from(0, Budget(depth_min=0.5)).cut >= 2
    assert one.plan.cut == 0, "the plan in force is untouched"


EVENTS = st.one_of(
    st.builds(LinkChanged, st.booleans()),
    st.builds(PowerRead, st.none() | st.floats(0.0, 1.0), st.none() | st.booleans()),
    st.builds(LoadReported, st.floats(0.0, 1e4), st.none() | st.floats(0.1, 10.0)),
    st.builds(Transferred, st.integers(1, 10**6), st.floats(0.1, 1e4), st.booleans()),
    st.builds(BudgetSet, st.builds(Budget, st.none() | st.floats(1.0, 1e3), memory_bytes=st.none() | st.integers(0, 50))),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from([Robust(), Static(Plan(0, "int8")), Static(Plan(1, "int8"))]), st.integers(1, 2), st.lists(EVENTS))
def test_late_binding_never_goes_past_what_is_held(rule, held, events):
    one = scheduler(rule, holds=held)
    for at_ms, event in enumerate(events, 2):
        one.handle(event, 100.0 * at_ms)
        for cut in range(held + 1):
            assert cut <= one.plan_from(cut).cut <= held


HEAVY = replace(PROFILE, peak_bytes=(0, 10, 20, 30))


@pytest.mark.parametrize(
    ("memory_bytes", "holds", "farthest"), [(None, 3, 3), (30, 3, 3), (29, 3, 2), (5, 3, 3), (5, 2, 2), (None, 2, 2)]
)
def test_past_a_fixed_plan_the_device_goes_on_as_far_as_memory_allows(memory_bytes, holds, farthest):
    """At cut 2 with a budget below what that took already, nothing is allowed: then the answer counts."""
    one = Scheduler(Static(Plan(0, "int8")), Budget(memory_bytes=memory_bytes))
    one.handle(ModelReady(model(holds=holds), HEAVY, SCORES), 0.0)
    assert one.plan_from(2).cut == farthest
