"""The page of a report: the verdict follows from the figures, and everything that happened is on it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from splitinfer.picture import report_page
from splitinfer.picture.report import Rival
from tests.picture_values import parsed, report, run, titles, words


@pytest.mark.parametrize(
    ("ahead_ms", "beaten", "ahead"), [(21, True, False), (20, False, False), (-20, False, False), (-21, False, True)]
)
def test_a_difference_counts_from_two_standard_errors_on(ahead_ms, beaten, ahead):
    rival = Rival("other", ahead_ms, se_ms=10)
    assert (rival.beaten, rival.ahead) == (beaten, ahead)


def test_errors_of_a_difference_add_in_squares():
    leg = replace(report().legs[0], runs=(run("other", 100, 3), run("ours", 90, 4)))
    assert leg.rivals() == (Rival("other", 10, 5),)


def test_the_same_plans_run_twice_show_how_far_the_machine_drifts():
    whole = report()
    again = replace(run("again", 98, 4), policy="static:slow")
    leg = replace(whole.legs[0], runs=(run("slow", 90, 3), again, run("ours", 20, 1)))
    assert leg.drift() == (Rival("slow", -8, 5),)
    seen = words(parsed(report_page(replace(whole, legs=(leg,)))))
    assert "slow was run again under another name: the same plans gave a mean 8 ms apart (± 5 ms)." in seen
    assert "again under another name" not in words(parsed(report_page(whole)))


def test_the_verdict_is_said_for_each_way():
    seen = words(parsed(report_page(report())))
    assert "is ours below every other way by more than 2 standard errors? no, only of 1 of 3." in seen
    assert "slow: yes, ours is lower by 320 ms" in seen
    assert "fast: no, fast is lower by 240 ms" in seen
    assert "twin: no, the difference of 8 ms" in seen
    assert "The lowest mean latency is that of fast; ours is 150 % above it, more than 10 %." in seen


def test_a_win_is_said_plainly():
    whole = report()
    leg = whole.legs[0]
    won = replace(whole, legs=(replace(leg, runs=(leg.runs[0], leg.runs[3])),))
    seen = words(parsed(report_page(won)))
    assert "standard errors? yes." in seen
    assert "The lowest mean latency is that of ours." in seen


def test_every_request_and_every_change_is_drawn():
    subject = report()
    shown = titles(parsed(report_page(subject)))
    for one in subject.legs[0].runs:
        for moment in one.moments:
            start = f"{moment.at_s:.2f} s: "
            assert any(title.startswith(start) and str(moment.outcome) in title for title in shown)
    assert any("2/none → 1/int8+zstd1, link: expects 30 ms" in title for title in shown)
    assert sum("battery: saves energy" in title for title in shown) == 1


def test_the_plan_that_held_before_the_clock_started_is_drawn_from_the_start():
    subject = report()
    steps = [line.get("points") for line in parsed(report_page(subject)).iter("polyline") if "way4" in line.get("stroke")]
    (plan,) = steps
    x, y = zip(*(map(float, point.split(",")) for point in plan.split()), strict=True)
    assert list(x) == sorted(x)
    assert y[0] == y[1] == y[-1] < y[2] == y[3]


def test_what_was_unknown_is_a_gap():
    subject = report()
    believed = [line for line in parsed(report_page(subject)).iter("polyline") if "accent" in line.get("stroke")]
    assert len(believed) == 2


def test_energy_is_said_to_be_modelled():
    seen = words(parsed(report_page(report())))
    assert "energy, modelled" in seen
    assert "Energy is modelled from times and bytes, not measured." in seen


def test_several_slowdowns_are_compared_and_each_has_a_section():
    root = parsed(report_page(report((2.0, 8.0))))
    heads = [head.text for head in root.iter("h2")]
    assert heads == [
        "Over the slowness of the device",
        "Device 2 times slower than this machine",
        "Device 8 times slower than this machine",
    ]
    assert any(title.startswith("twin, × 2: 102 ms") for title in titles(root))


def test_a_run_without_changes_or_battery_is_fine():
    whole = report()
    plain = replace(whole, legs=(replace(whole.legs[0], runs=(run("a", 10, 1), run("ours", 20, 1, battery=None))),))
    assert "None." in words(parsed(report_page(plain)))


def test_a_hostile_way_stays_text():
    name = "<script>ours</script>&"
    root = parsed(report_page(report(name=name)))
    assert not list(root.iter("script"))
    assert name in words(root)


def test_the_page_needs_nothing_else_and_is_the_same_each_time():
    page = report_page(report((2.0, 8.0)))
    assert page == report_page(report((2.0, 8.0)))
    assert not re.search(r"https?:|//|<script|<link|<img|@import|\bsrc=|\bhref=|url\((?!#)", page)
