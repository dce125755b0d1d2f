"""Writes the golden bundle of the present format, where it is not there yet: `python -m tests.golden.bundle.make`.

What is there is never written again: these files pin that bundles of a format open and answer as they did.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import FORMAT, Bundle
from splitinfer.model import Array
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard
from tests.bundles import tiny_bundle

HERE = Path(__file__).parent


def pattern() -> Array:
    """One input."""
    return (np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8) % 17) / 16


def records(bundle: Bundle) -> tuple[Scorecard, Profile]:
    """Round numbers in every field."""
    half = Plan(1, "half")
    scores = {Plan(0, "raw"): PlanScore(768, 768), half: PlanScore(1056, 1060, 0.0, 0.0295, 100, 0.00042)}
    profile = Profile(
        bundle.digest,
        "a desk",
        "some engine",
        segment_ms=(0.5, 0.25, 0.125),
        encode_ms={half: 0.01},
        decode_ms={half: 0.02},
        tail_ms=(0.875, 0.375, 0.125, 0.0),
        peak_bytes=(0, 65536, None, 1 << 20),
    )
    return Scorecard(bundle.digest, scores), profile


def make(name: str) -> None:
    """The bundle, and what it answers."""
    bundle = tiny_bundle(HERE / name, tables={"demo/a": b"a table"})
    scorecard, profile = records(bundle)
    bundle.save_scorecard(scorecard).save_profile(profile)
    engine = OrtEngine(bundle)
    outputs = engine.run(0, 3, engine.hold(0, {"x": pattern()})).outputs()
    answers = {key: [round(float(value), 6) for value in outputs[key][0][:8]] for key in ("early", "logits")}
    expected = {"digest": bundle.digest, "early": answers["early"], "logits": answers["logits"][:5]}
    (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__" and not (HERE / f"v{FORMAT}").exists():
    make(f"v{FORMAT}")
