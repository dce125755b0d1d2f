"""`splitinfer bench codecs`: its shape, and what it says of a tiny network. What is timed is measured, not tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitinfer.bench.codecs import families, klt, media
from splitinfer.cli.app import run
from tests import models

PARTS = ["rates", "coder", "cpu", "calibration", "scorecard", "tiny", "voice", "guard"]
IMAGE_INPUT = "x:mean=127,std=128"


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    """Runs it; gives its rows."""
    assert run(["bench", "codecs", "--json", *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for row in rows:
        assert row.keys() == {"name", "value", "unit", "goal", "met", "rival", "ratio", "n", "spread"}
    return rows


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return models.save(models.residual(), tmp_path, "residual")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Smooth pictures, of which the network gives different answers."""
    place = tmp_path / "photos"
    place.mkdir()
    lines = ["file,imagenet_class"]
    random = np.random.default_rng(0)
    for number in range(16):
        small = random.integers(0, 256, (3, 3, 3), np.uint8)
        Image.fromarray(small).resize((20, 16), Image.Resampling.BICUBIC).save(place / f"{number}.png")
        lines.append(f"{number}.png,{number % 10}")
    (place / "labels.csv").write_text("\n".join(lines))
    return place


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(klt, "ids", lambda: ("klt:0.1", "klt:0.5", "klt:2"))
    monkeypatch.setattr(klt, "STRIDE", 1)
    some = [media.Medium(one.name, one.qualities[::20], one.write) for one in media.media()[:3]]
    monkeypatch.setattr(families, "media", lambda: some)


def test_its_parts(capsys):
    assert run(["bench", "codecs", "--list"]) == 0
    assert capsys.readouterr().out.split() == PARTS


@pytest.mark.parametrize("option", ["--photos", "--model", "--image-input"])
def test_its_options_are_for_no_other_benchmark(option, network, capsys):
    value = {"--photos": network.parent, "--model": network, "--image-input": "x"}[option]
    assert run(["bench", "main", "--only", "footprint", option, str(value)]) == 2
    assert "bench codecs" in capsys.readouterr().err


def test_bytes_at_equal_answers(network, photos, few_settings, capsys):
    rows = bench(capsys, "--only", "rates", "--photos", str(photos), "--model", str(network), "--image-input", IMAGE_INPUT)
    goals = [(row["name"], row["goal"]) for row in rows if row["goal"] is not None]
    assert [goal for _, goal in goals] == ["<= 0.17", "<= 0.15", "<= 0.75", "<= 0.12", "<= 0.45"]
    assert all(name.startswith("residual at ") for name, _ in goals)
    for row in rows[:5]:
        assert row["n"] == 8
        assert row["ratio"] == row["value"]
        assert row["met"] == (row["value"] is not None and row["value"] <= float(row["goal"].removeprefix("<= ")))
    figures = [row["name"].partition(": lowest")[0] for row in rows[5:]]
    assert {"JPEG 4:2:0", "JPEG 4:4:4", "WebP", "PNG", "WebP lossless"} <= set(figures)
    assert any(name.endswith(": klt") for name in figures)


def test_without_classes_there_is_no_row_of_top1(network, photos, few_settings, capsys):
    (photos / "labels.csv").unlink()
    arguments = ("--only", "rates", "--photos", str(photos), "--model", str(network))
    rows = bench(capsys, *arguments, "--image-input", IMAGE_INPUT)
    assert len(rows) > 4
    assert not any("top-1" in row["name"] for row in rows)
    [row] = bench(capsys, *arguments)
    assert "--image-input" in row["name"]
    assert row["met"] is False


def test_what_is_not_there_is_said_and_not_met(capsys):
    rows = bench(capsys, "--only", "tiny")
    assert [row["name"].partition(":")[0] for row in rows] == ["mlperf_resnet8", "mlperf_kws_dscnn"]
    assert "--models DIR" in rows[0]["name"]
    assert not any(row["met"] for row in rows)
