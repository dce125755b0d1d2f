"""How alike two sets of inputs are: PSNR for all, SSIM for pictures. Knows no attack."""

from __future__ import annotations

from math import log10

import numpy as np
import numpy.typing as npt

from splitinfer.build.leak.planes import Floats

WINDOW = 8
"""Pixels of a side of the windows that SSIM compares."""
EXACT_DB = 100.0
"""No PSNR is above this: whoever reaches it has the input."""

_Doubles = npt.NDArray[np.float64]


def psnr_db(one: Floats, other: Floats, span: float) -> float:
    """10 log10(span^2 / mean squared difference), over all values at once, at most `EXACT_DB`.

    Args:
        one: any shape.
        other: the same shape.
        span: between the least and the greatest value that there can be.
    """
    error = float(np.mean(np.square(np.subtract(one, other, dtype=np.float64))))
    least = span**2 * 10 ** (-EXACT_DB / 10)
    return EXACT_DB if error <= least else 10 * log10(span**2 / error)


def ssim(one: Floats, other: Floats, span: float) -> float:
    """Structural similarity, the mean over all windows, channels and pictures; 1 = the same.

    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing 13 (2004), equation 13, with K1 = 0.01 and
    K2 = 0.03; here in square windows of even weight, moved pixel by pixel.

    Args:
        one: pictures [n, height, width, channels], no side below `WINDOW`.
        other: the same shape.
        span: between the least and the greatest value that there can be.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mx, my = _means(x), _means(y)
    vx, vy, vxy = _means(x * x) - mx * mx, _means(y * y) - my * my, _means(x * y) - mx * my
    same = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(same.mean())


def _means(pictures: _Doubles) -> _Doubles:
    """Mean of each window."""
    n, height, width, channels = pictures.shape
    tall = _windows(height) @ pictures.reshape(n, height, -1)
    return _windows(width) @ tall.reshape(-1, width, channels)


def _windows(side: int) -> _Doubles:
    """[windows, side]: a matrix that takes the mean of each window along one side."""
    starts, pixels = np.arange(side - WINDOW + 1)[:, None], np.arange(side)
    return np.asarray((pixels >= starts) & (pixels < starts + WINDOW), np.float64) / WINDOW
