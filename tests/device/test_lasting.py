"""A wall clock's "until 18:00" as a budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from splitinfer.device.lasting import lasting_until
from splitinfer.plan import Budget

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


def test_until_six_is_six_hours():
    budget = Budget(latency_ms=80, battery_share_per_h=0.1)
    assert lasting_until(budget, NOON.replace(hour=18), NOON) == Budget(latency_ms=80, battery_lasts_ms=6 * 3.6e6)


def test_time_zones_are_counted():
    elsewhere = datetime(2030, 5, 1, 18, tzinfo=timezone(timedelta(hours=2)))
    assert lasting_until(Budget(), elsewhere, NOON).battery_lasts_ms == 4 * 3.6e6


def test_without_a_time_zone_it_is_local_time():
    soon = datetime.now() + timedelta(hours=1)
    assert lasting_until(Budget(), soon).battery_lasts_ms == pytest.approx(3.6e6, abs=60_000)


def test_the_past_is_refused():
    with pytest.raises(ValueError, match="2030-05-01 12:00 is past"):
        lasting_until(Budget(), NOON, NOON)
