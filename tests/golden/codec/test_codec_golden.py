"""Stored bytes decode to the stored values, whatever the encoders do today."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from splitinfer.codec import codec
from splitinfer.model import TensorSpec

FILES = sorted(Path(__file__).parent.glob("*.json"))
LOSSY_PICTURES = ("jpeg", "webp")


def test_every_family_has_golden_bytes() -> None:
    stored = {json.loads(path.read_text(encoding="utf-8"))["id"] for path in FILES}
    assert stored >= {"raw", "half", "int8", "int6", "int4", "raw+zstd1", "int6+zstd1", "png", "jpeg:75", "webp:75"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_bytes_decode(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    shape = tuple(case["shape"])
    coder = codec(case["id"]).bind(TensorSpec("t", case["dtype"], (None, *shape[1:])))
    found = coder.decode([bytes.fromhex(chunk) for chunk in case["chunks"]], shape)
    expected = np.frombuffer(bytes.fromhex(case["values"]), case["dtype"]).reshape(shape)
    if case["id"].startswith(LOSSY_PICTURES):  # decoders may round differently
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 2
    else:
        assert found.tobytes() == expected.tobytes()
