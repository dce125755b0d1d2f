"""A battery that has to last: what a joule is worth, and that a wrong energy model does not matter."""

from __future__ import annotations

from math import ceil, inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.battery import DEBT_FULL, HOUR_MS, PRICE_FULL, Battery, Goal
from splitinfer.plan import Budget

TEN_HOURS = Budget(battery_lasts_ms=10 * HOUR_MS)


def aimed(level: float = 0.8, budget: Budget = TEN_HOURS) -> Battery:
    return Battery().read(level, False, 0.0).aim(budget, 0.0)


def price(battery: Battery, now_ms: float) -> float:
    joule_s = battery.joule_s(now_ms)
    assert joule_s is not None
    return joule_s


def test_a_goal_is_a_straight_line_to_nothing() -> None:
    goal = aimed(0.8).goal
    assert goal is not None
    assert [goal.level_at(hours * HOUR_MS) for hours in (0, 5, 10, 20)] == pytest.approx([0.8, 0.4, 0.0, 0.0])


def test_a_share_an_hour_is_one_too_whatever_the_charge() -> None:
    goal = aimed(0.5, Budget(battery_share_per_h=0.05)).goal
    assert goal is not None
    assert [goal.level_at(hours * HOUR_MS) for hours in (0, 2, 10, 11)] == pytest.approx([0.5, 0.4, 0.0, 0.0])


def test_a_goal_begins_when_it_is_set() -> None:
    assert Battery(level=0.6).aim(TEN_HOURS, 5 * HOUR_MS).goal == Goal(5 * HOUR_MS, 0.6, pytest.approx(0.06 / HOUR_MS))


def test_without_a_goal_or_a_reading_a_joule_has_no_price() -> None:
    assert Battery().read(0.5, False, 0.0).joule_s(1e9) is None
    assert Battery().aim(TEN_HOURS, 0.0).joule_s(1e9) is None
    assert aimed().aim(Budget(), 1.0).joule_s(1e9) is None, "a budget that says nothing of it ends the goal"


def test_on_the_line_and_above_it_a_joule_costs_nothing() -> None:
    battery = aimed(0.8)
    assert price(battery, 0.0) == 0.0
    assert price(battery.read(0.79, False, HOUR_MS), HOUR_MS) == 0.0


def test_the_further_below_the_line_the_dearer_up_to_a_limit() -> None:
    lines = [aimed(0.8).read(level, False, HOUR_MS) for level in (0.72, 0.715, 0.71, 0.705, 0.70, 0.5)]
    prices = [price(battery, HOUR_MS) for battery in lines]
    assert prices == sorted(prices)
    assert prices[0] == pytest.approx(0.0, abs=1e-9)
    assert 0.0 < prices[1] < prices[2] < prices[3] < PRICE_FULL
    assert prices[2] == pytest.approx(PRICE_FULL * 0.01 / DEBT_FULL)
    assert prices[4] == pytest.approx(prices[5]) == pytest.approx(PRICE_FULL)


def test_time_alone_pays_a_debt_back() -> None:
    battery = aimed(0.8).read(0.72, False, 0.0)
    assert price(battery, 0.0) > price(battery, 0.9 * HOUR_MS) > price(battery, 1.1 * HOUR_MS) == 0.0


def test_on_a_charger_a_joule_is_free() -> None:
    assert price(aimed(0.8).read(0.5, False, 1.0), 1.0) > 0.0
    assert price(aimed(0.8).read(0.5, True, 1.0), 1.0) == 0.0


def test_between_two_readings_the_model_stands_in_for_the_gauge() -> None:
    battery = aimed(0.8)
    for step in range(1, 4):  # each per cent takes 100 J
        battery = battery.spent(100_000.0).read(0.8 - step / 100, False, step * 1_000.0)
    now_ms = 3 / 8 * HOUR_MS  # the line is at 0.77, too
    assert price(battery, now_ms) == pytest.approx(0.0, abs=1e-9)
    assert price(battery.spent(50_000.0), now_ms) == pytest.approx(PRICE_FULL * 0.005 / DEBT_FULL)
    assert price(battery.spent(50_000.0).spent(50_000.0), now_ms) == pytest.approx(PRICE_FULL * 0.01 / DEBT_FULL)


@pytest.mark.parametrize("truth", [0.6, 1.0, 1.6])
def test_what_a_modelled_joule_takes_is_learnt(truth: float) -> None:
    """A battery of 36 kJ, of which the model knows nothing: it is told of 1.5 J a second, and `truth` times that is drawn."""
    battery, charge = aimed(0.8), 0.8 * 36e6
    for second in range(1, 3_600):
        charge -= 1_500.0 * truth
        battery = battery.spent(1_500.0)
        battery = battery.read(ceil(charge / 36e6 * 100) / 100, False, second * 1e3)
    assert battery.share_per_mj == pytest.approx(truth / 36e6, rel=0.15)


