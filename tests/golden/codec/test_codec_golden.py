"""Stored bytes decode to the stored values, whatever the encoders do today."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from splitinfer.codec import codec
from splitinfer.codec.picture import PictureCodec
from splitinfer.model import TensorSpec

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.json"))


def kind(id: str) -> tuple[str, bool]:
    """Family, and whether a byte compressor follows. Steps are the encoder's business."""
    name, _, compressor = id.partition("+")
    return name.partition(":")[0], bool(compressor)


def test_every_codec_has_golden_bytes() -> None:
    there = {kind(made.id) for made in runpy.run_path(str(HERE / "make.py"))["every_codec"]()}
    stored = {kind(json.loads(path.read_text(encoding="utf-8"))["id"]) for path in FILES}
    assert stored >= there, "run python tests/golden/codec/make.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_bytes_decode(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    shape, found = tuple(case["shape"]), codec(case["id"])
    table = bytes.fromhex(case["table"]) if "table" in case else None
    coder = found.bind(TensorSpec("t", case["dtype"], (None, *shape[1:])), table)
    decoded = coder.decode([bytes.fromhex(chunk) for chunk in case["chunks"]], shape)
    expected = np.frombuffer(bytes.fromhex(case["values"]), case["dtype"]).reshape(shape)
    if isinstance(found, PictureCodec) and not found.lossless:  # libraries of other versions may round differently
        assert np.abs(decoded.astype(int) - expected.astype(int)).max() <= 2
    elif (
        kind(case["id"])[0] == "klt"
    ):  # levels are pinned to the bit (tests/core/test_codec_klt.py); floats may round differently
        assert np.abs(decoded - expected).max() <= 1e-4
    else:
        assert decoded.tobytes() == expected.tobytes()


def test_lossless_codecs_store_what_was_put_in() -> None:
    """Not only what they decode to: the numbers come from a recipe."""
    numbers = runpy.run_path(str(HERE / "make.py"))["numbers"]
    checked = 0
    for case in (json.loads(path.read_text(encoding="utf-8")) for path in FILES):
        if tuple(case["shape"]) == (2, 3, 7) and kind(case["id"])[0] in ("shuffle", "narrow"):
            assert bytes.fromhex(case["values"]) == numbers(case["dtype"]).tobytes()
            checked += 1
    assert checked >= 8
