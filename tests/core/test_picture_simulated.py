"""The page of a simulation: says that it is simulated, names the winner, and draws every policy over one link."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from splitinfer.picture.simulated import simulated_page
from splitinfer.picture.simulated_course import BANDS, most_varied
from splitinfer.picture.simulated_spread import leading, paint
from splitinfer.plan import Budget
from splitinfer.sim.study import Link, Results, Study, conduct, figures, named_ways, verdict
from splitinfer.sim.trace import LinkTrace
from splitinfer.sim.world import WORKLOADS
from tests.picture_values import parsed, titles, words

B = WORKLOADS["B"]
STEADY = LinkTrace.steps([(60, 20, 10)], name="wifi-steady", wraps=True)
WILD = LinkTrace.steps([(9, 30, 10), (6, 0, 30), (5, 0.4, 30)], name="lte-wild", wraps=True)
LINKS = (Link(STEADY, "wifi", "one"), Link(WILD, "lte", "two & more"))


def results(workload=B, links=LINKS, names=(), **changes) -> Results:
    asked = {"budget": changes.get("budget") or Budget(latency_ms=workload.latency_ms), "requests": 30, **changes}
    return conduct(Study(workload, links, named_ways(names, workload, asked["budget"]), **asked), workers=1)


@pytest.fixture(scope="module")
def found() -> Results:
    return results()


@pytest.fixture(scope="module")
def root(found):
    return parsed(simulated_page(found))


def test_the_page_says_first_that_nothing_was_measured(root):
    assert root.find("head/title").text == "Simulated: B over 2 traces"
    assert root.find("body/h1").text == "Simulated: B over 2 traces"
    assert (
        root.find("body/p").text == "Every figure on this page is from a simulation in virtual time; nothing here was measured."
    )


def test_verdicts_and_figures_are_those_of_the_study(found, root):
    seen = words(root)
    for family in (None, *found.study.families):
        assert verdict(found, family).text in seen
        for way in found.study.ways:
            assert f"{100 * figures(found, way, family).late:.2f} %" in seen
    heads = [cell.text for cell in root.find(".//table/thead/tr")]
    assert heads[:7] == ["policy", "mean", "p50", "p95", "p99", "regret", "late"]
    tables = list(root.iter("table"))
    assert len(tables) == 3
    assert [row[0].text for row in tables[0].find("tbody")] == [way.name for way in found.study.ways]


def test_every_policy_has_a_curve_that_rises_to_the_top(found, root):
    curves = [group for group in root.iter("g") if group.find("polyline") is not None and group.find("title") is not None]
    assert {curve.find("title").text for curve in curves} == {way.name for way in found.study.ways}
    for curve in curves:
        points = [tuple(map(float, point.split(","))) for point in curve.find("polyline").get("points").split()]
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
        assert points[-1][1] < 60  # the drawing begins at 34, where 100 % is


def test_bands_and_points_show_each_plan_and_each_request(found, root):
    shown = titles(root)
    for way in found.study.ways:
        (course,) = found.of(way, LINKS[1])
        for at_ms, plan, outcome in zip(course.began_ms, course.plan, course.outcome, strict=True):
            assert sum(title.startswith(f"{at_ms / 1e3:.2f} s: ") for title in shown) >= 1, (plan, outcome)
    bands = [title for title in shown if re.fullmatch(r"[\d.]+ to [\d.]+ s: \d+ requests, plan .*", title)]
    assert sum(int(band.split(": ")[1].split()[0]) for band in bands) == len(found.study.ways) * 30
    assert any(band.endswith("plan 5/none") for band in bands)
    assert any("plan 0/" in band for band in bands)
    faint = {rect.get("fill") for rect in root.iter("rect") if rect.get("opacity")}
    assert faint >= {f"var(--{BANDS[kind][0]})" for kind in ("device", "upload")}


def test_a_band_ends_where_the_next_one_begins(root):
    by_panel: dict[str, list[tuple[float, float]]] = {}
    for rect in root.iter("rect"):
        if rect.get("opacity"):
            by_panel.setdefault(rect.get("y"), []).append((float(rect.get("x")), float(rect.get("width"))))
    assert len(by_panel) == 6
    for bands in by_panel.values():
        for (x, width), (after, _) in pairwise(bands):
            assert x + width == pytest.approx(after, abs=0.03)


def test_outages_are_shaded(found):
    shaded = [
        len([r for r in parsed(simulated_page(found, name)).iter("rect") if r.get("class") == "even"])
        for name in ("lte-wild", "wifi-steady")
    ]
    assert shaded[0] > 50
    assert shaded[1] == 0


def test_the_link_that_varies_most_is_shown_unless_another_is_asked_for(found):
    assert most_varied(found.study).trace.name == "lte-wild"
    assert "One link: lte-wild" in words(parsed(simulated_page(found)))
    assert "One link: wifi-steady" in words(parsed(simulated_page(found, "wifi-steady")))


def test_without_a_deadline_none_is_drawn():
    free = replace(B, latency_ms=float("inf"))
    seen = words(parsed(simulated_page(results(free, LINKS[:1], budget=Budget()))))
    assert "late is not given" in seen
    assert "budget 4" not in seen
    assert "Family by family" not in seen


def test_a_link_that_is_dead_throughout_is_drawn():
    dead = Link(LinkTrace.steps([(10, 0, 30)], name="dead", wraps=True), "wifi", "none")
    seen = words(parsed(simulated_page(results(links=(dead,), names=("robust", "device"), requests=4))))
    assert "The device alone is the best plan" in seen


def test_cuts_in_between_are_named():
    page = simulated_page(results(names=("static:3/int8+zstd1",), links=LINKS[:1]))
    assert "cut in between" in words(parsed(page))
    assert ">cut 3<" in page


def test_the_first_that_adapts_is_set_off_and_no_two_of_the_usual_look_the_same(found):
    assert leading(found.study).name == "thompson"
    assert len({paint(found.study, way) for way in found.study.ways}) == len(found.study.ways)


def test_hostile_names_stay_text():
    name = "<script>x</script>&"
    link = Link(replace(STEADY, name=name), "wifi", name)
    root = parsed(simulated_page(results(replace(B, name=name, about=name), (link,), names=("robust",), requests=3)))
    assert not list(root.iter("script"))
    assert f"One link: {name}" in words(root)


def test_the_page_needs_nothing_else_and_is_the_same_each_time(found):
    page = simulated_page(found)
    assert page == simulated_page(found)
    assert not re.search(r"https?:|//|<script|<link|<img|@import|\bsrc=|\bhref=|url\((?!#)", page)
