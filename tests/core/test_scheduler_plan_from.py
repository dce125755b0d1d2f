"""Late binding: which plan a request follows from the cut where it stands."""

from __future__ import annotations

import pytest

from splitinfer.errors import NoFeasiblePlan
from splitinfer.events import LinkChanged, ModelReady
from splitinfer.plan import Budget, Plan, PlanScore, Profile, Scorecard
from splitinfer.policy import Static
from splitinfer.scheduler import Scheduler
from tests.core.test_flow import DIGEST, model

PROFILE = Profile(DIGEST, "board", "engine", (50.0, 50.0, 50.0), tail_ms=(9.0, 6.0, 3.0, 0.0))
SCORES = Scorecard(DIGEST, {Plan(cut, "int8"): PlanScore(1000, 1000, 0.0, 0.0, 100) for cut in range(3)})


def scheduler(policy=None, holds=3) -> Scheduler:
    one = Scheduler(policy)
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
