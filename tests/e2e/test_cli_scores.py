"""What the command line takes to measure plans with, and what it says of them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from splitinfer.cli.app import run
from tests import models

N = 12
CROPS = np.repeat(np.arange(4), 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    models.save(models.chain(), folder)
    x = np.random.default_rng(1).standard_normal((N, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, photo=CROPS, label=np.zeros(N, np.int64))
    np.save(folder / "groups.npy", np.array([f"photo {at}" for at in CROPS]))
    (folder / "quality_for_a_test.py").write_text(
        "def alike(outputs, wanted):\n    return -abs(outputs['y'] - wanted['y']).max()\n"
    )
    return folder


@pytest.fixture
def build(folder, tmp_path, capsys):
    def call(*more: str, code: int = 0) -> str:
        command = [
            "build",
            folder / "net.onnx",
            "-o",
            tmp_path / "out",
            "--samples",
            folder / "samples.npz",
            "--cut",
            "b",
            *more,
        ]
        assert run([str(argument) for argument in command]) == code
        said = capsys.readouterr()
        return said.out or said.err

    return call


def only(folder, path):
    """Samples alone, without the arrays that some options name."""
    with np.load(folder / "samples.npz") as archive:
        np.savez(path, x=archive["x"])
    return path


@pytest.mark.parametrize("which", ["photo", "groups.npy"])
def test_groups_are_a_key_of_the_samples_or_a_file(build, folder, tmp_path, which):
    more = (
        ["--groups", which] if which == "photo" else ["--groups", folder / which, "--samples", only(folder, tmp_path / "x.npz")]
    )
    labels = ["--labels", "label"] if which == "photo" else []
    shown = json.loads(build(*more, *labels, "--json"))
    measured = [plan for plan in shown["plans"] if plan["n"]]
    assert {(plan["n"], plan["groups"]) for plan in measured} == {(6, 2)}
    assert {"divergence", "leak_at_least"} < measured[0].keys()
    assert shown["certainty"].keys() == {"unchanged", "draws", "grouped", "bound", "wished", "needed"}
    assert (shown["certainty"]["grouped"], shown["certainty"]["draws"]) == (True, 2)
    assert isinstance(shown["dropped"], int)


def test_it_is_said_how_many_samples_a_wished_bound_needs(build, folder, tmp_path):
    said = build("--samples", only(folder, tmp_path / "x.npz"), "--bound", "0.05")
    assert "nothing on 6 samples" in said
    assert "for 5 % give 118 samples: half of them choose, and half report" in said
    assert "more were measured and dropped" in said
    shown = json.loads(build("--samples", only(folder, tmp_path / "x.npz"), "--force", "--json"))
    assert (shown["certainty"]["wished"], shown["certainty"]["needed"]) == (0.01, 598)


def test_without_samples_it_is_said_how_many_there_should_be(folder, tmp_path, capsys):
    assert run(["build", str(folder / "net.onnx"), "-o", str(tmp_path / "out"), "--cut", "b", "--bound", "0.05"]) == 0
    assert "118 make sure of an accuracy loss of at most 5 %" in capsys.readouterr().out


def test_a_metric_of_the_current_folder_is_used_without_labels(build, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    shown = json.loads(build("--samples", only(folder, tmp_path / "x.npz"), "--metric", "quality_for_a_test:alike", "--json"))
    sys.modules.pop("quality_for_a_test")
    assert shown["metric"] == "alike"
    assert shown["certainty"] is None
    assert any(plan["accuracy_loss"] > 0 for plan in shown["plans"])


def test_inspect_shows_what_is_known_of_plans(build, folder, tmp_path, capsys):
    build("--samples", only(folder, tmp_path / "x.npz"))
    assert run(["inspect", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "divergence" in said
    assert "nothing on 6 samples" in said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--groups", "nowhere.npy"], "no such array in --samples, nor such a file"),
        (["--groups", "label"], "at least two groups"),
        (["--metric", "quality"], "write module:function"),
        (["--metric", "numpy:no_such_function"], "has no 'no_such_function'"),
        (["--state", "q"], "no input 'q'"),
    ],
)
def test_what_is_wrong_is_said(build, folder, tmp_path, more, says):
    samples = [] if "label" in more else ["--samples", only(folder, tmp_path / "x.npz")]
    extra = ["--labels", "photo"] if "label" in more else []
    assert says in build(*samples, *extra, *more, code=1)
