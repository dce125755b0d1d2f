"""Our side: steps of `klt`, and the tables that it needs at a cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.build.calibrate import calibrate
from splitinfer.build.score import Offered
from splitinfer.bundle import Bundle
from splitinfer.model import Tensors

STRIDE = 4
TIMED = ("klt:1", "klt:0.25")
"""A coarse and a fine step, near where 95 % and 99 % of a classifier's answers stay."""
_FINEST, _COARSEST, _COUNT = 0.05, 4.0, 14


def ids() -> tuple[str, ...]:
    """A geometric ladder of steps, the finest first; every fourth one is 1.4 times the one before."""
    steps = np.geomspace(_FINEST, _COARSEST, (_COUNT - 1) * STRIDE + 1)
    return tuple(dict.fromkeys(f"klt:{round(float(step), 3):g}" for step in steps))


def tables(bundle: Bundle, feeds: Sequence[Tensors]) -> dict[str, bytes]:
    """The tables of all steps at the inner cuts, from inputs without labels, as a build makes them."""
    offered = Offered(bundle.model, TIMED[:1])
    return calibrate(OrtEngine(bundle), offered, feeds, lambda _done, _total: None)
