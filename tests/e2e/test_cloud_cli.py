"""`splitinfer serve`, when it is told what cannot be: one sentence, and no Ray is started."""

from __future__ import annotations

import pytest

from splitinfer.cli.app import run


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--listen", "nowhere"],
        ["x", "--listen", "127.0.0.1:65536"],
        ["x", "--replicas", "0"],
        ["x", "--threads", "0"],
        ["x", "--drain-s", "-1"],
        ["x", "--metrics-port", "65536"],
        ["x", "--health-port", "-1"],
    ],
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "192.0.2.1:0"], "--insecure"),
        (["--tls-cert", "x"], "--tls-key"),
        (["--client-ca", "x"], "--tls-cert"),
        (["--token-file", "/nowhere"], "cannot read /nowhere"),
        (["--listen", "127.0.0.1:0"], "no bundle"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    local_ray: object, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["serve", "/nowhere.bundle", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("splitinfer: ")
    assert err.count("\n") == 1
    assert words in err
