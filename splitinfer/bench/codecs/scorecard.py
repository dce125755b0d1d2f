"""How long a build takes that measures every plan at six cuts on 300 samples."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_most
from splitinfer.build import BuildOptions, build

SAMPLES = 300
CUTS = 6
MOST_S = 300.0
_STAGES = ("calibrate", "score")


def measure(subject: Subject) -> list[Row]:
    """The time of calibrating and scoring with its goal, and of the whole build."""
    shown = np.concatenate([subject.choosing.pixels, subject.reporting.pixels])
    samples = shown[np.arange(SAMPLES) % len(shown)]  # of fewer photos some come twice: this is about time
    stages = _Stages(subject)
    with tempfile.TemporaryDirectory() as folder:
        options = BuildOptions(
            name=subject.name,
            samples={subject.image.name: samples},
            image_input=subject.image,
            max_cuts=CUTS,
            progress=stages.hear,
        )
        began_s = time.perf_counter()
        bundle = build(subject.path, Path(folder, "built.bundle"), options)
        whole_s = time.perf_counter() - began_s
        plans = len(bundle.scorecard.scores) if bundle.scorecard else 0
    what = f"{subject.name}: scorecard of {bundle.model.n} cuts and {plans} plans with {SAMPLES} samples"
    return [
        Row(f"{what}, tables included", stages.took_s, "s", at_most(MOST_S), n=SAMPLES),
        Row(f"{subject.name}: the whole build around it", whole_s, "s", n=SAMPLES),
    ]


class _Stages:
    """Adds up how long the stages of a build that are asked for take, and says how far they are."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._since_s = time.perf_counter()
        self._told = ""
        self.took_s = 0.0

    def hear(self, stage: str, done: int, total: int) -> None:
        """A listener of a build: the time since it was last called belongs to the stage it is called for now."""
        now_s = time.perf_counter()
        if stage in _STAGES and done:
            self.took_s += now_s - self._since_s
        self._since_s = now_s
        said = f"    {stage} {10 * done // max(1, total) * 10} %"
        if said != self._told:
            self._told = said
            self._subject.tell(said)
