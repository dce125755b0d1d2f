"""CPU time of small things, many times in turn: what is compared is measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

WARM = 10


def cpu_ms(acts: Sequence[Callable[[int], object]], rounds: int) -> npt.NDArray[np.float64]:
    """CPU time of this process for each of some acts, in rounds.

    Args:
        acts: each is given the number of the round.
        rounds: to count, after some that warm up.

    Returns:
        ms, [acts, rounds].
    """
    found = np.empty((len(acts), rounds))
    for number in range(-WARM, rounds):
        for row, act in enumerate(acts):
            began_ns = time.process_time_ns()
            act(number + WARM)
            if number >= 0:
                found[row, number] = (time.process_time_ns() - began_ns) / 1e6
    return found
