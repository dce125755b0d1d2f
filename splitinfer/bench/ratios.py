"""What a chain of segments costs beside the whole model: CPU time of both in one run, one after the other.

A ratio of neighbours in time says more than two times: the clock of a shared machine wanders.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from splitinfer.engine import Engine, Held

PASSES = 2
Chain = tuple[tuple[int, int], ...]
"""Ranges of segments, each a session."""


def rounds(engine: Engine, held: Held, chains: Sequence[Chain]) -> Iterator[npt.NDArray[np.float64]]:
    """CPU time of each chain over that of the whole, again and again. The whole runs before and after every chain.

    Args:
        engine: with one thread, so that it computes in the thread that calls it.
        held: inputs.
        chains: from the first segment to the last.
    """
    whole: Chain = ((0, engine.model.n),)
    while True:
        before_s = _cpu_s(engine, held, whole)
        ratios = np.empty(len(chains))
        for index, chain in enumerate(chains):
            chain_s = _cpu_s(engine, held, chain)
            after_s = _cpu_s(engine, held, whole)
            ratios[index] = 2 * chain_s / (before_s + after_s)
            before_s = after_s
        yield ratios


def _cpu_s(engine: Engine, held: Held, chain: Chain) -> float:
    """CPU time of this thread, in which the engine computes.

    The first pass is not counted: it fetches weights into the caches that the chain before has pushed out (15 % of a run of
    EfficientNet-Lite0), and whoever uses a plan runs the same sessions again and again.
    """
    _run(engine, held, chain)
    began_s = time.thread_time()
    for _ in range(PASSES):
        _run(engine, held, chain)
    return time.thread_time() - began_s


def _run(engine: Engine, held: Held, chain: Chain) -> None:
    for start, stop in chain:
        held = engine.run(start, stop, held)
