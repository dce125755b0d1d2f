"""`splitinfer bench cutter`: its shape, and what it says of tiny models. What is timed is measured, not tested."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from splitinfer.bench.cutter import building, cpu, frontier, traps, zoo
from splitinfer.bench.cutter.attempt import attempt
from splitinfer.bench.zoo import MissingPackage, Specimen, drawn
from splitinfer.build import BuildOptions
from splitinfer.cli.app import run
from tests import models

PARTS = ["traps", "zoo", "cpu", "frontier", "build-time"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    """Runs it; gives its rows."""
    assert run(["bench", "cutter", "--json", *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for row in rows:
        assert row.keys() == {"name", "value", "unit", "goal", "met", "rival", "ratio", "n", "spread"}
    return rows


def quiet(_text: str) -> None:
    pass


def specimen(name: str, make=models.chain, exact: bool = False) -> Specimen:
    feed = {"x": np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)}
    return Specimen(name, lambda folder: models.save(make(), folder), lambda: feed, exact)


def random_net() -> onnx.ModelProto:
    net = models.chain()
    net.graph.node.add(op_type="RandomNormalLike", input=[net.graph.node[0].output[0]], output=["noise"], name="dice")
    net.graph.output.add(name="noise").CopyFrom(net.graph.output[0])
    net.graph.output[-1].name = "noise"
    return net


def test_its_parts(capsys):
    assert run(["bench", "cutter", "--list"]) == 0
    assert capsys.readouterr().out.split() == PARTS


def test_a_part_that_does_not_exist(capsys):
    assert run(["bench", "cutter", "--only", "everything"]) == 2
    assert "build-time" in capsys.readouterr().err


# --- traps -------------------------------------------------------------------------------------------------------------------


def test_traps_that_went_wrong_have_a_row_each(capsys, monkeypatch):
    verdicts = {
        "good": SimpleNamespace(right=True, cuts=3, worst_error=0.0, reason=""),
        "bad": SimpleNamespace(right=False, cuts=2, worst_error=0.5, reason="error 5.0e-01 at cut 1"),
    }
    monkeypatch.setattr(traps, "TRAPS", [SimpleNamespace(name=name) for name in verdicts])
    monkeypatch.setattr(traps, "judge", lambda trap, folder: verdicts[trap.name])
    [total, bad] = bench(capsys, "--only", "traps")
    assert total | {"value": 1, "goal": ">= 2", "met": False, "n": 2} == total
    assert bad | {"name": "trap bad: error 5.0e-01 at cut 1", "value": 0, "met": False, "n": 2} == bad


def test_each_model_of_a_folder_is_cut_or_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(traps, "TRAPS", [])
    models.save(models.residual(), tmp_path, "residual")
    models.save(random_net(), tmp_path, "random")
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 100)
    [_, noise, random, residual] = bench(capsys, "--only", "traps", "--models", str(tmp_path))
    assert noise["name"].startswith("noise: UnsupportedModel: ")
    assert "dice" in random["name"]
    assert residual["name"].startswith("residual: cut, worst error")
    assert [row["met"] for row in (noise, random, residual)] == [True, True, True]
    assert noise["n"] == random["n"] == 0
    assert residual["n"] > 3


# --- zoo ---------------------------------------------------------------------------------------------------------------------


def missing(_folder: Path) -> Path:
    raise MissingPackage("weights are not installed: pip install weights")


def test_a_network_is_cut_or_its_row_is_not_met(capsys, monkeypatch):
    ours = (specimen("plain"), Specimen("absent", missing, dict), specimen("random", random_net))
    monkeypatch.setattr(zoo.measure, "__defaults__", (ours,))
    [plain, absent, random] = bench(capsys, "--only", "zoo")
    assert plain | {"goal": "<= 0.0001", "met": True, "rival": "the original file in plain onnxruntime"} == plain
    assert plain["n"] > 3
    assert absent | {"name": "absent: weights are not installed: pip install weights", "value": None, "met": False} == absent
    assert random["met"] is False
    assert random["name"].startswith("random: UnsupportedModel: ")


def test_where_integers_are_computed_one_bit_is_too_much(monkeypatch):
    monkeypatch.setattr(zoo, "attempt", lambda *_given: SimpleNamespace(cuts=9, worst_error=1e-7, message=""))
    [loose, strict] = zoo.measure(quiet, (specimen("loose"), specimen("strict", exact=True)))
    assert (loose.met, strict.met) == (True, False)


def test_what_was_cut_but_cannot_be_compared_is_not_right(tmp_path):
    found = attempt(models.save(models.chain(), tmp_path), tmp_path, lambda _bundle: {"x": np.zeros(3, np.float32)})
    assert not found.refused
    assert found.worst_error == np.inf
    assert "not compared" in found.message


def test_samples_are_items_or_else_the_whole_feed_twice():
    assert specimen("plain").samples()["x"].shape == (2, 3, 16, 16)
    alone = {"x": np.zeros((1, 3), np.float32)}
    state = {"x": np.zeros((2, 3), np.float32), "state": np.zeros((3, 2), np.float32)}
    scalar = {"x": np.zeros((2, 3), np.float32), "rate": np.array(8)}
    for feed in (alone, state, scalar):
        samples = Specimen("net", missing, lambda feed=feed: feed).samples()
        assert {name: array.shape for name, array in samples.items()} == {n: (2, *a.shape) for n, a in feed.items()}
    assert Specimen("net", missing, lambda: alone, sampled=False).samples() is None


# --- figures -----------------------------------------------------------------------------------------------------------------


def save_tiny(folder: Path) -> Path:
    return models.save(drawn.deep(80), folder)


def test_cpu_has_a_median_and_a_worst_cut_for_each_network_and_for_all(monkeypatch):
    monkeypatch.setattr(cpu, "SESSIONS_MAX", 3)
    monkeypatch.setattr(cpu, "SESSIONS_MIN", 3)
    monkeypatch.setattr(cpu, "build", partial(build_two_cuts, cpu.build))
    rows = cpu.measure(quiet, {"tiny": save_tiny, "absent": missing})
    assert [row.name.partition(",")[0] for row in rows] == [
        *["tiny: CPU of head and tail"] * 2,
        "absent: weights are not installed: pip install weights",
        *["all networks: CPU of head and tail"] * 2,
    ]
    middle, worst, absent, all_middle, all_worst = rows
    assert (middle.goal, str(worst.goal), str(all_middle.goal), str(all_worst.goal)) == (None, "<= 1.06", "<= 1.03", "<= 1.06")
    assert 0.3 < middle.value <= worst.value == all_worst.value < 30
    assert middle.n == all_middle.n == 2
    assert worst.n == 3
    assert absent.met is False


def build_two_cuts(build, path, out):
    return build(path, out, BuildOptions(cuts=("t20", "t40"), codecs=("raw",)))


def test_the_frontier_has_two_rows_a_network(capsys, monkeypatch):
    monkeypatch.setattr(frontier, "NETWORKS", {"tiny": save_tiny})
    monkeypatch.setattr(frontier, "ZOO", (specimen("plain"), Specimen("absent", missing, dict)))
    rows = bench(capsys, "--only", "frontier")
    assert [row["goal"] for row in rows] == ["<= 0.01", "<= 0.05", "<= 0.01", "<= 0.05", ">= 1"]
    assert [row["name"].partition(":")[0] for row in rows] == ["tiny", "tiny", "plain", "plain", "absent"]
    assert all(0 <= row["value"] < 10 for row in rows[:4])
    assert rows[4]["met"] is False


def test_a_build_is_timed(capsys, monkeypatch):
    monkeypatch.setattr(building.measure, "__defaults__", (((specimen("plain"), 1000.0), (specimen("again"), 0.0)),))
    [plain, again] = bench(capsys, "--only", "build-time")
    assert plain | {"unit": "s", "goal": "<= 1000", "met": True} == plain
    assert plain["value"] > 0
    assert again["met"] is False
