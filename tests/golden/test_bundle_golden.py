"""Bundles of every format that was released open and answer as they did. Never write these files anew; add the next format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.bundle.records import decode_scorecard
from splitinfer.plan import Leak, Plan, PlanScore, Scorecard

HERE = Path(__file__).parent / "bundle"


@pytest.mark.parametrize(("name", "batches"), [("v1", None), ("v2", True)])
def test_a_bundle_opens_and_answers_as_it_did(name: str, batches: bool | None) -> None:
    expected = json.loads((HERE / f"{name}.json").read_bytes())
    bundle = Bundle.open(HERE / name)
    assert bundle.digest == expected["digest"]
    assert bundle.manifest.encode() == (bundle.path / "manifest.json").read_bytes()
    assert [cut.id for cut in bundle.model.cuts] == ["5de985a958f4", "3afb0c64ab10", "73b202733ec2", "b928deb94e23"]
    assert bundle.model.whole
    assert bundle.model.batches is batches
    engine = OrtEngine(bundle)
    x = (np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8) % 17) / 16
    outputs = engine.run(0, 3, engine.hold(0, {"x": x})).outputs()
    np.testing.assert_allclose(outputs["early"][0], expected["early"], atol=1e-5)
    np.testing.assert_allclose(outputs["logits"][0][:5], expected["logits"], atol=1e-5)


@pytest.mark.parametrize(("name", "peaks"), [("v1", (None, None, None, 1 << 20)), ("v2", (0, 65536, None, 1 << 20))])
def test_records_read_as_they_did(name: str, peaks: tuple[int | None, ...]) -> None:
    bundle = Bundle.open(HERE / name)
    assert bundle.tables == {"demo/a": b"a table"}
    assert (bundle.info.name, bundle.info.version) == ("tiny", "1")
    assert bundle.scorecard is not None
    assert bundle.scorecard.scores[Plan(1, "half")] == PlanScore(1056, 1060, 0.0, 0.0295, 100, 0.00042)
    assert bundle.profile is not None
    assert bundle.profile.tail_ms == (0.875, 0.375, 0.125, 0.0)
    assert bundle.profile.encode_ms == {Plan(1, "half"): 0.01}
    assert bundle.profile.peak_bytes == peaks


def test_a_scorecard_with_all_that_joined_later_reads_as_it_did() -> None:
    digest = "0" * 64
    score = PlanScore(1056, 1060, 0.0, 0.0295, 100, 0.00042, 0.000125, 12, Leak(21.5, 0.75, 12.25, None, 40))
    read = decode_scorecard((HERE / "scorecard.json").read_bytes(), digest)
    assert read == Scorecard(digest, {Plan(1, "half"): score}, "accuracy", dropped=7)


def test_a_scorecard_from_before_that_lacks_it() -> None:
    raw = json.loads((HERE / "scorecard.json").read_bytes())
    del raw["dropped"]
    for name in ("divergence", "groups", "leak_at_least"):
        del raw["scores"][0][name]
    read = decode_scorecard(json.dumps(raw).encode(), "0" * 64)
    assert read == Scorecard("0" * 64, {Plan(1, "half"): PlanScore(1056, 1060, 0.0, 0.0295, 100, 0.00042)}, "accuracy")
