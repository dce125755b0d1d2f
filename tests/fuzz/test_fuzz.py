"""Strangers' payloads: what `unpack` may raise, what it may return, and how much memory it may take."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds, target

ROOT = Path(__file__).parents[2]
SEEDS = sorted(set(seeds.seeds()))
SPARE_BYTES = 256 << 10

needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris is not installed: it has wheels for Linux on x86-64"
)


def test_what_our_encoders_make_is_read() -> None:
    fresh = list(seeds.fresh())
    payloads = list(map(target.payload_of, fresh))
    assert {payload.parts[0].codec for payload in payloads if payload} == set(target.ids())
    assert all(map(target.run, fresh))


def test_golden_bytes_and_earlier_finds_are_read_or_refused() -> None:
    read = [target.run(data) for data in (*seeds.golden(), *seeds.kept())]
    assert 0 < sum(read) < len(read)


@settings(derandomize=True, deadline=None, max_examples=600)
@given(data=st.data())
def test_changed_payloads_are_read_or_refused(data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    target.run(bytes(changed))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(case=st.sampled_from(target.cases()), chunks=st.lists(st.binary(max_size=300), max_size=3), tweak=st.integers(0, 255))
def test_arbitrary_chunks_are_read_or_refused(case: target.Case, chunks: list[bytes], tweak: int) -> None:
    target.run(target.describe(case, len(chunks), chunks, tweak))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.sampled_from(SEEDS), at=st.integers(0, 60), number=st.sampled_from([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]))
def test_numbers_that_were_made_large_take_no_memory(data: bytes, at: int, number: bytes) -> None:
    target.run(data)  # binds the coder
    tracemalloc.start()
    try:
        target.run(data[: 5 + at] + number + data[9 + at :])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 2 * target.LIMIT_BYTES + SPARE_BYTES


def fuzz(folder: Path, runs: int, seed: int) -> None:
    """Runs atheris in a process of its own, which it ends."""
    (folder / "seeds").mkdir()
    seeds.write(folder / "seeds")
    options = (f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-len_control=0", "-timeout=10", "-rss_limit_mb=1024")
    command = (
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.fuzz.fuzz",
        folder / "seeds",
        *options,
        f"-artifact_prefix={folder}/",
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    found = [path.read_bytes().hex() for path in folder.glob("*-*")]
    assert not found, f"tests.fuzz.target.run(bytes.fromhex({found[0]!r})):\n{done.stderr[-4000:]}"
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr


@needs_atheris
@pytest.mark.timeout(600)
def test_300_000_payloads(tmp_path: Path) -> None:
    fuzz(tmp_path, 300_000, seed=1)


@needs_atheris
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_3_000_000_payloads(tmp_path: Path) -> None:
    fuzz(tmp_path, 3_000_000, seed=2)
