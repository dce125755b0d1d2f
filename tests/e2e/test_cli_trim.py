"""Devices that cannot hold the model, as a person sees them: build, trim, explain, serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from splitinfer.bundle import Bundle, head_bytes
from splitinfer.cli.app import run
from tests.pictures import picture_net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trim")
    onnx.save(picture_net(), path / "net.onnx")
    assert run(["build", str(path / "net.onnx"), "-o", str(path / "net.bundle"), "--cuts", "all"]) == 0
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> Bundle:
    return Bundle.open(folder / "net.bundle")


def megabytes(bundle: Bundle, kept: int) -> str:
    """A limit that so many segments just meet."""
    return repr(head_bytes(bundle)[kept] / 1e6)


@pytest.fixture
def said(capsys):
    def call(*arguments: object, code: int = 0):
        capsys.readouterr()
        assert run([str(argument) for argument in arguments]) == code
        return capsys.readouterr()

    return call


def test_trim_by_size_and_by_number(said, whole, tmp_path):
    by_size = said("bundle", "trim", whole.path, "--max-mb", megabytes(whole, 2), "-o", tmp_path / "a", "--json")
    by_number = said("bundle", "trim", whole.path, "--segments", 2, "-o", tmp_path / "b", "--json")
    for found in (by_size, by_number):
        shown = json.loads(found.out)
        assert shown["holds"] == [0, 1]
        assert shown["digest"] == whole.digest
    assert json.loads(by_size.out)["path"] == str(tmp_path / "a")


def test_trim_says_what_it_left_out(said, whole, tmp_path):
    part = said("bundle", "trim", whole.path, "--segments", 1, "-o", tmp_path / "a").out
    assert f"Holds 1 of {whole.model.n} segments" in part
    assert whole.digest[:12] in part
    assert "nothing was left out" in said("bundle", "trim", whole.path, "--max-mb", 100, "-o", tmp_path / "b").out
    assert said("bundle", "trim", whole.path, "--segments", 1, "-o", tmp_path / "b", code=1).err.startswith("splitinfer: ")
    said("bundle", "trim", whole.path, "--segments", 1, "-o", tmp_path / "b", "--force")


@pytest.mark.parametrize(
    "options", ["", "--segments 1 --max-mb 1", "--segments 0", "--max-mb 0", "--max-mb nan", "--max-mb -1", "--max-mb inf"]
)
def test_wrong_usage(said, whole, tmp_path, options):
    assert said("bundle", "trim", whole.path, "-o", tmp_path / "a", *options.split(), code=2).err
    assert not (tmp_path / "a").exists()


def test_a_head_that_does_not_fit_is_refused_with_its_size_and_the_way_out(said, folder, whole, tmp_path):
    for command in (
        ["bundle", "trim", whole.path, "--max-mb", "0.000001"],
        ["build", folder / "net.onnx", "--device-max-mb", "0.000001"],
    ):
        found = said(*command, "-o", tmp_path / "a", "--json", code=1)
        error = json.loads(found.out)["error"]
        assert error["type"] == "InvalidInput"
        assert "the smallest head, segment 0, has" in error["message"]
        assert "--cuts all" in error["message"]
    assert not list(tmp_path.iterdir())


def test_a_build_for_devices_has_the_digest_of_the_whole(said, folder, whole, tmp_path):
    command = ["build", folder / "net.onnx", "-o", tmp_path / "a", "--cuts", "all", "--device-max-mb", megabytes(whole, 2)]
    out = said(*command).out
    assert f"Holds 2 of {whole.model.n} segments" in out
    assert "build again without --device-max-mb" in out
    part = Bundle.open(tmp_path / "a")
    assert (part.digest, part.model.holds) == (whole.digest, {0, 1})
    assert part.scorecard is not None
    assert whole.scorecard is not None
    assert part.scorecard.scores.keys() == whole.scorecard.scores.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_build_that_fits_is_whole(said, folder, whole, tmp_path):
    assert "nothing was left out" in said("build", folder / "net.onnx", "-o", tmp_path / "a", "--device-max-mb", 100).out
    assert Bundle.open(tmp_path / "a").model.whole


def test_inspect_says_whether_a_batch_is_taken(said, whole):
    assert json.loads(said("inspect", whole.path, "--json").out)["batches"] is True


LINK = ("--uplink-mbps", 10, "--rtt-ms", 30)


def test_explain_lists_what_is_not_held_with_the_reason(said, whole, tmp_path):
    said("bundle", "trim", whole.path, "--segments", 1, "-o", tmp_path / "a")
    shown = json.loads(said("explain", tmp_path / "a", *LINK, "--json").out)
    everything = json.loads(said("explain", whole.path, *LINK, "--json").out)
    n = whole.model.n
    assert [(p["cut"], p["codec"]) for p in shown["plans"]] == [(p["cut"], p["codec"]) for p in everything["plans"]]
    for plan in shown["plans"]:
        assert plan["feasible"] == (plan["cut"] <= 1)
        if plan["cut"] == n:
            assert plan["why"] == f"segments 1..{n - 1} are not held here"
    assert shown["pick"]["cut"] <= 1
    assert "device" not in shown["verdict"]


def test_explain_lists_what_needs_too_much_memory_with_the_reason(said, whole, tmp_path):
    part = tmp_path / "a"
    said("bundle", "trim", whole.path, "--max-mb", 100, "-o", part)
    bundle = Bundle.open(part)
    assert bundle.profile is not None
    n = bundle.model.n
    bundle.save_profile(replace(bundle.profile, peak_bytes=(*([0] * n), 210_000_000)))
    shown = json.loads(said("explain", part, *LINK, "--memory-mb", 100, "--json").out)
    (local,) = [plan for plan in shown["plans"] if plan["cut"] == n]
    assert (local["feasible"], local["why"]) == (False, "needs 210 MB of memory, the budget has 100 MB")
    assert shown["pick"]["cut"] < n
    assert json.loads(said("explain", part, *LINK, "--memory-mb", 211, "--json").out)["plans"][-1]["feasible"]
    assert said("explain", part, *LINK, "--memory-mb", "lots", code=2).err


def test_the_cloud_does_not_serve_what_was_trimmed(said, whole, tmp_path):
    said("bundle", "trim", whole.path, "--segments", 1, "-o", tmp_path / "a")
    err = said("serve", tmp_path / "a", "--listen", "127.0.0.1:0", code=1).err
    assert "was trimmed for devices" in err
    assert whole.digest[:12] in err
