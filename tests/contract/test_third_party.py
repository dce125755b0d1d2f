"""A codec of somebody else: installed as a package, found by its id, tested with the tests that we export."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODEC = '''
import numpy as np
from splitinfer.codec.items import SizedItemCodec, check_nbytes
from splitinfer.errors import UnknownCodec

class Sign(SizedItemCodec):
    """Plus or minus a magnitude."""

    lossless = False

    def __init__(self, step):
        self.id = f"sign:{step}"
        self.magnitude = float(step)

    def accepts(self, spec):
        return spec.dtype == "float32"

    def item(self, spec, table):
        return SignItem(self.magnitude)

class SignItem:
    def __init__(self, magnitude):
        self.magnitude = magnitude

    def nbytes(self, size):
        return size

    def encode(self, values):
        return (values > 0).tobytes()

    def decode(self, chunk, size):
        check_nbytes(chunk, size)
        return np.where(np.frombuffer(chunk, np.uint8) > 0, np.float32(self.magnitude), np.float32(-self.magnitude))

def factory(step):
    if step not in ("1", "2"):
        raise UnknownCodec("sign takes 1 and 2")
    return Sign(step)
'''

TESTS = """
import numpy as np
from splitinfer.codec import codec
from splitinfer.testing import CodecConformance

class TestSign(CodecConformance):
    codec = codec("sign:2")

    def tolerance(self, spec, array):
        return float(np.abs(array).max()) + 2

class TestCompressed(TestSign):
    codec = codec("sign:1+zstd1")

class TestForgotten(CodecConformance):
    codec = codec("sign:1")
"""


def test_a_package_runs_our_tests_on_its_codec(tmp_path: Path) -> None:
    info = tmp_path / "sign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sign\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[splitinfer.codecs]\nsign = signcodec:factory\n", encoding="utf-8")
    (tmp_path / "signcodec.py").write_text(CODEC, encoding="utf-8")
    (tmp_path / "test_sign.py").write_text(TESTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, tmp_path / "test_sign.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2, done.stdout[-3000:]
    assert "needs a `tolerance" in done.stdout
    assert all("TestForgotten" in line for line in failed), done.stdout[-3000:]
