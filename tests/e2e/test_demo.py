"""The demo: all ways through a short timeline on real sockets, and (slow) the whole thing as a newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from splitinfer.bench.demo.assets import Assets
from splitinfer.bench.demo.outcome import as_object
from splitinfer.bench.demo.run import Road, ride
from splitinfer.bench.demo.scenario import COMMUTE, Phase, Scenario
from splitinfer.bench.demo.ways import NAMES, Way, ways
from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.cloud.hosted import Hosted
from splitinfer.events import Inferred
from splitinfer.plan import Budget
from splitinfer.recording import read, replay
from tests.pictures import picture_net, pictures

FIELDS = {"requests", "answered", "mean_ms", "p99_ms", "uplink_bytes_mean", "budget_misses", "agreement", "energy_mj"}
SHORT = Scenario(
    (Phase("wifi", 1.0, 50.0, 4.0), Phase("tunnel", 1.5, 0.0, 4.0), Phase("wifi", 1.5, 50.0, 4.0)),
    period_ms=40.0,
    latency_ms=150.0,
)


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    onnx.save(picture_net(), folder / "net.onnx")
    photos = pictures(40)
    image = ImageInput("x", mean=(127.0,), std=(128.0,))
    options = BuildOptions(samples={"x": photos[20:]}, image_input=image, cuts="all")
    floats = ((photos.astype(np.float32) - np.float32(127)) / np.float32(128)).transpose(0, 3, 1, 2)
    session = ort.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"x": np.ascontiguousarray(floats)})[0].argmax(axis=1)
    return Assets(
        image=build(folder / "net.onnx", folder / "image.bundle", options),
        plain=build(folder / "net.onnx", folder / "plain.bundle", BuildOptions(cuts="all")),
        photos=photos[:20],
        answers=answers[:20],
    )


def check(step, phases: int) -> None:
    assert step["ways"].keys() == set(NAMES)
    assert len(step["phases"]) == phases
    for figures in step["ways"].values():
        assert figures.keys() >= FIELDS
        assert figures["answered"] == figures["requests"] > 0
        assert len(figures["phase_mean_ms"]) == phases
    assert all({"at_ms", "from", "to", "cause"} <= change.keys() for change in step["plan_changes"])


def test_all_ways_ride_at_once_and_their_logs_are_lived_again(assets, cloud, tmp_path):
    address = cloud.start(Hosted.open(assets.image.path), Hosted.open(assets.plain.path)).address
    budget = Budget(latency_ms=SHORT.latency_ms, accuracy_loss_max=1.0)
    rides = ride(
        Road(assets, address, SHORT, budget, 8.0, record=tmp_path), ways(assets.image, assets.plain, SHORT, budget, 8.0)
    )
    step = as_object(rides, SHORT, 8.0)
    check(step, phases=3)
    assert step["ways"]["device_only"]["uplink_bytes_mean"] == 0
    assert step["ways"]["cloud_fp32"]["uplink_bytes_mean"] > step["ways"]["cloud_coded"]["uplink_bytes_mean"] > 0
    assert step["ways"]["device_only"]["agreement"] == 1.0
    outcomes = {str(shot.result.outcome) for shot in rides["cloud_fp32"].shots}
    assert {"remote", "local"} <= outcomes, "up on WiFi, down in the tunnel"
    for name in NAMES:
        (recording,) = read(tmp_path / f"{name}.jsonl")
        assert replay(recording) is None
        assert sum(isinstance(recorded.event, Inferred) for recorded in recording.events) >= len(rides[name].shots)


def test_a_way_that_cannot_begin_stops_the_others(assets, cloud):
    address = cloud.start(Hosted.open(assets.image.path)).address
    road = Road(assets, address, SHORT, Budget(), 1.0)
    with pytest.raises(ValueError, match="policy"):
        ride(road, (Way("device_only", f"static:{assets.image.model.n}/none"), Way("splitinfer", "clever")))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_demo_as_a_newcomer_runs_it(tmp_path):
    command = [sys.executable, "-m", "splitinfer", "demo", "--json", "--report", str(tmp_path / "report.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240, cwd=tmp_path)
    step = json.loads(done.stdout)
    check(step, phases=len(COMMUTE.phases))
    assert step["device_slowdown"] == 8
    assert step["ways"]["splitinfer"]["agreement"] >= 0.99
    assert "<svg" in (tmp_path / "report.html").read_text()
