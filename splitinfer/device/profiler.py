"""Measures a device: the time of each segment, and from that the profile of every plan.

The reference profile that travels with a bundle is another machine's. Segments are measured here, on the engine that will
run them; the time to encode is scaled by the same ratio until requests have measured it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median

import numpy as np

from splitinfer.engine import Engine
from splitinfer.errors import EngineError, InvalidInput
from splitinfer.model import Array, Model, TensorSpec
from splitinfer.plan import Profile


def measure(engine: Engine, reference: Profile | None, clock_ms: Callable[[], float], rounds: int = 3) -> Profile:
    """Profiles an engine.

    Args:
        engine: what will run the segments. It is warm afterwards.
        reference: the bundle's; its cloud times and codec times are kept (codec times scaled to this device).
        clock_ms: the clock.
        rounds: the median of so many runs counts; the first, cold one does not.

    Returns:
        A profile with source "measured", or the reference where the model's inputs have dynamic sizes that nobody gave.
    """
    base = reference or Profile(engine.model.digest, platform.machine(), engine.name, (None,) * engine.model.n)
    if any(dim is None for spec in engine.model.inputs for dim in spec.shape[1:]):
        return base
    try:
        segment_ms = _segment_ms(engine, clock_ms, rounds)
    except (EngineError, InvalidInput):
        return base
    ratio = _ratio(segment_ms, base.segment_ms)
    return replace(
        base,
        device=platform.machine(),
        engine=engine.name,
        segment_ms=segment_ms,
        encode_ms={plan: ms * ratio for plan, ms in base.encode_ms.items()},
        source="measured",
    )


def blank_inputs(model: Model) -> Mapping[str, Array]:
    """Zeros of the inputs' shapes; a dynamic batch is 1."""
    return {spec.name: _blank(spec) for spec in model.inputs}


def _segment_ms(engine: Engine, clock_ms: Callable[[], float], rounds: int) -> tuple[float | None, ...]:
    model = engine.model
    samples: list[list[float]] = [[] for _ in range(model.n)]
    for _ in range(rounds + 1):
        held = engine.hold(0, blank_inputs(model))
        for index in range(model.n):
            if index not in model.holds:
                break
            began_ms = clock_ms()
            held = engine.run(index, index + 1, held)
            samples[index].append(clock_ms() - began_ms)
    return tuple(median(times[1:]) if times else None for times in samples)


def _ratio(here: tuple[float | None, ...], there: tuple[float | None, ...]) -> float:
    pairs = [(a, b) for a, b in zip(here, there, strict=True) if a is not None and b]
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs) if pairs else 1.0


def _blank(spec: TensorSpec) -> Array:
    return np.zeros([1 if d is None else d for d in spec.shape], np.dtype(spec.dtype))
