"""Tensors as maps over a plane [height, width, channels], and how they change size. Knows no attack."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array

Floats = npt.NDArray[np.float32]

_LARGEST = np.float32(1e9)
COLOURS = 4
"""A picture has at most so many channels."""


def numbers(array: Array) -> Floats:
    """Values to compute with: what is not finite is 0, and what is very large (masks are) stays below 1e9."""
    with np.errstate(over="ignore"):  # of float64, what float32 does not hold
        values = array.astype(np.float32, order="C")
    values[~np.isfinite(values)] = 0
    return np.clip(values, -_LARGEST, _LARGEST, out=values)


def single(array: Array) -> Array:
    """One item without its batch axis."""
    return array[0] if array.ndim > 1 and len(array) == 1 else array


def line(item: Array) -> Floats:
    """An item that is no picture as a plane of width 1: its first axis is the height."""
    slim = np.atleast_1d(np.squeeze(item))
    return numbers(slim).reshape(len(slim), 1, -1)


def drawn(count: int, most: int) -> npt.NDArray[np.intp]:
    """Which of `count` things are looked at: all, or `most` of them, drawn with a fixed seed."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def picture(item: Array, side: int) -> Floats | None:
    """One input as a picture, channels last; None where it is none.

    Args:
        item: without its batch axis.
        side: the least height and width of a picture.
    """
    if item.ndim == 3:
        for axes in ((0, 1, 2), (1, 2, 0)):
            height, width, channels = (item.shape[axis] for axis in axes)
            if channels <= COLOURS and min(height, width) >= side:
                return numbers(item.transpose(axes))
    return None


def feature_map(item: Array, height: int, width: int) -> Floats | None:
    """What crosses for one input as a map over the picture, channels last; None where no axes of it lie along the picture.

    [C, H, W] as convolutions make them; [H, W, C] where only that has the picture's proportions; [T, D] where T is a square
    number and the picture is square, with or without a class token in front (vision transformers).

    Args:
        item: without its batch axis.
        height: of the picture.
        width: of the picture.
    """
    if item.ndim == 2 and height == width:
        side = isqrt(len(item))
        if side > 1 and len(item) - side * side in (0, 1):
            return numbers(item[len(item) - side * side :].reshape(side, side, -1))
    if item.ndim == 3:
        last = _alike(item.shape[:2], height, width) and not _alike(item.shape[1:], height, width)
        axes = (0, 1, 2) if last else (1, 2, 0)
        map = numbers(item.transpose(axes))
        return map if min(map.shape[:2]) > 1 else None
    return None


def _alike(sides: Sequence[int], height: int, width: int) -> bool:
    """Whether a plane has the proportions of the picture, up to rounding."""
    return abs(sides[0] * width - sides[1] * height) <= max(height, width) and max(sides) <= max(height, width)


def resized(plane: Floats, height: int, width: int) -> Floats:
    """A plane at another size, each new value the mean of the area it covers.

    Args:
        plane: [..., h, w, channels].
        height: new one.
        width: new one.
    """
    *_, old_height, old_width, channels = plane.shape
    if (old_height, old_width) == (height, width):
        return plane
    flat = plane.reshape(*plane.shape[:-2], old_width * channels)
    tall = (_areas(old_height, height) @ flat).reshape(-1, old_width, channels)
    return (_areas(old_width, width) @ tall).reshape(*plane.shape[:-3], height, width, channels)


@lru_cache(64)
def _areas(old: int, new: int) -> Floats:
    """[new, old]: the share of each old cell in each new one, along one side."""
    step = old / new
    starts, cells = np.arange(new)[:, None] * step, np.arange(old)
    overlap = np.minimum(starts + step, cells + 1) - np.maximum(starts, cells)
    return np.asarray(np.maximum(overlap, 0) / step, np.float32)
