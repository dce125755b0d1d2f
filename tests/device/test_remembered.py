"""What is learnt of networks survives a restart, and no file that is not ours is lost."""

from __future__ import annotations

import json

import pytest

from splitinfer.device.remembered import EVERY_MS, NETWORKS_MAX, Remembered, recall
from splitinfer.estimate import Prior
from splitinfer.events import LinkChanged, Transferred

HOME, TRAIN = Prior(20e6, 15.0), Prior(1.5e6, 80.0)


class Memory:
    """A `Remembered` with a clock and priors of its own."""

    def __init__(self, path, known=None):
        self.now_ms = 0.0
        self.priors = dict(known or {})
        self.write = Remembered(path, lambda: self.priors, lambda: self.now_ms, self.priors)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "networks.json"


def test_what_was_learnt_is_there_after_a_restart(path):
    assert recall(path) == {}
    memory = Memory(path)
    memory.priors = {"a": HOME, "b": TRAIN}
    memory.write.write()
    assert recall(path) == {"a": HOME, "b": TRAIN}
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing else is left behind"


def test_it_is_written_once_a_minute_and_only_if_something_changed(path):
    memory = Memory(path, {"a": HOME})
    memory.now_ms = EVERY_MS
    memory.write(Transferred(1, 1.0))
    assert not path.exists(), "nothing is new"
    memory.priors = {"a": TRAIN}
    memory.now_ms = 1.5 * EVERY_MS
    memory.write(Transferred(1, 1.0))
    assert not path.exists(), "not yet"
    memory.now_ms = 2 * EVERY_MS
    memory.write(LinkChanged(True))
    assert not path.exists(), "that teaches nothing"
    memory.write(Transferred(1, 1.0))
    assert recall(path) == {"a": TRAIN}


def test_the_networks_that_were_used_last_stay(path):
    known = {f"n{i}": HOME for i in range(NETWORKS_MAX)}
    memory = Memory(path, known)
    memory.priors = known | {"n0": TRAIN, "new": TRAIN}
    memory.write.write()
    kept = recall(path)
    assert len(kept) == NETWORKS_MAX
    assert list(kept)[-2:] == ["n0", "new"]
    assert "n1" not in kept


def file_of(networks) -> bytes:
    return json.dumps({"format": "splitinfer networks 1", "networks": networks}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"my diary",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"format": "splitinfer networks 1"}',
        b'{"format": "splitinfer networks 9", "networks": {}}',
        file_of({"a": {"rate_bps": 1e6}}),
        file_of({"a": {"rate_bps": 1e6, "rtt_ms": 1.0, "more": 1.0}}),
        file_of({"a": {"rate_bps": "fast", "rtt_ms": 1.0}}),
        file_of({"a": {"rate_bps": True, "rtt_ms": 1.0}}),
        file_of({"a": {"rate_bps": -1.0, "rtt_ms": 1.0}}),
        file_of({"a": {"rate_bps": float("nan"), "rtt_ms": 1.0}}),
        file_of({"a": {"rate_bps": 10**400, "rtt_ms": 1.0}}),
        file_of({"a": []}),
        b"[" * 60_000,
        b" " * 100_000,
        file_of({"a": {"rate_bps": 1e6, "rtt_ms": 1.0}})[:-9],
    ],
    ids=str,
)
def test_a_file_that_is_damaged_or_not_ours_is_put_aside(path, data, caplog):
    path.write_bytes(data)
    assert recall(path) == {}
    assert "begins anew" in caplog.text
    assert path.with_name(path.name + ".damaged").read_bytes() == data
    memory = Memory(path)
    memory.priors = {"a": HOME}
    memory.write.write()
    assert recall(path) == {"a": HOME}


def test_a_disk_that_takes_nothing_is_logged_and_tried_again(path, caplog):
    folder = path.parent / "later"
    memory = Memory(folder / path.name)
    memory.priors = {"a": HOME}
    memory.write.write()
    assert "could not be kept" in caplog.text
    folder.mkdir()
    memory.write.write()
    assert recall(folder / path.name) == {"a": HOME}
