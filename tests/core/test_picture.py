"""The page of a bundle: well-formed, complete, self-contained, and honest about what is unknown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.picture import model_page
from splitinfer.picture.markup import Markup, fitted, tag
from splitinfer.picture.numbers import brief, millis, share, size
from splitinfer.picture.scale import Scale, indices, linear_scale, log_scale
from tests.picture_values import bundle, parsed, titles, words

HOSTILE = "<script>alert(1)</script>&amp;\"'\x00</svg>"
COUNTS = [1, 2, 7, 9, 10, 60]


@pytest.mark.parametrize("n", COUNTS)
def test_every_cut_segment_and_plan_is_drawn(n):
    subject = bundle(n)
    shown = titles(parsed(model_page(subject)))
    for i in range(n + 1):
        assert any(re.match(rf"cut {i}[ :]", title) for title in shown)
    for i in range(n):
        assert any(title.startswith(f"segment {i}:") for title in shown)
    for plan in subject.scorecard.scores:
        assert any(title.startswith(f"{plan}: ") for title in shown)


@pytest.mark.parametrize("n", COUNTS)
def test_every_tensor_is_named(n):
    subject = bundle(n)
    seen = words(parsed(model_page(subject)))
    assert all(spec.name in seen for cut in subject.model.cuts for spec in cut.tensors)


@pytest.mark.parametrize("n", COUNTS)
def test_nothing_is_drawn_outside_its_picture(n):
    root = parsed(model_page(bundle(n)))
    pictures = [svg for svg in root.iter("svg") if svg.get("role") == "img"]
    assert len(pictures) == 4
    for svg in pictures:
        width, height = map(float, svg.get("viewBox").split()[2:])
        for rect in svg.iter("rect"):
            x, y, w, h = (float(rect.get(side)) for side in ("x", "y", "width", "height"))
            assert min(x, y, w, h) >= 0
            assert x + w <= width + 0.1
            assert y + h <= height + 0.1


@pytest.mark.parametrize("n", range(2, 9))
def test_more_compute_is_a_wider_box(n):
    model = bundle(n).model
    boxes = [rect for rect in parsed(model_page(bundle(n))).iter("rect") if rect.get("class") == "box"]
    widths = [float(box.get("width")) for box in boxes]
    shares = [s.operations for s in model.segments]
    assert len(widths) == n
    assert sorted(range(n), key=lambda i: (shares[i], i)) == sorted(range(n), key=lambda i: (widths[i], i))


def test_a_cut_of_several_tensors_is_several_lines():
    model = bundle(5).model
    wires = [title for title in titles(parsed(model_page(bundle(5)))) if title.startswith("net_4_")]
    assert len(model.cuts[4].tensors) == len(wires) == 5


def test_the_page_needs_nothing_else():
    page = model_page(bundle(7))
    assert not re.search(r"https?:|//|<script|<link|<img|@import|\bsrc=|\bhref=|url\((?!#)", page)


def test_the_same_bundle_gives_the_same_page():
    assert model_page(bundle(7)) == model_page(bundle(7))


@pytest.mark.parametrize("n", [3, 60])
def test_a_hostile_name_stays_text(n):
    root = parsed(model_page(bundle(n, name=HOSTILE)))
    assert not list(root.iter("script"))
    assert HOSTILE.replace("\x00", "\ufffd") in words(root)


def test_without_records_the_page_says_so():
    seen = words(parsed(model_page(bundle(4, scored=False, profiled=False))))
    assert "no scorecard" in seen
    assert "no reference profile" in seen
    assert "0 ms" not in seen


def test_segments_that_are_not_held_are_hatched_and_have_no_time():
    root = parsed(model_page(bundle(4, holds=2)))
    hatched = [rect for rect in root.iter("rect") if "absent" in (rect.get("class") or "")]
    assert len(hatched) == 2
    assert all("hatch" in rect.get("style") for rect in hatched)
    timed = [title for title in titles(root) if re.match(r"cut \d: device", title)]
    assert {title[:5] for title in timed} == {"cut 0", "cut 1", "cut 2"}
    assert "no answer without the cloud" in words(root)


def test_what_was_not_measured_never_looks_like_nothing():
    row = next(tr for tr in parsed(model_page(bundle(2))).iter("tr") if tr[0].text == "1/half")
    assert row[3].text == row[4].text == "–"
    assert [size(None), millis(None), share(None), brief(None)] == ["–"] * 4
    assert [size(0), millis(0.0), share(0.0)] == ["0 B", "0 ms", "0 %"]


def test_the_smallest_upload_is_one_whose_answers_hold():
    seen = words(parsed(model_page(bundle(3))))
    assert "smallest upload within 1 %: int8+zstd1" in seen


@pytest.mark.parametrize(
    ("nbytes", "text"), [(999, "999 B"), (1000, "1 KB"), (12_345, "12.3 KB"), (4_700_000, "4.7 MB"), (3e9, "3 GB")]
)
def test_bytes_have_units(nbytes, text):
    assert size(nbytes) == text


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_text_goes_in_and_comes_out(value):
    root = parsed("<!DOCTYPE html>\n" + tag("p", value, title=value))
    assert not set(root.itertext()) & {"\x00"}
    assert root.attrib.keys() == {"title"}
    if value.isprintable():
        assert (root.text or "") == root.get("title") == value


def test_markup_is_not_escaped_twice():
    assert tag("p", tag("b", "a<b")) == "<p><b>a&lt;b</b></p>"
    assert tag("p", Markup("<i></i>"), class_="x", stroke_width=1.0, id=None) == '<p class="x" stroke-width="1"><i></i></p>'


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=5), st.booleans())
def test_ticks_lie_on_the_scale_and_are_not_too_many(values, log):
    scale = log_scale(values, 0, 100) if log else linear_scale(values, 0, 100)
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 7
    assert list(ticks) == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    assert [scale(scale.low), scale(scale.high)] == pytest.approx([0, 100])
    assert [scale(v) for v in sorted(values)] == sorted(scale(v) for v in values)


def test_values_beyond_a_scale_stand_on_its_edge():
    scale = Scale(1, 100, 0, 10, log=True)
    assert [scale(0), scale(10), scale(1e9)] == pytest.approx([0, 5, 10])


@pytest.mark.parametrize(("last", "expected"), [(0, [0]), (3, [0, 1, 2, 3]), (60, list(range(0, 61, 5)))])
def test_indices_at_an_axis(last, expected):
    assert indices(last) == expected


def test_long_names_keep_their_ends():
    assert fitted("short", 100) == "short"
    assert fitted("model.layers.12.attention.out", 80, 10) == "model.…on.out"
