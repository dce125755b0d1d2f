"""The inputs that an attacker wants: which tensor, at which size, the known ones and the hidden ones. Knows no attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np

from splitinfer.build.leak.likeness import WINDOW, psnr_db, ssim
from splitinfer.build.leak.planes import Floats, line, picture, resized, single
from splitinfer.model import Array, Model, Tensors, TensorSpec
from splitinfer.plan import Leak

KNOWN, HIDDEN = 64, 64
"""So many inputs at most are known to the attacker, and are rebuilt by him: drawn from each half of the samples."""
LEAST_KNOWN = 8
SIDE = 64
"""Larger pictures are made smaller by a whole factor, so that no side is above this."""
NUMBERS = 16384
"""Of an input that is no picture: more are averaged along its first axis."""


@dataclass(frozen=True)
class Secret:
    """Inputs that are known to an attacker, and inputs that are not.

    Attributes:
        name: of the input.
        known: [n, height, width, channels]; an input that is no picture lies along the height, at width 1.
        hidden: the same.
        is_picture: whether SSIM means something.
    """

    name: str
    known: Floats
    hidden: Floats
    is_picture: bool

    def seen(self, crossed: Sequence[Tensors]) -> Floats:
        """The input itself where it crosses, in the form of `hidden`."""
        return _shrunk([single(tensors[self.name]) for tensors in crossed], self.is_picture, self.hidden.shape)

    def guess(self) -> Floats:
        """The mean of the known inputs, once for each hidden one."""
        return np.broadcast_to(self.known.mean(axis=0), self.hidden.shape)

    def leak(self, rebuilt: Floats) -> Leak:
        """How alike the hidden inputs and the rebuilt ones are. The attacker knows between which values inputs lie."""
        return Leak(*self._likeness(rebuilt), *self._baseline, len(self.hidden))

    @cached_property
    def _baseline(self) -> tuple[float, float | None]:
        return self._likeness(self.guess())

    def _likeness(self, rebuilt: Floats) -> tuple[float, float | None]:
        low, high = float(self.known.min()), float(self.known.max())
        span = (high - low) or 1.0
        clipped = np.clip(rebuilt, low, high)
        return psnr_db(clipped, self.hidden, span), ssim(clipped, self.hidden, span) if self.is_picture else None


def secret_of(model: Model, known: Sequence[Tensors], hidden: Sequence[Tensors]) -> Secret | None:
    """The input of a model that is worth hiding: its image, or its largest input of floats or of bytes.

    Args:
        model: which was cut.
        known: inputs, one sample each.
        hidden: the same, other samples.

    Returns:
        None where there is no such input (tokens), where samples differ in more than their size, or where fewer than 8 are
        known.
    """
    specs = [spec for spec in model.inputs if np.dtype(spec.dtype).kind == "f" or spec.dtype == "uint8"]
    if not specs or len(known) < LEAST_KNOWN or not hidden:
        return None
    spec = max(specs, key=lambda spec: (spec.name == model.image_input, _size(spec, known)))
    items = [single(tensors[spec.name]) for tensors in (*known, *hidden)]
    is_picture = all(picture(item, WINDOW) is not None for item in items)
    if len({_plane(item, is_picture).shape[2] for item in items}) > 1:
        return None
    values = _shrunk(items, is_picture)
    return Secret(spec.name, values[: len(known)], values[len(known) :], is_picture)


def _size(spec: TensorSpec, feeds: Sequence[Tensors]) -> int:
    return max(feed[spec.name].size for feed in feeds)


def _shrunk(items: Sequence[Array], is_picture: bool, shape: Sequence[int] | None = None) -> Floats:
    """Items at one size: the given one, or one that follows from the first item."""
    planes = [_plane(item, is_picture) for item in items]
    height, width = _smaller(planes[0], is_picture) if shape is None else shape[1:3]
    return np.stack([resized(plane, height, width) for plane in planes])


def _plane(item: Array, is_picture: bool) -> Floats:
    plane = picture(item, WINDOW) if is_picture else None
    return line(item) if plane is None else plane


def _smaller(plane: Floats, is_picture: bool) -> tuple[int, int]:
    height, width, channels = plane.shape
    if not is_picture:
        return min(height, max(NUMBERS // channels, 1)), 1
    factor = ceil(max(height, width) / SIDE)
    return max(round(height / factor), WINDOW), max(round(width / factor), WINDOW)
