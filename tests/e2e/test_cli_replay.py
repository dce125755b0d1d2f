"""`splitinfer replay`: what a real client, or a simulated one, wrote is run again from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitinfer.cli.app import run
from splitinfer.device import Client, Settings
from splitinfer.events import LinkChanged, Outcome, PowerRead, Recorded
from splitinfer.plan import Budget
from splitinfer.recording import Journal, Start
from tests.bundles import tiny_input
from tests.core.test_recording import recorded_run

FACTS = {"line", "splitinfer", "policy", "seed", "duration_ms", "events", "answers", "requests", "torn"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run of 60 requests."""
    path = tmp_path_factory.mktemp("replay") / "log.jsonl"
    recorded_run("thompson", path, requests=60)
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert run([str(argument) for argument in ("replay", *arguments)]) == code
        return tuple(capsys.readouterr())

    return call


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def copy(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_log_is_identical(said: Any, log: Path) -> None:
    out, _ = said(log, "--json")
    shown = json.loads(out)
    assert shown["identical"] is True
    (recording,) = shown["recordings"]
    assert recording.keys() == FACTS | {"difference"}
    assert (recording["policy"], recording["seed"], recording["requests"]) == ("thompson", 7, 60)
    assert recording["events"] == len(lines_of(log)) - 1
    assert recording["answers"] > 0
    assert recording["difference"] is None
    assert "line 1: identical" in said(log)[0]


def test_the_first_difference_is_shown_and_is_the_exit_code(said: Any, log: Path, tmp_path: Path) -> None:
    lines = lines_of(log)
    number = next(index for index, line in enumerate(lines) if json.loads(line)["type"] == "PlanChanged")
    raw = json.loads(lines[number])
    lines[number] = json.dumps(raw | {"cause": "battery"})
    changed = copy(tmp_path / "log.jsonl", lines)
    out, _ = said(changed, "--json", code=1)
    shown = json.loads(out)
    assert shown["identical"] is False
    difference = shown["recordings"][0]["difference"]
    assert difference.keys() == {"line", "at_ms", "recorded", "replayed"}
    assert difference["line"] == number + 1
    plan = {name: raw[name] for name in ("type", "old", "new", "reason")}
    assert difference["recorded"] == plan | {"cause": "battery"}
    assert difference["replayed"] == plan | {"cause": "start"}
    assert f"DIFFERENT from line {number + 1} on" in said(changed, code=1)[0]


def test_a_log_of_another_version_says_so_where_it_differs(said: Any, log: Path, tmp_path: Path) -> None:
    lines = lines_of(log)
    lines[0] = json.dumps(json.loads(lines[0]) | {"splitinfer": "0.0.9", "seed": 8})
    assert "recorded by splitinfer 0.0.9" in said(copy(tmp_path / "log.jsonl", lines), code=1)[0]


def test_what_another_policy_would_have_done(said: Any, log: Path) -> None:
    out, _ = said(log, "--policy", "neurosurgeon", "--json")
    shown = json.loads(out)
    assert shown["policy"] == "neurosurgeon"
    (recording,) = shown["recordings"]
    summary = {"agree", "measured_ms", "predicted_ms", "other_predicted_ms", "switches", "other_switches"}
    assert recording.keys() == FACTS | summary | {"asked"}
    assert 0 <= recording["agree"] <= 1
    assert len(recording["asked"]) == 60
    row = recording["asked"][0]
    plans = {"plan", "carried_out", "other"}
    assert row.keys() == plans | {"at_ms", "outcome", "measured_ms", "predicted_ms", "other_predicted_ms"}
    assert all(row[name].keys() == {"cut", "codec"} for name in plans)
    told = said(log, "--policy", "neurosurgeon")[0]
    assert "60 requests" in told
    assert "It is predicted" in told


def test_an_error_names_the_line(said: Any, log: Path, tmp_path: Path) -> None:
    lines = lines_of(log)
    lines[4] = lines[4].replace('"type"', '"kind"')
    out, err = said(copy(tmp_path / "log.jsonl", lines), "--json", code=1)
    assert json.loads(out)["error"]["type"] == "RecordingError"
    assert "line 5: " in err
    old = copy(tmp_path / "old.jsonl", lines_of(log)[1:])
    assert "line 1: no recording starts here" in said(old, code=1)[1]


def test_usage(said: Any, log: Path, tmp_path: Path) -> None:
    assert "unknown policy 'clever'" in said(log, "--policy", "clever", code=2)[1]
    said(tmp_path / "none.jsonl", code=2)


def test_a_log_of_several_runs_of_which_one_crashed(said: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for battery in (0.5, 0.6):
        journal = Journal(path, Start("robust"))
        journal.write(Recorded(0, 0.0, PowerRead(battery)))
        journal.close()
        with path.open("a", encoding="utf-8") as file:
            file.write('{"type": "Pow')
    shown = json.loads(said(path, "--json")[0])
    assert [(one["line"], one["torn"]) for one in shown["recordings"]] == [(1, True), (4, True)]
    assert said(path)[0].count("its last line was cut off") == 2


@pytest.mark.parametrize("policy", ["thompson", "robust", "static:1/raw"])
def test_the_log_of_a_client_with_a_cloud_is_identical(
    said: Any, cloud: Any, tiny: Any, bundle_path: Path, tmp_path: Path, policy: str
) -> None:
    """Several threads tell one scheduler: requests, the connection, the battery and timers."""
    path = tmp_path / "log.jsonl"
    address = cloud.start(tiny).address
    settings = Settings(policy=policy, events_file=path, read_power=lambda: PowerRead(0.4, False), power_every_ms=5.0)
    with Client(bundle_path, address, settings=settings, budget=Budget(latency_ms=200.0)) as client:
        outcomes = {result.outcome for result in client.stream([tiny_input()] * 60)}
        client.set_budget(Budget(latency_ms=150.0))
        client.tell(LinkChanged(False, "told"))
        outcomes |= {result.outcome for result in client.stream([tiny_input()] * 20)}
    assert outcomes & {Outcome.LOCAL, Outcome.RESUMED}
    shown = json.loads(said(path, "--json")[0])
    assert shown["identical"] is True
    (recording,) = shown["recordings"]
    assert (recording["requests"], recording["torn"]) == (80, False)
    kinds = {json.loads(line)["type"] for line in lines_of(path)}
    assert {"Recording", "ModelReady", "Requested", "Inferred", "LinkChanged", "PowerRead", "BudgetSet"} <= kinds