def test_a_drain_that_becomes_another_one_is_followed() -> None:
    """A battery in the cold: twice the share of the charge for the same joules."""
    battery = aimed(0.8)
    for step in range(1, 40):
        battery = battery.spent(360_000.0 if step < 20 else 180_000.0).read(0.8 - step / 100, False, step * 1e5)
        if step == 19:
            assert battery.share_per_mj == pytest.approx(0.01 / 360_000, rel=0.01)
    assert battery.share_per_mj == pytest.approx(0.01 / 180_000, rel=0.05)


def test_a_first_reading_in_the_middle_of_a_per_cent_teaches_no_nonsense() -> None:
    """The gauge falls soon after, though hardly anything was spent: that says where it stood, not what a joule takes."""
    battery = aimed(0.8).spent(1_000.0).read(0.79, False, 1_000.0)
    dear = price(battery.spent(30_000.0), 1_000.0)
    assert dear <= PRICE_FULL * 0.021 / DEBT_FULL
    battery = battery.spent(360_000.0).read(0.78, False, 241_000.0)
    assert battery.share_per_mj == pytest.approx(0.01 / 360_000.0)


def test_charging_begins_anew_and_keeps_what_was_learnt() -> None:
    battery = aimed(0.8)
    for step in range(1, 4):
        battery = battery.spent(360_000.0).read(0.8 - step / 100, False, step * 1e5)
    learnt = battery.share_per_mj
    assert learnt == pytest.approx(0.01 / 360_000)
    plugged = battery.spent(9e9).read(0.77, True, 4e5).spent(9e9).read(0.9, True, 5e5)
    unplugged = plugged.spent(9e9).read(0.9, False, 6e5)
    assert (plugged.share_per_mj, unplugged.share_per_mj) == (learnt, learnt)
    assert unplugged.modelled_mj == 0.0, "what was spent on a charger is not the battery's"
    assert price(unplugged, 6e5) == 0.0


def test_a_device_that_goes_to_mains_has_no_price() -> None:
    assert aimed().read(None, None, 1.0).joule_s(1.0) is None


@pytest.mark.parametrize("hours", [4.0, 8.0])
@pytest.mark.parametrize("truth", [0.6, 1.0, 1.6])
def test_a_goal_within_reach_is_met_within_five_per_cent(truth: float, hours: float) -> None:
    """A request every 10 s costs 30 J or 3 J, whichever is cheaper at this price of a joule; the slower takes 20 s longer."""
    capacity_mj = 30_000.0 * 360 * 6  # 6 hours of the dear one
    battery, charge, now_ms = aimed(1.0, Budget(battery_lasts_ms=hours * HOUR_MS)), capacity_mj, 0.0
    while charge > 0.0 and now_ms < 30 * HOUR_MS:
        spent_mj = 3_000.0 if 27.0 * price(battery, now_ms) > 20.0 else 30_000.0
        now_ms += 10_000.0
        charge -= spent_mj * truth
        battery = battery.spent(spent_mj).read(max(ceil(charge / capacity_mj * 100) / 100, 0.0), False, now_ms)
    reach = min(hours, 6.0 * 10 / truth)
    assert now_ms / HOUR_MS >= 0.95 * reach
    if truth * hours > 6.0:
        assert now_ms / HOUR_MS <= 1.05 * hours, "what it may spend is spent"


ANY = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 5e-324, 1e300]) | st.floats(0.0, 1e6)
READING = st.none() | st.floats(0.0, 1.0)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(ANY, READING, st.none() | st.booleans(), st.floats(0.0, 1e6)), max_size=30))
def test_nothing_that_is_told_makes_the_price_anything_but_a_number(
    told: list[tuple[float, float | None, bool | None, float]],
) -> None:
    battery, now_ms = Battery().read(0.9, False, 0.0).aim(TEN_HOURS, 0.0), 0.0
    for spent_mj, level, charging, gap_ms in told:
        now_ms += gap_ms
        battery = battery.spent(spent_mj).read(level, charging, now_ms)
        joule_s = battery.joule_s(now_ms)
        assert joule_s is None or 0.0 <= joule_s <= PRICE_FULL
        assert battery.share_per_mj is None or isfinite(battery.share_per_mj)
        assert isfinite(battery.modelled_mj)
