"""`splitinfer bench main`: its shape, and those of its rows that are counts. What is timed is measured, not tested."""

from __future__ import annotations

import json

import numpy as np
import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.main import footprint
from splitinfer.bench.main.answers import difference
from splitinfer.bench.main.bundles import toy
from splitinfer.build import random_feeds
from splitinfer.cli.app import run
from splitinfer.errors import SplitInferError

PARTS = ["same-answer", "overheads", "footprint", "reactions", "uploads", "security", "demo"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict]:
    """Runs it; gives its rows by name."""
    assert run(["bench", "main", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"machine", "versions", "rows"}
    for row in found["rows"]:
        assert row.keys() == {"name", "value", "unit", "goal", "met", "rival", "ratio", "n", "spread"}
    return {row["name"]: row for row in found["rows"]}


def one(rows: dict[str, dict], start: str) -> dict:
    (row,) = [row for name, row in rows.items() if name.startswith(start)]
    return row


def test_its_parts(capsys):
    assert run(["bench", "main", "--list"]) == 0
    assert capsys.readouterr().out.split() == PARTS


def test_a_part_that_does_not_exist(capsys):
    assert run(["bench", "main", "--only", "everything"]) == 2
    assert "same-answer" in capsys.readouterr().err


def test_footprint_and_security(capsys):
    rows = bench(capsys, "--only", "footprint", "--only", "security")
    assert one(rows, "import splitinfer")["value"] == 0
    assert one(rows, "device install")["met"]
    assert one(rows, "as it should be") | {"value": 5, "goal": ">= 5", "met": True, "n": 5} == one(rows, "as it should be")


def test_reactions(capsys):
    rows = bench(capsys, "--only", "reactions")
    assert one(rows, "requests while a trigger never fires")["value"] == 0
    assert one(rows, "requests more or less")["value"] == 0
    assert one(rows, "events that it had begun to hear")["met"]
    for name in ("bytes up", "LinkChanged alone", "PowerRead alone", "p50 with an observer", "longest request"):
        row = one(rows, name)
        assert row["goal"].startswith("<= ")
        assert row["met"] == (row["value"] is not None and row["value"] <= float(row["goal"].removeprefix("<= ")))


def test_a_part_that_cannot_be_measured_is_a_row_that_is_not_met(capsys, monkeypatch):
    def fail() -> list:
        raise SplitInferError("no network today")

    monkeypatch.setattr(footprint, "measure", fail)
    row = one(bench(capsys, "--only", "footprint"), "footprint")
    assert "no network today" in row["name"]
    assert (row["met"], row["value"], row["n"]) == (False, None, 0)


def test_a_toy_has_tensors_of_the_chosen_sizes(tmp_path):
    bundle = toy(tmp_path, (1000, 300, 40), work=2)
    assert [cut.nbytes for cut in bundle.model.cuts] == [4000, 1200, 160, 0]
    feeds = random_feeds(bundle.model)
    engine = OrtEngine(bundle)
    made = engine.run(0, 2, engine.hold(0, feeds)).plain()["t2"]
    assert np.array_equal(made, 4 * feeds["t0"][:, :40])


@pytest.mark.parametrize(
    ("got", "want", "distance"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [1.0, -4.4], 0.4 / 4.4),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.nan, 1.0], [2.0, 1.0], np.inf),
        ([0.1], [0.0], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
    ],
)
def test_the_difference_of_answers(got, want, distance):
    assert difference({"y": np.array(got)}, {"y": np.array(want)}) == pytest.approx(distance)
    assert difference({"x": np.array(got)}, {"y": np.array(want)}) == np.inf
