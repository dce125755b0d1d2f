"""The local attacker: from each place of the feature maps to the patch of the picture behind it, one map for all places.

A convolution treats all places alike, so what undoes it does, too: few pictures give thousands of rows to learn from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from splitinfer.build.leak.planes import Floats, drawn, feature_map, resized, single
from splitinfer.build.leak.ridge import Attempt, fit, held_out
from splitinfer.build.leak.secret import Secret
from splitinfer.model import Tensors

PLACES = 6144
"""Of all known pictures together; more are drawn from, so many in each picture."""
FEATURES = 400
"""Of a place: of its channels (drawn where there are more), and of those of its neighbours where they find room."""
_NEIGHBOURS = ((1, 1), (0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2))
"""In a map with a margin of 1: the place itself, its sides, its corners."""


def local(secret: Secret, crossed: Sequence[Tensors]) -> Attempt | None:
    """Attacks; None where nothing that crosses lies over a picture.

    Args:
        secret: the inputs.
        crossed: what arrived, for the known inputs and then for the hidden ones.
    """
    view = _view(secret, crossed) if secret.is_picture else None
    if view is None:
        return None
    known = len(secret.known)
    places = _places(known, view.height * view.width)
    rows = np.concatenate([view.rows(view.map(t), p) for t, p in zip(crossed[:known], places, strict=True)])
    scale = rows.std(axis=0)
    scale = np.where(scale > 1e-6 * scale.max(), scale, np.inf).astype(np.float32)
    patch = (ceil(secret.known.shape[1] / view.height), ceil(secret.known.shape[2] / view.width))
    patches = _patches(resized(secret.known, view.height * patch[0], view.width * patch[1]), *patch)
    targets = np.concatenate([one[p] for one, p in zip(patches, places, strict=True)])
    found = fit(rows / scale, targets, np.repeat(held_out(known), places.shape[1]))
    weights = found.weights / scale[:, None]

    def rebuilt() -> Iterator[Floats]:
        for tensors in crossed[known:]:
            seen = view.rows(view.map(tensors), np.arange(view.height * view.width))
            picture = _joined(seen @ weights + found.offset, view.height, view.width, *patch)
            yield resized(picture, *secret.hidden.shape[1:3])

    return Attempt(found.error, lambda: np.stack(list(rebuilt())))


@dataclass(frozen=True)
class _View:
    """What crosses as one feature map.

    Attributes:
        names: of the tensors that lie over the picture.
        height: of the finest of them, but not above that of the picture.
        width: the same.
        picture: height and width of the picture.
        channels: the ones that are looked at.
        around: so many neighbours are looked at, with the place itself.
    """

    names: tuple[str, ...]
    height: int
    width: int
    picture: tuple[int, int]
    channels: npt.NDArray[np.intp]
    around: int

    def map(self, tensors: Tensors) -> Floats:
        """The map of one input, with a margin of 1: [height + 2, width + 2, channels]."""
        maps = [feature_map(single(tensors[name]), *self.picture) for name in self.names]
        whole = np.concatenate([resized(one, self.height, self.width) for one in maps if one is not None], axis=2)
        return np.pad(whole[..., self.channels], ((1, 1), (1, 1), (0, 0)), mode="edge")

    def rows(self, map: Floats, places: npt.NDArray[np.intp]) -> Floats:
        """Each place with its neighbours: [places, features]."""
        y, x = np.divmod(places, self.width)
        return np.concatenate([map[y + dy, x + dx] for dy, dx in _NEIGHBOURS[: self.around]], axis=1)


def _view(secret: Secret, crossed: Sequence[Tensors]) -> _View | None:
    picture = secret.known.shape[1:3]
    maps: dict[str, Floats] = {}
    for name in crossed[0]:
        found = [feature_map(single(tensors[name]), *picture) for tensors in (crossed[0], crossed[-1])]
        if found[0] is not None and found[1] is not None:
            maps[name] = found[0]
    if not maps:
        return None
    height = min(max(map.shape[0] for map in maps.values()), picture[0])
    width = min(max(map.shape[1] for map in maps.values()), picture[1])
    channels = drawn(sum(map.shape[2] for map in maps.values()), FEATURES)
    around = next(count for count in (9, 5, 1) if count * len(channels) <= FEATURES)
    return _View(tuple(maps), height, width, (picture[0], picture[1]), channels, around)


def _places(items: int, places: int) -> npt.NDArray[np.intp]:
    """Which places of each map are learnt from: [items, places]."""
    each = min(places, max(PLACES // items, 1))
    return np.random.default_rng(0).permuted(np.tile(np.arange(places), (items, 1)), axis=1)[:, :each]


def _patches(pictures: Floats, tall: int, wide: int) -> Floats:
    """[n, places, values of a patch]."""
    n, height, width, channels = pictures.shape
    parts = pictures.reshape(n, height // tall, tall, width // wide, wide, channels)
    return parts.swapaxes(2, 3).reshape(n, -1, tall * wide * channels)


def _joined(patches: Floats, rows: int, columns: int, tall: int, wide: int) -> Floats:
    """[height, width, channels] from the patches of one picture."""
    return patches.reshape(rows, columns, tall, wide, -1).swapaxes(1, 2).reshape(rows * tall, columns * wide, -1)
