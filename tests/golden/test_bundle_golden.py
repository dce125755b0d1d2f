"""Bundles of every format that was released open and answer as they did. Never write these files anew; add the next format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle
from splitinfer.plan import Plan, PlanScore

HERE = Path(__file__).parent / "bundle"


def test_format_1_opens_and_answers_as_it_did() -> None:
    expected = json.loads((HERE / "v1.json").read_bytes())
    bundle = Bundle.open(HERE / "v1")
    assert bundle.digest == expected["digest"]
    assert [cut.id for cut in bundle.model.cuts] == ["5de985a958f4", "3afb0c64ab10", "73b202733ec2", "b928deb94e23"]
    assert bundle.model.whole
    engine = OrtEngine(bundle)
    x = (np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8) % 17) / 16
    outputs = engine.run(0, 3, engine.hold(0, {"x": x})).outputs()
    np.testing.assert_allclose(outputs["early"][0], expected["early"], atol=1e-5)
    np.testing.assert_allclose(outputs["logits"][0][:5], expected["logits"], atol=1e-5)


def test_records_of_format_1_read_as_they_did() -> None:
    bundle = Bundle.open(HERE / "v1")
    assert bundle.tables == {"demo/a": b"a table"}
    assert (bundle.info.name, bundle.info.version) == ("tiny", "1")
    assert bundle.scorecard is not None
    assert bundle.scorecard.scores[Plan(1, "half")] == PlanScore(1056, 1060, 0.0, 0.0295, 100, 0.00042)
    assert bundle.profile is not None
    assert bundle.profile.tail_ms == (0.875, 0.375, 0.125, 0.0)
    assert bundle.profile.encode_ms == {Plan(1, "half"): 0.01}
