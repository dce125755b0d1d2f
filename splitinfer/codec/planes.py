"""Byte planes: the lowest bytes of all values, then the next ones, and so on.

Bytes of the same weight lie together, so that a byte compressor sees exponents beside exponents, and high bytes that are all
zero need not be stored. Knows no compressor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from splitinfer.model import Array

Bytes = npt.NDArray[np.uint8]


def split(values: Array, width: int) -> list[Bytes]:
    """The `width` lowest byte planes of a flat row of unsigned integers."""
    itemsize = values.dtype.itemsize
    view = values.astype(values.dtype.newbyteorder("<"), copy=False).view(np.uint8)
    return [np.ascontiguousarray(view[plane::itemsize]) for plane in range(width)]


def join(planes: Bytes, width: int, dtype: np.dtype[np.generic]) -> Array:
    """Unsigned integers from `width` planes in a row; planes that are missing count as 0."""
    little, size = dtype.newbyteorder("<"), len(planes) // width if width else 0
    view = (np.empty if width == dtype.itemsize else np.zeros)(size * dtype.itemsize, np.uint8)
    for plane in range(width):
        view[plane :: dtype.itemsize] = planes[plane * size : (plane + 1) * size]
    return view.view(little).astype(dtype, copy=False)
