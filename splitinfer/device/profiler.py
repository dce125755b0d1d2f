"""Measures a device: time and memory of each segment, and from that the profile of every plan.

The reference profile that travels with a bundle is another machine's. Segments are measured here, on the engine that will
run them; the time to encode is scaled by the same ratio until requests have measured it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from splitinfer.backends.memory import Growth
from splitinfer.engine import Engine
from splitinfer.errors import EngineError, InvalidInput
from splitinfer.model import Array, Model, TensorSpec
from splitinfer.plan import Profile

ROUNDS = 3
"""The median of so many runs counts; the first, cold one does not."""


def measure(
    engine: Engine, reference: Profile | None, clock_ms: Callable[[], float], memory_max_bytes: int | None = None
) -> Profile:
    """Profiles an engine.

    Args:
        engine: what will run the segments. It is warm afterwards.
        reference: the bundle's; its cloud times and codec times are kept (codec times scaled to this device).
        clock_ms: the clock.
        memory_max_bytes: segments that would take more are neither loaded nor run: their times are the reference's, scaled.

    Returns:
        A profile with source "measured", or the reference where the model's inputs have dynamic sizes that nobody gave.
    """
    model = engine.model
    base = reference or Profile(model.digest, platform.machine(), engine.name, (None,) * model.n)
    if any(dim is None for spec in model.inputs for dim in spec.shape[1:]):
        return base
    try:
        peaks = _load(engine, base, memory_max_bytes)
        segment_ms = _segment_ms(engine, len(peaks) - 1, clock_ms)
    except (EngineError, InvalidInput):
        return base
    ratio = _ratio(segment_ms, base.segment_ms)
    rest_ms = [None if ms is None or i not in model.holds else ms * ratio for i, ms in enumerate(base.segment_ms)]
    return replace(
        base,
        device=platform.machine(),
        engine=engine.name,
        segment_ms=(*segment_ms, *rest_ms[len(segment_ms) :]),
        encode_ms={plan: ms * ratio for plan, ms in base.encode_ms.items()},
        peak_bytes=tuple(_at_least(peaks, base, cut) for cut in range(model.n + 1)),
        source="measured",
    )


def blank_inputs(model: Model) -> Mapping[str, Array]:
    """Zeros of the inputs' shapes; a dynamic batch is 1."""
    return {spec.name: _blank(spec) for spec in model.inputs}


def _load(engine: Engine, reference: Profile, memory_max_bytes: int | None) -> list[int | None]:
    """Runs each segment for the first time, which loads it; the memory that this took, from cut 0 to the last one reached."""
    growth, held = Growth(), engine.hold(0, blank_inputs(engine.model))
    peaks: list[int | None] = [0]
    for index in range(engine.model.n):
        expected = (peaks[-1], reference.memory_bytes(index + 1))
        if index not in engine.model.holds or _exceeds(expected, memory_max_bytes):
            break
        held = engine.run(index, index + 1, held)
        peaks.append(growth.nbytes())
    return peaks


def _exceeds(expected: Sequence[int | None], limit: int | None) -> bool:
    return limit is not None and any(nbytes is not None and nbytes > limit for nbytes in expected)


def _at_least(peaks: Sequence[int | None], reference: Profile, cut: int) -> int | None:
    """The larger of what was measured and what the reference says; past the last segment that ran, no less than that took.

    Memory that the process had to spare, from another client say, hides what a segment takes; the reference comes from a
    fresh process.
    """
    known = (peaks[min(cut, len(peaks) - 1)], reference.memory_bytes(cut))
    return max((nbytes for nbytes in known if nbytes is not None), default=None)


def _segment_ms(engine: Engine, stop: int, clock_ms: Callable[[], float]) -> tuple[float, ...]:
    samples: list[list[float]] = [[] for _ in range(stop)]
    for _ in range(ROUNDS):
        held = engine.hold(0, blank_inputs(engine.model))
        for index in range(stop):
            began_ms = clock_ms()
            held = engine.run(index, index + 1, held)
            samples[index].append(clock_ms() - began_ms)
    return tuple(median(times) for times in samples)


def _ratio(here: Sequence[float], there: Sequence[float | None]) -> float:
    pairs = [(a, b) for a, b in zip(here, there, strict=False) if b]
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs) if pairs else 1.0


def _blank(spec: TensorSpec) -> Array:
    return np.zeros([1 if d is None else d for d in spec.shape], np.dtype(spec.dtype))
