"""Resident memory as Linux tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from splitinfer.backends.memory import Growth


class Proc:
    """A process as /proc shows it."""

    def __init__(self, root: Path, resets: bool = True) -> None:
        self.root = root
        if resets:
            (root / "clear_refs").touch()
        else:
            (root / "clear_refs").mkdir()

    def show(self, now: int, peak: int) -> None:
        (self.root / "status").write_text(f"Name:\tpython\nVmPeak:\t 999999 kB\nVmHWM:\t {peak} kB\nVmRSS:\t   {now} kB\n")


def test_with_a_reset_what_was_freed_again_counts(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    proc.show(now=1000, peak=5000)
    growth = Growth(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"
    proc.show(now=1100, peak=1300)
    assert growth.nbytes() == 300 * 1024


def test_without_a_reset_what_is_there_counts(tmp_path: Path) -> None:
    proc = Proc(tmp_path, resets=False)
    proc.show(now=1000, peak=5000)
    growth = Growth(tmp_path)
    seen = []
    for now in (1200, 1100, 1500, 900):
        proc.show(now, peak=5000)
        seen.append(growth.nbytes())
    assert seen == [200 * 1024, 200 * 1024, 500 * 1024, 500 * 1024]


@pytest.mark.parametrize("status", [None, "", "Name:\tpython\nVmHWM:\t12 MB\n", "VmRSS: -5 kB\n"])
def test_a_system_that_does_not_tell_is_unknown(tmp_path: Path, status: str | None) -> None:
    if status is not None:
        (tmp_path / "status").write_text(status)
    assert Growth(tmp_path).nbytes() is None


def test_of_this_process() -> None:
    """In a process of its own, since this one has memory to spare, and threads that give some back."""
    work = "growth = Growth(); held = b'x' * (32 << 20); print(growth.nbytes())"
    found = subprocess.run(
        [sys.executable, "-c", f"from splitinfer.backends.memory import Growth; {work}"],
        capture_output=True,
        text=True,
        check=True,
    )
    if found.stdout == "None\n":
        pytest.skip("this system does not tell")
    assert (32 << 20) * 0.9 < int(found.stdout) < (32 << 20) * 1.5
