"""Every boundary on the page of a bundle: each is drawn once, named where it is a cut, and says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from splitinfer.bundle import BoundaryEntry, Bundle
from splitinfer.bundle.boundaries import encode_boundaries
from splitinfer.bundle.records import Info
from splitinfer.picture import model_page
from tests.picture_values import bundle, parsed, titles, words

HOSTILE = "<script>alert(1)</script>&\"'</svg>"


def boundaries(
    count: int = 12, kept: Sequence[int] = (0, 3, 4, 11), refused: Sequence[int] = (5,)
) -> tuple[BoundaryEntry, ...]:
    """Boundaries whose bytes go up and down; the last one sends nothing."""
    return tuple(
        BoundaryEntry(
            id=f"{i:012x}",
            name=f"t{i}",
            position=i,
            nbytes=0 if i == count - 1 else 1000 * (i % 4 + 1),
            depth=i / (count - 1),
            kept=i in kept,
            offered=i not in refused,
            why=f"reason {i}",
        )
        for i in range(count)
    )


def page_of(tmp_path: Path, found: Sequence[BoundaryEntry], **build: object) -> str:
    (tmp_path / "boundaries.json").write_bytes(encode_boundaries(found))
    return model_page(_at(tmp_path, build))


def _at(folder: Path, build: dict[str, object]) -> Bundle:
    return replace(bundle(3), path=folder, info=Info("net", "1", build))


@pytest.mark.parametrize("count", [2, 3, 12, 200])
def test_every_boundary_is_drawn_once_with_its_reason(tmp_path, count):
    found = boundaries(count, kept=(0, count // 2, count - 1))
    shown = titles(parsed(page_of(tmp_path, found)))
    for boundary in found:
        about = [title for title in shown if title.startswith(f"{boundary.name} (id {boundary.id}): ")]
        assert len(about) == 1
        assert about[0].endswith(f": {boundary.why}")


def test_kept_left_out_and_refused_look_different(tmp_path):
    root = parsed(page_of(tmp_path, boundaries()))
    looks = {}
    for svg in root.iter("svg"):
        for shape in svg.iter():
            if (title := shape.find("title")) is not None and (match := re.match(r"t(\d+) \(id", title.text)):
                looks[int(match[1])] = (shape.tag, shape.get("fill"))
    assert looks[3] == ("circle", "var(--device)")
    assert looks[1] == ("circle", "var(--paper)")
    assert looks[5] == ("polygon", "var(--paper)")
    assert {look for i, look in looks.items() if i in (0, 3, 4, 11)} == {looks[3]}


def test_the_legend_names_what_is_there(tmp_path):
    assert "cannot be cut" in words(parsed(page_of(tmp_path, boundaries())))
    assert "cannot be cut" not in words(parsed(page_of(tmp_path, boundaries(refused=()))))


def test_cuts_are_named_and_their_words_do_not_overlap(tmp_path):
    found = [replace(boundary, depth=boundary.depth / 8) for boundary in boundaries(12, kept=range(11))]
    root = parsed(page_of(tmp_path, found))
    drawing = next(svg for svg in root.iter("svg") if (svg.get("aria-label") or "").startswith("bytes that cross"))
    at = [(float(t.get("x")), float(t.get("y"))) for t in drawing.iter("text") if re.fullmatch(r"cut \d+", t.text)]
    assert len(at) == 11
    for i, (x, y) in enumerate(at):
        assert all(abs(x - other_x) > 15 or abs(y - other_y) > 30 for other_x, other_y in at[:i])


def test_too_many_cuts_are_not_named(tmp_path):
    root = parsed(page_of(tmp_path, boundaries(40, kept=range(40))))
    drawing = next(svg for svg in root.iter("svg") if (svg.get("aria-label") or "").startswith("bytes that cross"))
    assert not [t for t in drawing.iter("text") if re.fullmatch(r"cut \d+", t.text)]


def test_all_reasons_stand_in_a_table(tmp_path):
    root = parsed(page_of(tmp_path, boundaries()))
    rows = [[cell.text or "" for cell in row] for details in root.iter("details") for row in details.iter("tr")][1:]
    assert [row[-1] for row in rows] == [boundary.why for boundary in boundaries()]
    assert [row[4] for row in rows] == ["cut" if boundary.kept else "" for boundary in boundaries()]


def test_the_loss_of_the_frontier_is_stated(tmp_path):
    seen = words(parsed(page_of(tmp_path, boundaries(), frontier={"loss_mean": 0.0012, "loss_worst": 0.034})))
    assert "the latency is 0.12 % above that with every boundary, at worst 3.4 %" in seen
    assert "above that with every boundary" not in words(parsed(page_of(tmp_path, boundaries())))


@pytest.mark.parametrize("frontier", [None, 3, {}, {"loss_mean": "much", "loss_worst": 0}])
def test_a_loss_that_cannot_be_read_is_not_stated(tmp_path, frontier):
    assert "above that with every boundary" not in words(parsed(page_of(tmp_path, boundaries(), frontier=frontier)))


def test_a_hostile_name_or_reason_stays_text(tmp_path):
    found = [replace(boundary, name=HOSTILE, why=HOSTILE) for boundary in boundaries()]
    root = parsed(page_of(tmp_path, found))
    assert not list(root.iter("script"))
    assert HOSTILE in words(root)


def test_without_boundaries_the_page_does_not_speak_of_them(tmp_path):
    assert "Every place" not in words(parsed(model_page(_at(tmp_path, {}))))
