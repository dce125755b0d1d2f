"""Rate against accuracy on the page of a bundle: every plan stands where it was measured, next to what it has to beat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from splitinfer.picture import model_page
from splitinfer.picture.rates import PANELS, series
from splitinfer.plan import Leak, Plan, PlanScore, Scorecard
from tests.picture_values import bundle, parsed, titles, words

NAME = "bytes against answers kept, by cut"
LEAK = Leak(psnr_db=19.0, ssim=0.6, baseline_psnr_db=11.6, baseline_ssim=0.13, n=50)


def score(nbytes: int, loss: float | None, bound: float | None = None, leak: Leak | None = None) -> PlanScore:
    return PlanScore(nbytes, nbytes, loss, bound, 200, leak_at_least=leak)


MEASURED = {
    Plan(0, "jpeg:75"): score(10_000, 0.06, 0.1),
    Plan(0, "jpeg:90"): score(20_000, 0.01, 0.03),
    Plan(0, "png"): score(90_000, 0.0, 0.0),
    Plan(1, "raw"): score(80_000, 0.0, 0.0, replace(LEAK, ssim=0.7)),
    Plan(1, "int8+zstd1"): score(8_000, 0.005, 0.02, LEAK),
    Plan(1, "int4+zstd1"): score(4_000, 0.03, 0.06, LEAK),
    Plan(1, "klt:0.25"): score(3_000, 0.01, 0.03, LEAK),
    Plan(1, "klt:1"): score(1_000, 0.08, 0.12, LEAK),
}


def page_of(scores: Mapping[Plan, PlanScore], n: int = 2, metric: str = "agreement") -> ET.Element:
    subject = bundle(n)
    return parsed(model_page(replace(subject, scorecard=Scorecard(subject.digest, scores, metric))))


def panels(root: ET.Element) -> ET.Element:
    return next(svg for svg in root.iter("svg") if svg.get("aria-label") == NAME)


def place(svg: ET.Element, title: str) -> tuple[float, float]:
    """Where the mark whose title starts like this stands."""
    for shape in svg.iter():
        if (words := shape.findtext("title") or "").startswith(title) and shape.tag in ("circle", "polygon"):
            if shape.tag == "circle":
                return float(shape.get("cx")), float(shape.get("cy"))
            corners = [tuple(map(float, corner.split(","))) for corner in shape.get("points").split()]
            return sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
    raise AssertionError(f"no mark {title!r}; the last one was {words!r}")


def test_every_plan_stands_once_with_what_was_measured():
    shown = titles(page_of(MEASURED))
    for plan, row in MEASURED.items():
        about = [title for title in shown if title.startswith(f"{plan.codec} at cut {plan.cut}: ")]
        assert len(about) == 1
        assert "n = 200" in about[0]
        assert ("SSIM" in about[0]) == (row.leak_at_least is not None)
    assert any(
        title.startswith("int4+zstd1 at cut 1: 4 KB, 97 % kept (at least 94 % with 95 % confidence, n = 200)")
        for title in shown
    )


def test_fewer_bytes_are_further_left_and_more_answers_higher_up():
    svg = panels(page_of(MEASURED))
    rows = {plan: place(svg, f"{plan.codec} at cut 1: ") for plan in MEASURED if plan.cut == 1}
    by_bytes = sorted(rows, key=lambda plan: MEASURED[plan].bytes_p50)
    by_loss = sorted(rows, key=lambda plan: MEASURED[plan].accuracy_loss)
    assert [rows[plan][0] for plan in by_bytes] == sorted(rows[plan][0] for plan in rows)
    assert [rows[plan][1] for plan in by_loss] == pytest.approx(sorted(rows[plan][1] for plan in rows), abs=1e-6)


def test_all_panels_have_the_same_axes():
    same = {Plan(cut, "raw"): score(5_000, 0.02, 0.04) for cut in range(4)}
    svg = panels(page_of(same, n=4))
    places = [place(svg, f"raw at cut {cut}: ") for cut in range(4)]
    assert places[0][0] == pytest.approx(places[2][0], abs=0.1)
    assert places[1][0] - places[0][0] == pytest.approx(places[3][0] - places[2][0], abs=0.1)
    assert places[0][1] == pytest.approx(places[1][1], abs=0.1)


def test_the_fewest_bytes_that_keep_the_answers_are_named_and_ringed():
    root = page_of(MEASURED)
    seen = words(root)
    assert "99 % kept: jpeg:90, 20 KB" in seen
    assert "99 % kept: klt:0.25, 3 KB, 0.15 × the coded input" in seen
    rings = [(float(c.get("cx")), float(c.get("cy"))) for c in panels(root).iter("circle") if c.get("class") == "ring"]
    assert rings == [pytest.approx(place(panels(root), f"{plan} at cut"), abs=0.5) for plan in ("jpeg:90", "klt:0.25")]


def test_where_no_plan_keeps_the_answers_that_is_said():
    assert "no plan within 1 %" in words(page_of({Plan(1, "int4"): score(10, 0.5, 0.6)}))


def test_the_coded_input_is_in_every_panel():
    svg = panels(page_of({**MEASURED, Plan(2, "raw"): score(70_000, 0.0, 0.0)}, n=3))
    assert len([line for line in svg.iter("polyline") if line.get("class") == "rival"]) == 3


def test_the_worst_leak_of_a_cut_is_its_number():
    root = page_of(MEASURED)
    assert "leaks ≥ 0.70" in words(root)
    assert any(
        title.startswith("worst plan of this cut: input rebuilt: SSIM 0.70, 19 dB (a guess: 0.13") for title in titles(root)
    )
    assert "Splitting a model is not privacy." in words(root)
    row = next(tr for tr in root.iter("tr") if tr[0].text == "1/klt:1")
    assert "≥ 0.60, 19 dB" in [cell.text for cell in row]


def test_a_leak_of_something_that_is_no_picture_is_in_decibels():
    sound = {plan: replace(row, leak_at_least=replace(LEAK, ssim=None, baseline_ssim=None)) for plan, row in MEASURED.items()}
    assert "leaks ≥ 19 dB" in words(page_of(sound))


def test_without_leaks_the_page_does_not_speak_of_them():
    assert "privacy" not in words(page_of({Plan(1, "raw"): score(10, 0.0, 0.0)}))


def test_what_was_not_measured_is_not_drawn():
    root = page_of({Plan(1, "half"): PlanScore(10, 10), Plan(1, "raw"): PlanScore(20, 20, 0.0, 0.0, 0)})
    assert NAME not in [svg.get("aria-label") for svg in root.iter("svg")]
    assert "Bytes against accuracy" not in words(root)


def test_another_metric_is_named():
    assert "↑ kept of the metric accuracy" in words(page_of(MEASURED, metric="accuracy"))


def test_of_many_cuts_the_best_are_drawn():
    many = {Plan(cut, "raw"): score(1000 * (cut * 7 % 60 + 1), 0.0, 0.0) for cut in range(60)}
    root = page_of(many, n=60)
    drawn = [int(match[1]) for t in panels(root).iter("text") if (match := re.match(r"cut (\d+)", t.text or ""))]
    least = sorted(range(1, 60), key=lambda cut: many[Plan(cut, "raw")].bytes_p50)[: PANELS - 1]
    assert drawn == sorted([0, *least])
    assert f"Of 60 cuts {PANELS} are drawn" in words(root)


def test_nothing_leaves_the_drawing():
    svg = panels(page_of({**MEASURED, Plan(1, "int8"): score(0, 1.0, 1.0)}))
    width, height = map(float, svg.get("viewBox").split()[2:])
    for circle in svg.iter("circle"):
        assert 0 <= float(circle.get("cx")) <= width
        assert 0 <= float(circle.get("cy")) <= height
    for line in svg.iter("line"):
        assert all(-0.1 <= float(line.get(end)) <= size + 0.1 for end, size in (("x2", width), ("y1", height), ("y2", height)))


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("klt:0.25", "klt"),
        ("int6+zstd1", "intN"),
        ("int4d+zstd1", "intN"),
        ("half+zstd1", "half"),
        ("webp:90", "media"),
        ("png", "lossless"),
        ("raw+zstd1", "lossless"),
        ("somebody-elses:3", "other"),
    ],
)
def test_codecs_that_belong_together_look_alike(codec, name):
    assert series(codec) == name
