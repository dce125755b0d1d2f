"""Every command, as a person types it; the JSON of docs/json.md, field by field."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from splitinfer.cli.app import COMMANDS, run
from splitinfer.codec import codec
from tests.pictures import SIDE, picture_net, pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    onnx.save(picture_net(), path / "net.onnx")
    np.savez(path / "samples.npz", x=pictures(12), classes=np.arange(12) % 10)
    np.savez(path / "one.npz", x=pictures(1))
    np.save(path / "one.npy", pictures(1))
    Image.fromarray(pictures(1)[0]).save(path / "exact.jpg", quality=95)
    Image.fromarray(pictures(1)[0]).resize((80, 60)).save(path / "large.png")
    command = ["build", str(path / "net.onnx"), "-o", str(path / "net.bundle"), "--samples", str(path / "samples.npz")]
    (path / "plain.npz").write_bytes(_npz(x=pictures(12)))
    command[command.index(str(path / "samples.npz"))] = str(path / "plain.npz")
    assert run([*command, "--image-input", "x:mean=127,std=128", "--cuts", "all"]) == 0
    return path


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture
def said(capsys):
    def call(*arguments: object, code: int = 0):
        capsys.readouterr()
        assert run([str(argument) for argument in arguments]) == code
        return json.loads(capsys.readouterr().out)

    return call


def test_inspect(said, folder):
    shown = said("inspect", folder / "net.bundle", "--json")
    assert {"digest", "name", "version", "inputs", "outputs", "holds", "cuts", "segments", "plans"} <= shown.keys()
    assert shown["inputs"] == [{"name": "x", "dtype": "uint8", "shape": [None, SIDE, SIDE, 3]}]
    cut = shown["cuts"][1]
    assert {"index", "id", "depth", "tensors", "bytes"} <= cut.keys()
    assert {"name", "dtype", "shape"} <= cut["tensors"][0].keys()
    assert {"index", "sha256", "bytes", "nodes"} <= shown["segments"][0].keys()
    fields = {"cut", "codec", "bytes_p50", "bytes_p95", "accuracy_loss", "accuracy_loss_bound", "n", "output_error"}
    assert fields <= shown["plans"][0].keys()
    assert {plan["cut"] for plan in shown["plans"]} == {cut["index"] for cut in shown["cuts"][:-1]}
    assert shown["holds"] == [segment["index"] for segment in shown["segments"]]


def test_inspect_says_why_each_boundary_was_kept_or_not(said, folder, capsys):
    shown = said("inspect", folder / "net.bundle", "--json")
    fields = {"id", "name", "position", "depth", "bytes", "kept", "offered", "why"}
    assert all(boundary.keys() == fields and boundary["why"] for boundary in shown["boundaries"])
    assert [boundary["id"] for boundary in shown["boundaries"] if boundary["kept"]] == [cut["id"] for cut in shown["cuts"]]
    assert shown["frontier"] is None or shown["frontier"].keys() == {"loss_mean", "loss_worst"}
    assert run(["inspect", str(folder / "net.bundle"), "--boundaries"]) == 0
    listed = capsys.readouterr().out
    assert all(boundary["id"] in listed for boundary in shown["boundaries"])


def test_inspect_draws(folder, tmp_path):
    assert run(["inspect", str(folder / "net.bundle"), "--html", str(tmp_path / "net.html")]) == 0
    assert "<svg" in (tmp_path / "net.html").read_text()


def test_verify(said, folder):
    shown = said("verify", folder / "net.bundle", "--input", folder / "one.npz", "--json")
    assert shown["ok"] is True
    assert all({"index", "id", "max_abs_error", "max_rel_error"} <= cut.keys() for cut in shown["cuts"])
    assert max(cut["max_rel_error"] for cut in shown["cuts"]) <= 1e-4
    assert {cut["objection"] for cut in shown["cuts"]} == {None}


@pytest.mark.parametrize("name", ["one.npz", "one.npy", "exact.jpg", "large.png"])
def test_infer(said, folder, name):
    shown = said("infer", folder / "net.bundle", "--input", folder / name, "--json")
    assert shown["outputs"]["y"]["shape"] == [1, 10]
    assert len(shown["outputs"]["y"]["top"]) == 5
    assert shown["outcome"] == "local"
    assert shown["plan"]["codec"] == "none"
    assert {"head_ms", "uplink_bytes", "energy_mj", "latency_ms"} <= shown["cost"].keys()


def test_explain(said, folder):
    shown = said("explain", folder / "net.bundle", "--uplink-mbps", 10, "--rtt-ms", 30, "--latency-ms", 50, "--json")
    assert {"pick", "verdict", "plans", "profile_source"} <= shown.keys()
    fields = {"cut", "codec", "latency_ms", "latency_p90_ms", "energy_mj", "uplink_bytes", "accuracy_loss", "feasible", "why"}
    assert all(fields <= plan.keys() for plan in shown["plans"])
    feasible = [plan for plan in shown["plans"] if plan["feasible"]]
    assert shown["pick"] in [{"cut": plan["cut"], "codec": plan["codec"]} for plan in feasible]
    assert "device" in shown["verdict"], "so small a net is best left on the device"


def test_explain_leaves_lossless_plans_where_inputs_are_unlike_the_samples(said, folder):
    command = ["explain", folder / "net.bundle", "--uplink-mbps", 10, "--rtt-ms", 30, "--accuracy-loss-max", 1, "--json"]
    usual, drifted = said(*command), said(*command, "--drifted")
    unlike = [plan for plan in drifted["plans"] if plan["why"] == "inputs unlike the samples that the codecs were measured on"]
    names = {(plan["cut"], plan["codec"]) for plan in unlike}
    assert names
    assert not any(codec(id).lossless for _, id in names)
    assert not any(plan["feasible"] for plan in unlike)
    assert all(plan["feasible"] for plan in usual["plans"] if (plan["cut"], plan["codec"]) in names)
    assert (drifted["pick"]["cut"], drifted["pick"]["codec"]) not in names
    assert "unlike the samples" in drifted["why"]


def test_explain_says_when_it_flips(said, folder):
    slow = ["--device-slowdown", 20000, "--accuracy-loss-max", 1]
    shown = said("explain", folder / "net.bundle", "--uplink-mbps", 10, "--rtt-ms", 30, *slow, "--json")
    assert "from" in shown["verdict"]
    assert "Mbit/s" in shown["verdict"]


def test_build_with_labels_and_chosen_cuts(said, folder, tmp_path):
    command = ["build", folder / "net.onnx", "-o", tmp_path / "out", "--samples", folder / "samples.npz", "--labels", "classes"]
    shown = said(*command, "--image-input", "x", "--cut", "r2", "--json")
    assert [cut["name"] for cut in shown["cuts"]][1:-1] == ["r2"]
    assert shown["metric"] != "agreement"
    assert shown["path"] == str(tmp_path / "out")


def test_build_keeps_all_cuts_when_asked(said, folder, tmp_path):
    few = said("build", folder / "net.onnx", "-o", tmp_path / "few", "--json")
    all_cuts = said("build", folder / "net.onnx", "-o", tmp_path / "all", "--cuts", "all", "--json")
    assert len(all_cuts["cuts"]) >= len(few["cuts"])
    assert {plan["codec"] for plan in few["plans"]} <= {"raw", "shuffle+zstd1", "half", "half+zstd1"}


REFUSED = [
    (["build", "{0}/one.npz", "-o", "{1}/x"], "UnsupportedModel"),
    (["build", "{0}/missing.onnx", "-o", "{1}/x"], None),
    (["build", "{0}/net.onnx", "-o", "{1}/x", "--samples", "{0}/net.onnx"], "InvalidInput"),
    (["build", "{0}/net.onnx", "-o", "{1}/x", "--samples", "{0}/samples.npz"], "InvalidInput"),
    (["build", "{0}/net.onnx", "-o", "{1}/x", "--cut", "nowhere"], None),
    (["inspect", "{0}"], "CorruptBundle"),
    (["infer", "{0}/net.bundle", "--input", "{0}/net.onnx"], "InvalidInput"),
    (["infer", "{0}/net.bundle", "--input", "{0}/samples.npz"], "InvalidInput"),
    (["infer", "{0}/net.bundle", "--input", "{0}/one.npz", "--cloud", "192.0.2.1:9"], "SecurityError"),
    (["serve", "{0}", "--listen", "127.0.0.1:0"], None),
]


@pytest.mark.parametrize(("arguments", "kind"), REFUSED, ids=[f"{case[0][0]}{index}" for index, case in enumerate(REFUSED)])
def test_what_cannot_be_done_is_said_in_one_line(capsys, folder, tmp_path, arguments, kind):
    filled = [argument.format(folder, tmp_path) for argument in arguments]
    assert run([*filled, *(["--json"] if filled[0] != "serve" else [])]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert err.startswith("splitinfer: ")
    if kind is not None:
        assert json.loads(out)["error"]["type"] == kind


WRONG = [
    "infer",
    "nothing",
    "infer x --input",
    "infer {0}/net.bundle --input {0}/one.npz --repeat 0",
    "infer {0}/net.bundle --input {0}/one.npz --device-slowdown 0",
    "explain x",
    "explain {0}/net.bundle --uplink-mbps 0 --rtt-ms 10",
    "explain {0}/net.bundle --uplink-mbps 1 --rtt-ms 10 --cloud-speedup 0",
    "explain {0}/net.bundle --uplink-mbps 1 --rtt-ms 10 --battery 80",
    "link --listen 127.0.0.1:0 --to 127.0.0.1:9 --uplink-mbps 0",
    "demo --sweep fast",
    "demo --sweep 2,0",
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_exits_with_2(capsys, folder, arguments):
    assert run(arguments.format(folder).split()) == 2
    assert capsys.readouterr().err


def test_a_certificate_alone_already_means_tls(folder):
    """It was not meant for plaintext: without its key it is refused rather than forgotten."""
    command = ["infer", str(folder / "net.bundle"), "--input", str(folder / "one.npz"), "--cloud", "127.0.0.1:9"]
    assert run([*command, "--cert", str(folder / "one.npz")]) == 1


def test_a_policy_or_an_address_that_cannot_be_read_is_wrong_usage(capsys, folder):
    command = ["infer", str(folder / "net.bundle"), "--input", str(folder / "one.npz")]
    assert run([*command, "--policy", "clever"]) == 2
    assert run([*command, "--cloud", "nowhere"]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys, name):
    assert run([name, "--help"]) == 0
    assert "Usage: splitinfer" in capsys.readouterr().out


def test_serve_and_infer_through_a_slow_link(folder):
    """Three processes: the cloud on Ray, the link, the device."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "PYTHONUNBUFFERED": "1"}
    bundle = folder / "net.bundle"
    with Process("serve", bundle, "--listen", "127.0.0.1:0", environment=environment) as serve:
        address = serve.first()["addresses"][0]
        with Process("link", "--listen", "127.0.0.1:0", "--to", address, "--uplink-mbps", 5, "--rtt-ms", 20) as link:
            command = ["infer", bundle, "--input", folder / "exact.jpg", "--cloud", link.first()["address"], "--repeat", 5]
            found = subprocess.run(
                [sys.executable, "-m", "splitinfer", *map(str, command), "--policy", "static:0/png", "--json"],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
    shown = json.loads(found.stdout)
    assert shown["outcome"] == "remote"
    assert shown["plan"] == {"cut": 0, "codec": "png"}
    sent = shown["cost"]["uplink_bytes"]
    assert sent == pytest.approx((folder / "exact.jpg").stat().st_size, abs=300), "the JPEG itself crossed"


class Process:
    """A command of ours in a process of its own; stopped with SIGTERM."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None):
        command = [sys.executable, "-m", "splitinfer", *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def first(self) -> dict:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_failure):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
