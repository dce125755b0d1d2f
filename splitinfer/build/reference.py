"""The reference profile: how long segments, tails and codecs take on the machine that builds.

It is a hint, stands outside the digest, and is replaced by what a device measures itself. Times are CPU milliseconds of one
thread, the median of several runs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import thread_time_ns

from splitinfer.build.score import Offered
from splitinfer.build.walk import MANY_CUTS, Progress, to_end
from splitinfer.engine import Engine
from splitinfer.model import Tensors
from splitinfer.payload import Packer
from splitinfer.plan import Plan, Profile

_RUNS = 9
_CODEC_RUNS = 5
_RUNS_MIN = 3
_ENOUGH_MS = 60.0


def profile(engine: Engine, packer: Packer, offered: Offered, feed: Tensors, progress: Progress) -> Profile:
    """Measures a model at batch 1.

    Args:
        engine: runs it, with one thread.
        packer: of the bundle.
        offered: the plans.
        feed: inputs.
        progress: hears how many cuts of how many are done.
    """
    model = engine.model
    segment_ms: list[float | None] = []
    tail_ms: list[float] = []
    encode_ms: dict[Plan, float] = {}
    decode_ms: dict[Plan, float] = {}
    held = engine.hold(0, feed)
    for cut in model.cuts[:-1]:
        at = cut.index
        plain = held.plain()
        if model.n <= MANY_CUTS:
            tail_ms.append(_cpu_ms(partial(to_end, engine, held), _RUNS))
        segment_ms.append(_cpu_ms(partial(engine.run, at, at + 1, held), _RUNS))
        for codec in offered.at(cut):
            plan = Plan(at, codec.id)
            payload = packer.pack(at, codec.id, plain)
            encode_ms[plan] = _cpu_ms(partial(packer.pack, at, codec.id, plain), _CODEC_RUNS)
            decode_ms[plan] = _cpu_ms(partial(packer.unpack, payload), _CODEC_RUNS)
        held = engine.run(at, at + 1, held)
        progress(at + 1, model.n)
    return Profile(
        digest=model.digest,
        device=f"{platform.system()} {platform.machine()}, one thread",
        engine=engine.name,
        segment_ms=tuple(segment_ms),
        encode_ms=encode_ms,
        decode_ms=decode_ms,
        tail_ms=(*(tail_ms or _rests(segment_ms)), 0.0),
    )


def _rests(segment_ms: Sequence[float | None]) -> list[float]:
    """The sum of the segments from each cut on."""
    return [sum(ms or 0.0 for ms in segment_ms[at:]) for at in range(len(segment_ms))]


def _cpu_ms(work: Callable[[], object], runs: int) -> float:
    """Median CPU milliseconds of this thread, after one run to warm up; of fewer runs where each takes long."""
    work()
    times: list[float] = []
    while len(times) < runs and (len(times) < _RUNS_MIN or sum(times) < _ENOUGH_MS):
        start = thread_time_ns()
        work()
        times.append((thread_time_ns() - start) / 1e6)
    return median(times)
