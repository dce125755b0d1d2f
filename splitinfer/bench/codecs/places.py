"""Where the networks are cut: places are found by rule, from sizes and operations alone, before anything was coded.

Only places where exactly the device's and the cloud's work part are taken: not inside what the runtime computes in one go, nor
at the very start, where next to nothing of the network lies before them. Knows no codec.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path

from splitinfer.build.analyse import analyse
from splitinfer.build.boundaries import Boundary
from splitinfer.build.cuts import everything, friendly
from splitinfer.build.options import BuildOptions
from splitinfer.build.trial import Trial
from splitinfer.errors import InvalidCut

MIDDLE_MAX = 0.6
"""Share of the operations before the cut of the middle: at least 40 % are left for the cloud."""
EARLY_MAX = 0.3
"""Share of the operations before an early cut."""
_START = 0.05
_VALUE_BYTES = 4


@dataclass(frozen=True)
class Place:
    """A place to cut at.

    Attributes:
        name: as `BuildOptions.cuts` takes it.
        values: float32 values that cross.
        depth: share of the operations before it, 0..1.
    """

    name: str
    values: int
    depth: float

    def __str__(self) -> str:
        return f"{self.name} ({self.values} values, {100 * self.depth:.0f} % of the operations before it)"


def places(path: Path, options: BuildOptions) -> tuple[Place, ...]:
    """All places of a network that can be offered, by depth.

    Raises:
        UnsupportedModel: it cannot be cut.
    """
    with Trial() as trial:
        analysis = analyse(path, options, trial.uncut)
    boundaries = everything(analysis.orders, image=options.image_input is not None).boundaries
    total = max(1, boundaries[-1].operations)
    return tuple(_place(boundary, total) for boundary in boundaries[1:-1] if _plain(boundary))


def middle(among: tuple[Place, ...]) -> Place:
    """The place of fewest values with at least 40 % of the operations left."""
    return smallest(among, MIDDLE_MAX)


def early(among: tuple[Place, ...]) -> Place:
    """The place of fewest values with at most 30 % of the operations before it."""
    return smallest(among, EARLY_MAX)


def smallest(among: tuple[Place, ...], depth_max: float) -> Place:
    """The place of fewest values with no more than this share of the operations before it; of equals the deepest.

    Raises:
        InvalidCut: there is none.
    """
    fitting = [place for place in among if _START <= place.depth <= depth_max]
    if not fitting:
        raise InvalidCut(f"this network has no place with {100 * _START:.0f} to {100 * depth_max:.0f} % of it before the cut")
    return min(fitting, key=lambda place: (place.values, -place.depth))


def nearest(among: tuple[Place, ...], values: int) -> Place:
    """The place whose number of values is nearest.

    Raises:
        InvalidCut: there is none.
    """
    found = min(among, key=lambda place: abs(place.values / values - 1), default=None)
    if found is None:
        raise InvalidCut("this network has no place to cut at")
    return found


def _plain(boundary: Boundary) -> bool:
    """Whether floats cross and nothing is split that the runtime computes together."""
    return not boundary.splits_fusion and boundary.lossless_bytes == 0 and 0 < boundary.nbytes < inf


def _place(boundary: Boundary, total: int) -> Place:
    return Place(friendly(boundary), boundary.nbytes // _VALUE_BYTES, boundary.operations / total)
