"""Our side: steps of `klt`, and the tables that it needs at a cut."""

from __future__ import annotations

import numpy as np

from splitinfer.bench.codecs.split import Split
from splitinfer.build.score import Offered, calibrate
from splitinfer.model import Array

STRIDE = 4
TIMED = ("klt:1", "klt:0.25")
"""A coarse and a fine step, near where 95 % and 99 % of a classifier's answers stay."""
_FINEST, _COARSEST, _COUNT = 0.05, 4.0, 14


def ids() -> tuple[str, ...]:
    """A geometric ladder of steps, the finest first; every fourth one is 1.4 times the one before."""
    steps = np.geomspace(_FINEST, _COARSEST, (_COUNT - 1) * STRIDE + 1)
    return tuple(dict.fromkeys(f"klt:{step:.3g}" for step in steps))


def tables(split: Split, items: Array, codec_ids: tuple[str, ...]) -> dict[str, bytes]:
    """Tables of codecs at the cut, from samples without labels."""
    return calibrate(split.engine, Offered(split.bundle.model, codec_ids), split.batches(split.feeds(items)))
