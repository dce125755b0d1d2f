"""Tensors to try codecs with: every kind that a model may have, small, with values that can be made again.

Knows no codec.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from splitinfer.model import Array, TensorSpec

DTYPES = ("bool", "uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64")
SHAPES: tuple[tuple[int | None, ...], ...] = ((None, 5, 3, 7), (None, 13), (None, None, 6), (1, 13), (4, 2), (None,), ())
PICTURES = TensorSpec("t", "uint8", (None, 24, 33, 3))

SPECS = (*(TensorSpec("t", dtype, shape) for dtype in DTYPES for shape in SHAPES), PICTURES)
"""Small ones. Of each element type: maps, vectors, sequences of any length, no batch, one value an item, a scalar."""

LARGE = (
    TensorSpec("t", "float32", (None, 64, 64, 64)),
    TensorSpec("t", "float16", (None, 64, 64, 64)),
    TensorSpec("t", "uint8", (None, 512, 512, 3)),
    TensorSpec("t", "int64", (None, 1 << 17)),
    TensorSpec("t", "bool", (None, 1 << 20)),
)
"""Half a mebibyte or one, for measuring memory."""

_ANY_LENGTH = 4


def concrete(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """A shape that fits."""
    first = tuple(batch if dim is None else dim for dim in spec.shape[:1])
    return first + tuple(_ANY_LENGTH if dim is None else dim for dim in spec.shape[1:])


def values(spec: TensorSpec, batch: int, seed: int) -> Array:
    """Floats around -1 with a deviation of 3, integers of 0 to 119, pictures that are smooth, so that lossy ones come close."""
    shape, dtype = concrete(spec, batch), np.dtype(spec.dtype)
    if dtype == np.uint8 and len(shape) == 4 and shape[3] == 3:
        return _pictures(shape, seed)
    random = np.random.default_rng(seed)
    if dtype.kind == "f":
        return np.asarray(random.normal(-1, 3, shape)).astype(dtype)
    return np.asarray(random.integers(0, 2 if dtype.kind == "b" else 120, shape)).astype(dtype)


def constants(spec: TensorSpec) -> Iterable[Array]:
    """Tensors of one value."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        several: tuple[float, ...] = (False, True)
    elif dtype.kind == "f":
        several = (0.0, -0.0, 1.0, -3.25)
    else:
        several = (0, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return (np.full(concrete(spec, 2), value, dtype) for value in several)


def with_value(array: Array, value: float) -> Array:
    """A copy whose last value is another one."""
    changed = array.copy()
    changed.reshape(-1)[-1] = value
    return changed


def bits_equal(first: Array, second: Array) -> bool:
    """Whether two arrays are the same, NaN and the sign of zero included."""
    return first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes()


def _pictures(shape: tuple[int, ...], seed: int) -> Array:
    """Gradients in another direction for each item."""
    count, height, width, _ = shape
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    turns = np.arange(seed, seed + count) / 7
    planes = np.stack([100 + 90 * (y * np.sin(turn) + x * np.cos(turn)) / 2 for turn in turns])
    return np.asarray(planes[..., None] + np.array([0, 20, 40])).astype(np.uint8)
