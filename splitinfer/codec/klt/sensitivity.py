"""How much the answers depend on a tensor: a value, measured by `build.sensitivity` and used by `fit`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt.layout import Layout

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """Second derivative of a distance between answers, in units of the tensor's values.

    Attributes:
        layout: that it was measured in.
        channels: [C, C], symmetric and positive: what errors in two channels do together, averaged over the plane.
        frequencies: [height, width] > 0, mean 1: how much errors of each frequency matter, relative to one another.
    """

    layout: Layout
    channels: Doubles
    frequencies: Doubles

    @classmethod
    def even(cls, layout: Layout) -> Sensitivity:
        """Nothing known: all values matter the same."""
        return cls(layout, np.eye(layout.channels), np.ones(layout.blocks))
