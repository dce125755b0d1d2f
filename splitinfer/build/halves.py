"""The two halves of the samples: one chooses (it calibrates the codecs), the other reports (it measures what they do).

No plan is judged on what it was tuned to; so what belongs together (crops of one photo, windows of one recording) is never
divided. Groups are dealt out in the order in which they first appear, each to the half that has fewer samples; without groups
that is every second sample. Knows no codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from splitinfer.errors import InvalidInput
from splitinfer.model import Array


@dataclass(frozen=True)
class Half:
    """Samples, and what is known of them.

    Attributes:
        samples: input name -> samples along axis 0.
        labels: one a sample; None = not given.
        groups: the group of each sample; None = each stands for itself.
    """

    samples: Mapping[str, Array]
    labels: Array | None = None
    groups: Array | None = None

    def where(self, mask: Array) -> Half:
        """Some of them."""
        labels, groups = (None if array is None else array[mask] for array in (self.labels, self.groups))
        return Half({name: array[mask] for name, array in self.samples.items()}, labels, groups)


def halves(every: Half, together: int = 1) -> tuple[Half, Half]:
    """The half that chooses, and the half that reports.

    Args:
        every: all samples.
        together: samples that the model takes at once; they stay together.

    Raises:
        InvalidInput: all samples are of one group, or a run of the model holds samples of several.
    """
    total = len(next(iter(every.samples.values())))
    units = np.arange(total) // together
    if every.groups is not None:
        groups = np.unique(every.groups, return_inverse=True)[1]
        if together > 1 and any(len(set(groups[units == unit])) > 1 for unit in range(int(units[-1]) + 1)):
            raise InvalidInput(f"the model takes {together} samples at once: those of a run must be of one group")
        units = groups
    reports = _dealt(units)
    return every.where(np.logical_not(reports)), every.where(reports)


def check_groups(groups: Array, samples: int) -> None:
    """Refuses groups that do not belong to the samples.

    Raises:
        InvalidInput: another number of them, not an integer or a text each, or fewer than two different ones.
    """
    if groups.shape != (samples,) or groups.dtype.kind not in "iuU":
        raise InvalidInput(f"groups need one integer or text for each of the {samples} samples")
    if len(np.unique(groups)) < 2:
        raise InvalidInput("at least two groups are needed: one half chooses, the other reports, and no group is divided")


def _dealt(units: Array) -> Array:
    """Whether each sample reports."""
    _, first, index, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    reporting = np.zeros(len(sizes), bool)
    counts = [0, 0]
    for unit in np.argsort(first):
        half = int(counts[1] < counts[0])
        counts[half] += int(sizes[unit])
        reporting[unit] = bool(half)
    return np.asarray(reporting[index])
