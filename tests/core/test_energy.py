"""What an upload costs a device, against values that were worked out by hand from the published figures."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.energy import LTE, NR, RADIOS, SATELLITE, UMTS, WIFI, WIRED, Power, Radio

KB32 = 32_000
SENT_MS = 40.0
"""Of 32 KB at 6.4 Mbit/s."""


def test_one_upload_on_lte_costs_ten_joules_for_what_comes_after_it() -> None:
    bits_mj = 76.7 * 256_000 * 1e-6
    assert LTE.energy_mj(SENT_MS, KB32, inf) == pytest.approx(0.59 * 40 + bits_mj + 1.21 * 260 + 1.0 * 10_000)
    assert LTE.energy_mj(SENT_MS, KB32, inf) == pytest.approx(10_357.8, abs=0.1)


def test_the_next_one_pays_for_the_time_since_the_last_alone() -> None:
    assert LTE.energy_mj(SENT_MS, KB32, 2_000.0) == pytest.approx(23.6 + 19.635 + 2_000.0, abs=0.01)
    assert LTE.energy_mj(SENT_MS, KB32, 0.0) == pytest.approx(23.6 + 19.635, abs=0.01)


def test_a_promotion_is_paid_when_the_tail_has_ended() -> None:
    before_mj, after_mj = LTE.wake_mj(9_999.0), LTE.wake_mj(10_000.0)
    assert (LTE.sleeps(9_999.0), LTE.sleeps(10_000.0)) == (False, True)
    assert after_mj - before_mj == pytest.approx(1.21 * 260 + 1.0)


@pytest.mark.parametrize(
    ("radio", "isolated_mj"),
    [
        (WIFI, 0.8 * 40 + 30.0 * 0.256 + 0.119 * 238),
        (SATELLITE, 0.8 * 40 + 30.0 * 0.256 + 0.119 * 238),
        (UMTS, 0.8 * 40 + 400.0 * 0.256 + 0.8 * 8_000 + 0.66 * 582),
        (NR, 0.86 * 40 + 32.2 * 0.256 + 0.8 * 10_500 + 1.21 * 260),
        (WIRED, 0.0),
    ],
    ids=lambda value: value.name if isinstance(value, Radio) else "",
)
def test_an_isolated_upload(radio: Radio, isolated_mj: float) -> None:
    assert radio.energy_mj(SENT_MS, KB32, inf) == pytest.approx(isolated_mj)


def test_a_radio_without_a_tail_wakes_at_once() -> None:
    assert WIRED.wake_mj(0.0) == WIRED.wake_mj(inf) == 0.0
    assert (WIRED.promotion_ms, WIFI.promotion_ms) == (0.0, 0.0)


def test_a_clock_that_went_back_is_no_refund() -> None:
    assert LTE.wake_mj(-5_000.0) == 0.0


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from([*RADIOS.values()]), st.floats(0.0, 1e5), st.floats(0.0, 1e5))
def test_the_longer_the_pause_the_dearer_the_next_upload_up_to_a_whole_tail(
    radio: Radio, one_ms: float, other_ms: float
) -> None:
    short_mj, long_mj = radio.wake_mj(min(one_ms, other_ms)), radio.wake_mj(max(one_ms, other_ms))
    assert 0.0 <= short_mj <= long_mj <= radio.wake_mj(inf)


def test_what_is_computed_is_paid_whatever_crosses() -> None:
    power = Power(compute_w=3.0)
    assert power.energy_mj(100.0, 0.0, 0, "lte", inf) == 300.0
    assert power.energy_mj(100.0, SENT_MS, KB32, "wifi") == pytest.approx(300.0 + 32.0 + 7.68)


def test_an_unknown_link_is_taken_for_wifi() -> None:
    power = Power()
    assert power.radio(None) is power.radio("pigeon") is power.radio("wifi") is WIFI
    assert {name: power.radio(name).name for name in RADIOS} == {name: name for name in RADIOS}


def test_a_user_replaces_one_radio_or_all() -> None:
    mine = replace(LTE, tail_ms=5_000.0)
    one = Power(radios=RADIOS | {"lte": mine})
    assert one.radio("lte") is mine
    assert one.radio("5g") is NR
    assert one.energy_mj(0.0, 0.0, 1, "lte", inf) == pytest.approx(5_000 + 1.21 * 260, abs=0.01)
    only = Power(radios={"wifi": replace(WIFI, active_w=2.0)})
    assert only.radio("lte").active_w == only.radio(None).active_w == 2.0, "what is unknown is taken for their WiFi, not ours"
    with pytest.raises(TypeError):
        RADIOS["lte"] = mine  # type: ignore[index]
