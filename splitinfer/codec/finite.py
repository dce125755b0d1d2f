"""Values that a lossy codec may code: finite ones, up to what it can hold or has seen. The one place that looks for others.

Looking costs two passes over the tensor (0.03 ms for 300 000 float32): the lowest and the highest value are both numbers only
if all of them are, because a NaN in an array is its minimum and its maximum.
"""

from __future__ import annotations

import numpy as np

from splitinfer.errors import Uncodable
from splitinfer.model import Array, TensorSpec

LARGEST = float(np.finfo(np.float32).max) / 2
"""Half of float32's range, so that the difference of two values does not overflow."""
FAR = 8.0
"""Values so many times as far out as the range that samples left are of other inputs. (MobileNet on photos: usual ones reach
2 times its int8, 3 times its int4 and 5 times its int2 range; pixels that nobody divided by 255 reach 4 to 300 times.)"""

_LARGEST_HALF = float(np.finfo(np.float16).max)
_MAGNITUDE_HALF = 0x7FFF
"""All bits but the sign."""


def check_finite(spec: TensorSpec, values: Array, largest: float) -> None:
    """Refuses floats that would not come back as what they were: NaN, infinities and what is beyond +-largest.

    Args:
        spec: of the tensor, whose name the error says.
        values: not empty; those that are not floats pass.
        largest: magnitude that the codec can hold; finite.

    Raises:
        Uncodable: there is such a value.
    """
    if values.dtype.kind != "f" or _are_within(values, largest):
        return
    where = np.flatnonzero(~(np.abs(values.ravel().astype(np.float64)) <= largest))
    why = f"{where.size} of {values.size} values are not between +-{largest:.6g}, the first is {values.flat[where[0]]:g}"
    raise Uncodable(f"tensor {spec.name!r} cannot cross in a lossy codec: {why}; use 'raw+zstd1', or compute here")


def _are_within(values: Array, largest: float) -> bool:
    if values.dtype == np.float16:  # numpy compares half floats a hundred times slower than the integers that order them
        bound = np.float16(min(largest, _LARGEST_HALF)).view(np.uint16)
        return bool((np.ascontiguousarray(values).view(np.uint16) & _MAGNITUDE_HALF).max() <= bound)
    return bool(-largest <= values.min() and values.max() <= largest)
