"""What a boundary costs, on a grid of links, devices, cloud loads and codecs.

The price of boundary b at uplink rate r, on a device s times slower than the machine that the constants below describe, with
a cloud k times slower than it, and a codec that leaves the share c of float tensors::

    head(b) * s + sent bytes(b, c) * 8 / r + tail(b) * k + crossing(b)    head + tail = all operations * MS_PER_OPERATION

It is pure arithmetic on the graph: no clock and no measurement, so that building twice gives the same prices. The round trip
and the answer's way back are left out: they are the same for all boundaries at which something crosses, and leaving them out
never hides a cut that is worth having.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
import numpy.typing as npt

from splitinfer.build.boundaries import Boundary

MS_PER_OPERATION = 9.0 / 390e6
"""EfficientNet-Lite0, 390 million multiply-adds, takes about 9 ms of one server core."""
CROSSING_MS_PER_BYTE = 0.25e-6
"""What handing over costs both sides: leaving the runtime's layout and copying; measured 0.2 to 0.3 ms a megabyte."""
REQUEST_BYTES, TENSOR_BYTES = 250, 35
"""What a request, and each tensor of it, adds on the wire: our message, gRPC, TLS and TCP."""
RATES_BPS = tuple(float(rate) for rate in np.geomspace(0.1e6, 500e6, 12))
SLOWNESS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
CLOUD_LOADS = (1.0, 2.0, 4.0)
"""How many times slower a cloud that others use too computes the tail."""
CODED_SHARES = (1.0, 0.5, 0.2, 0.1)
"""Raw; half precision; eight bits, and four bits, with a byte compressor: as measured on feature maps of EfficientNet-Lite0."""
IMAGE_SHARE = 0.12
"""JPEG at quality 90, of the uint8 image."""
DEPTH_FLOORS = tuple(tenth / 10 for tenth in range(10))
"""Privacy floors (`Budget.depth_min`): nothing may cross before this share of the operations. The first is none."""

Prices = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the grid.

    Attributes:
        rate_bps: of the uplink.
        slowness: how many times slower the device is than a server core.
        load: how many times slower the cloud is.
        coded_share: what the codec leaves of the bytes of float tensors.
    """

    rate_bps: float
    slowness: float
    load: float
    coded_share: float


GRID = tuple(Point(*values) for values in product(RATES_BPS, SLOWNESS, CLOUD_LOADS, CODED_SHARES))
_COLUMNS = np.array([(point.rate_bps, point.slowness, point.load, point.coded_share) for point in GRID]).T


def prices(boundaries: Sequence[Boundary], whole: int, image: bool = False) -> Prices:
    """Milliseconds of each boundary (rows) at each point of the grid (columns).

    Args:
        boundaries: that can be offered.
        whole: operations of the whole model.
        image: whether cut 0 is an image, which media codecs make small.
    """
    rate, slow, load, share = _COLUMNS
    head = np.array([[b.operations] for b in boundaries], dtype=float)
    floats, fixed, plain = np.array([sizes(b) for b in boundaries], dtype=float).T[:, :, None]
    sent = floats * share + fixed
    if image:
        sent = np.where([[b.position == 0] for b in boundaries], plain * IMAGE_SHARE, sent)
    sent = sent + np.array([[REQUEST_BYTES if b.live else 0] for b in boundaries])
    # A model that is said to do nothing still takes some time: no price is 0.
    compute = head * slow + (max(whole, 1) - head) * load
    table: Prices = compute * MS_PER_OPERATION + sent * 8e3 / rate + plain * CROSSING_MS_PER_BYTE
    return table


def sizes(boundary: Boundary) -> tuple[int, int, int]:
    """Bytes that codecs make smaller, bytes that they leave alone, and all plain bytes: what a price grows with."""
    packed = boundary.lossless_bytes if boundary.packed_bytes is None else boundary.packed_bytes
    fixed = packed + TENSOR_BYTES * len(boundary.live)
    return boundary.nbytes - boundary.lossless_bytes, fixed, boundary.nbytes


def crossing_share(boundary: Boundary, whole: int) -> float:
    """What handing over at a boundary costs, as a share of the whole model's time."""
    return boundary.nbytes * CROSSING_MS_PER_BYTE / (max(whole, 1) * MS_PER_OPERATION)


def depth(boundary: Boundary, whole: int) -> float:
    """The head's share of the operations, 0..1."""
    return boundary.operations / whole if whole else float(boundary.position > 0)


def undominated(boundaries: Iterable[Boundary], whole: int) -> tuple[Boundary, ...]:
    """Those that can be offered and that no other beats in operations and in bytes of every kind.

    No other can have the least price anywhere: where the device is faster than the cloud, the end has it. Only boundaries that
    stand between the same two privacy floors are compared, and both ends stay.
    """
    offered = [boundary for boundary in boundaries if boundary.why_not is None]
    by_work = sorted(offered, key=lambda b: (b.operations, b.nbytes, b.position))
    return tuple(one for _, level in groupby(by_work, key=lambda b: _level(b, whole)) for one in _least_bytes(tuple(level)))


def _least_bytes(by_work: Sequence[Boundary]) -> list[Boundary]:
    """Those of which no earlier one sends as little of every kind."""
    sent = np.array([sizes(boundary) for boundary in by_work])
    kept: list[int] = []
    for at, mine in enumerate(sent):
        if not (sent[kept] <= mine).all(axis=1).any():
            kept.append(at)
    return [by_work[at] for at in kept]


def _level(boundary: Boundary, whole: int) -> int:
    """How many privacy floors a boundary satisfies; the ends stand alone."""
    if boundary.position == 0:
        return 0
    return len(DEPTH_FLOORS) + 1 if not boundary.live else sum(depth(boundary, whole) >= floor for floor in DEPTH_FLOORS)
