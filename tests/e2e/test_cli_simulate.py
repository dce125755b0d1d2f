"""`splitinfer simulate`, as a person types it; the JSON of docs/json.md, field by field."""

from __future__ import annotations

import json

import pytest

from splitinfer.bundle import encode_profile
from splitinfer.cli.app import run
from splitinfer.plan import Profile
from splitinfer.sim.trace import LinkTrace
from tests.bundles import tiny_bundle

FIGURES = {
    *("traces", "requests", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "regret", "late", "energy_mj", "uplink_bytes"),
    *("switches_per_min", "device", "upload", "split", "raced", "unanswered"),
}


@pytest.fixture
def folder(tmp_path):
    """Two traces of two families."""
    (tmp_path / "traces").mkdir()
    for name, source, rate in (("wifi-a", "Town (2024)", 20), ("lte-b", "Bus", 1)):
        steps = LinkTrace.steps([(20, rate, 20), (3, rate / 30, 40)], name=name, wraps=True)
        trace = LinkTrace(name, steps.pieces, source=source)
        (tmp_path / "traces" / f"{name}.csv").write_text(trace.text())
    return tmp_path


@pytest.fixture
def said(capsys):
    def call(*arguments: object, code: int = 0):
        capsys.readouterr()
        assert run([str(argument) for argument in arguments]) == code
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def quick(folder):
    return ("--trace", folder / "traces", "--requests", 6, "--workers", 1)


def test_json(said, quick):
    shown = said("simulate", "B", *quick, "--json")
    assert shown.keys() == {
        *("simulated", "workload", "budget", "requests", "rate_hz", "seeds", "traces", "rows", "verdicts", "report"),
    }
    assert shown["simulated"] is True
    assert shown["report"] is None
    assert shown["workload"].keys() == {"name", "about", "latency_ms", "local_ms", "feasible"}
    assert shown["budget"] == {"latency_ms": 400, "accuracy_loss_max": 0.01, "hedge_max_share": 0.1, "joule_s": 0}
    assert (shown["requests"], shown["rate_hz"], shown["seeds"]) == (6, 1, [1])
    assert shown["traces"][0] == {"name": "lte-b", "family": "Bus", "radio": "lte", "duration_s": 23}
    names = ["thompson", "robust", "neurosurgeon", "device", "upload", "oracle"]
    assert [(row["family"], row["policy"]) for row in shown["rows"]] == [(f, n) for f in ("Bus", "Town", None) for n in names]
    assert all(row.keys() == {"policy", "rule", "family", *FIGURES} for row in shown["rows"])
    assert {row["policy"]: row["rule"] for row in shown["rows"]}["device"] == "static:5/none"
    assert [row["regret"] for row in shown["rows"] if row["policy"] == "oracle"] == [0, 0, 0]
    assert [said["family"] for said in shown["verdicts"]] == ["Bus", "Town", None]
    assert all(said.keys() == {"family", "best", "text"} for said in shown["verdicts"])


def test_the_table_and_the_page_say_that_they_are_simulated(capsys, folder, quick):
    assert run([*map(str, ("simulate", "D", *quick, "--html", folder / "page.html", "--show", "lte-b"))]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Simulated, not measured: D, ResNet-50")
    assert printed.count("simulated: ") == 3
    assert "is best" in printed or "is the best plan" in printed
    assert f"report: {folder / 'page.html'}" in printed.replace("\n", "")
    assert "One link: lte-b" in (folder / "page.html").read_text()


def test_the_same_command_gives_the_same_figures_on_any_number_of_cores(said, folder):
    command = ("simulate", "C", "--trace", folder / "traces", "--requests", 4, "--policy", "robust", "--json")
    assert said(*command, "--workers", 1) == said(*command, "--workers", 2)


def test_options_reach_the_simulation(said, quick):
    options = ("--policy", "robust", "--latency-ms", 700, "--rate", 2, "--seed", 3, "--seed", 4, "--seed", 3, "--radio", "5g")
    spent = ("--joule-s", 0.1, "--hedge-share", 0, "--device-slowdown", 2)
    shown = said("simulate", "B", *quick, *options, *spent, "--json")
    assert shown["budget"] == {"latency_ms": 700, "accuracy_loss_max": 0.01, "hedge_max_share": 0, "joule_s": 0.1}
    assert (shown["rate_hz"], shown["seeds"]) == (2, [3, 4])
    assert shown["workload"]["local_ms"] == pytest.approx(640)
    assert {trace["radio"] for trace in shown["traces"]} == {"5g"}
    assert [row["policy"] for row in shown["rows"]] == ["robust", "oracle"] * 3
    assert {row["requests"] for row in shown["rows"]} == {12, 24}
    assert said("simulate", "B", *quick, "--latency-ms", 100, "--policy", "device", "--json")["rows"][0]["late"] is None


def test_a_saved_workload_gives_the_same_figures(said, capsys, folder, quick):
    assert run(["simulate", "C", "--save-workload", str(folder / "c.json")]) == 0
    assert "workload:" in capsys.readouterr().out
    command = (*quick, "--policy", "thompson", "--json")
    assert said("simulate", folder / "c.json", *command) == said("simulate", "C", *command)


def test_a_bundle_is_simulated_with_its_own_figures(said, folder, quick):
    bundle = tiny_bundle(folder / "tiny.bundle")
    profile = Profile(bundle.digest, "desk", "engine", (10.0, 20.0, 30.0), tail_ms=(6.0, 5.0, 3.0, 0.0))
    (bundle.path / "profile.json").write_bytes(encode_profile(profile))
    shown = said("simulate", bundle.path, *quick, "--json")
    assert shown["workload"]["local_ms"] == 60
    assert shown["workload"]["latency_ms"] is None
    assert shown["rows"][0]["late"] is None
    assert said("simulate", bundle.path, *quick, "--latency-ms", 80, "--json")["rows"][0]["late"] is not None


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        (("E",), "no workload E: give a bundle, a file, or one of A, B, C, D"),
        (("B", "--policy", "luck"), "unknown policy 'luck'"),
        (("B", "--policy", "static:9/raw"), "cannot be used with B"),
        (("B", "--trace", "absent.csv"), "cannot read the trace absent.csv"),
        (("B", "--show", "other"), "there is no trace of that name"),
    ],
)
def test_what_cannot_be_simulated_is_said(said, quick, arguments, said_):
    shown = said("simulate", *arguments, *quick, "--json", code=1)
    assert shown["error"]["type"] == "SimulationError"
    assert said_ in shown["error"]["message"]


def test_a_broken_file_names_file_and_place(said, folder, quick):
    broken = folder / "w.json"
    broken.write_text('{"format": 1}')
    assert "w.json: the field 'name' is missing" in said("simulate", broken, *quick, "--json", code=1)["error"]["message"]


@pytest.mark.parametrize(
    "option",
    [("--rate", "inf"), ("--rate", "nan"), ("--rate", 0), ("--device-slowdown", "nan"), ("--hedge-share", 2), ("--seed", -1)],
)
def test_wrong_numbers_are_usage_errors(capsys, quick, option):
    assert run([*map(str, ("simulate", "B", *quick, *option))]) == 2
    assert option[0] in capsys.readouterr().err


def test_a_trace_must_be_given(capsys):
    assert run(["simulate", "B"]) == 2
    assert "give at least one --trace" in capsys.readouterr().err
