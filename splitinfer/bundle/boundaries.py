"""Where a model could have been cut, and why it was or was not: for people who look at a bundle.

Build information: it lies beside the identity, and nothing that runs a model needs it. Knows no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from splitinfer.errors import CorruptBundle

FRONTIER_GRID = "links of 0.1 to 500 Mbit/s, devices 1 to 50 times slower and clouds up to 4 times slower"
"""What the loss of the frontier is a mean over, in words."""


@dataclass(frozen=True, slots=True)
class BoundaryEntry:
    """A boundary of the model, in the order that the cuts come from.

    Attributes:
        id: what `--cut` takes, whether it was kept or not.
        name: for people; `--cut` takes it too.
        position: number of nodes before it.
        nbytes: of the tensors that cross, plain, at batch 1.
        depth: the share of the model's operations before it, 0..1.
        kept: it is a cut of the bundle.
        offered: it can be cut there.
        why: what speaks for it where it was kept, else against it.
    """

    id: str
    name: str
    position: int
    nbytes: int
    depth: float
    kept: bool
    offered: bool
    why: str


def encode_boundaries(boundaries: Iterable[BoundaryEntry]) -> bytes:
    """Boundaries as JSON."""
    return (json.dumps({"boundaries": [asdict(boundary) for boundary in boundaries]}, indent=1, allow_nan=False) + "\n").encode(
        "ascii"
    )


def decode_boundaries(data: bytes) -> tuple[BoundaryEntry, ...]:
    """Boundaries from JSON.

    Raises:
        CorruptBundle: they are none.
    """
    try:
        return tuple(_boundary(row) for row in json.loads(data)["boundaries"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptBundle("boundaries.json cannot be read: build again, or delete the file") from error


def frontier_loss(build: Mapping[str, Any]) -> tuple[float, float] | None:
    """What the cuts lose against having every boundary, as shares of the latency, by what the build wrote down.

    Args:
        build: `Info.build`.

    Returns:
        (mean over the frontier's grid, at its worst point); None where the frontier did not choose the cuts.
    """
    try:
        return float(build["frontier"]["loss_mean"]), float(build["frontier"]["loss_worst"])
    except (KeyError, TypeError, ValueError):
        return None


def _boundary(row: Any) -> BoundaryEntry:
    return BoundaryEntry(
        id=str(row["id"]),
        name=str(row["name"]),
        position=int(row["position"]),
        nbytes=int(row["nbytes"]),
        depth=float(row["depth"]),
        kept=bool(row["kept"]),
        offered=bool(row["offered"]),
        why=str(row["why"]),
    )
