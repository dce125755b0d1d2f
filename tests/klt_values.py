"""Tensors as networks make them: channels that depend on one another, planes that are smooth. The same for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitinfer.codec import codec
from splitinfer.codec.klt import KltCoder
from splitinfer.codec.klt.table import Table, read
from splitinfer.model import Array, TensorSpec

MAP = TensorSpec("map", "float32", (None, 6, 12, 10))
SAMPLES = 24


def spec_of(*shape: int | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec("t", dtype, shape)


def values(spec: TensorSpec, seed: int, channel: int = 1, batch: int = 1, length: int = 20) -> Array:
    """Mixed channels along one axis, running sums of noise along the axes behind and before it.

    Args:
        spec: of the tensor.
        seed: of the noise; the mixture is always the same.
        channel: axis of the channels.
        batch: length of axis 0 where it is open.
        length: of other open axes.
    """
    shape = tuple((batch if axis == 0 else length) if dim is None else dim for axis, dim in enumerate(spec.shape))
    random = np.random.default_rng(seed)
    noise = random.normal(size=shape)
    for axis in range(1, len(shape)):
        if axis != channel:
            for _ in range(2):
                noise = noise + np.roll(noise, 1, axis)
    channels = shape[channel]
    mixing = np.random.default_rng(99).normal(size=(channels, channels)) * np.geomspace(1, 0.05, channels)
    mixed = np.moveaxis(np.tensordot(mixing, np.moveaxis(noise, channel, 0), 1), 0, channel)
    return np.asarray(mixed / mixed.std() + 0.5).astype(spec.dtype)


def samples(spec: TensorSpec, channel: int = 1, count: int = SAMPLES) -> list[Array]:
    return [values(spec, 1000 + seed, channel) for seed in range(count)]


_tables: dict[tuple[TensorSpec, int], bytes] = {}


def table_of(spec: TensorSpec = MAP, channel: int = 1) -> bytes:
    """Made once."""
    if (spec, channel) not in _tables:
        made = codec("klt:1").calibrate(spec, samples(spec, channel))
        assert made is not None
        _tables[spec, channel] = made
    return _tables[spec, channel]


def read_table(spec: TensorSpec = MAP, channel: int = 1) -> Table:
    return read(spec, table_of(spec, channel))


def coder(step: str, spec: TensorSpec = MAP, channel: int = 1) -> KltCoder:
    made = codec(f"klt:{step}").bind(spec, table_of(spec, channel))
    assert isinstance(made, KltCoder)
    return made


def nbytes(chunks: Sequence[bytes]) -> int:
    return sum(map(len, chunks))
