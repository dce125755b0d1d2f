"""A network that is cut at one place, and what is sent there. Knows no photos and no goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from os import cpu_count

import numpy as np

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.codecs import klt
from splitinfer.bench.codecs.curve import Floats, Point
from splitinfer.bench.codecs.pixels import classes
from splitinfer.bundle import Bundle
from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors
from splitinfer.payload import Packer

BATCH = 8
CUT = 1
"""Index of the one inner cut."""

Codes = Callable[[Tensors], tuple[Tensors, int]]
"""What crosses -> what arrives of it, and how many bytes it took."""


class Split:
    """Head, tail and packer of a network with one inner cut.

    Raises:
        InvalidInput: it takes several items at once and no other number.
    """

    def __init__(self, bundle: Bundle) -> None:
        first = bundle.model.inputs[0].shape[0]
        if first not in (None, 1):
            raise InvalidInput(f"this network takes {first} items at once: export it with an open batch, or a batch of 1")
        self.bundle = bundle
        self._step = BATCH if bundle.model.batches else 1

    @cached_property
    def engine(self) -> OrtEngine:
        """With all cores, for answers; what is timed has an engine of its own."""
        return OrtEngine(self.bundle, threads=cpu_count() or 1)

    def feeds(self, items: Array) -> list[Tensors]:
        """Items as inputs, one by one."""
        name = self.bundle.model.inputs[0].name
        return [{name: items[at : at + 1]} for at in range(len(items))]

    def crossing(self, items: Array) -> list[Tensors]:
        """What crosses at the cut, item by item."""
        found: list[Tensors] = []
        for batch in self.batches(self.feeds(items)):
            held = self.engine.run(0, CUT, self.engine.hold(0, batch)).plain()
            count = len(next(iter(batch.values())))
            found += [{name: array[at : at + 1] for name, array in held.items()} for at in range(count)]
        return found

    def classes(self, at: int, arrived: Sequence[Tensors]) -> Array:
        """The answers to what stands at a cut, item by item."""
        return np.concatenate([classes(self._end(at, batch))[0] for batch in self.batches(arrived)])

    @cached_property
    def count(self) -> int:
        """How many classes there are."""
        spec = self.bundle.model.inputs[0]
        return classes(self._end(0, {spec.name: np.zeros((1, *(dim or 1 for dim in spec.shape[1:])), spec.dtype)}))[1]

    def packer(self, tables: Mapping[str, bytes]) -> Packer:
        """Packs what crosses, with these tables of codecs."""
        return Packer(self.bundle.model, tables)

    def tables(self, items: Array) -> dict[str, bytes]:
        """The tables of the transform codec, from items without labels."""
        return klt.tables(self.bundle, self.batches(self.feeds(items)))

    def _end(self, at: int, tensors: Tensors) -> Tensors:
        return self.engine.run(at, self.bundle.model.n, self.engine.hold(at, tensors)).outputs()

    def batches(self, items: Sequence[Tensors]) -> list[Tensors]:
        """Items together, as many as the network may be shown at once."""
        some = [items[start : start + self._step] for start in range(0, len(items), self._step)]
        return [{name: np.concatenate([one[name] for one in batch]) for name in batch[0]} for batch in some]


class Judged:
    """What is sent, with the answers it should lead to.

    Args:
        split: the network.
        at: the cut where it is sent.
        sent: item by item.
        wanted: answers of the whole network.
        labels: what is right; None = nobody knows.
    """

    def __init__(self, split: Split, at: int, sent: Sequence[Tensors], wanted: Array, labels: Array | None = None) -> None:
        self._split = split
        self._at = at
        self._sent = sent
        self._wanted = wanted
        self._labels = labels

    def point(self, label: str, codes: Codes) -> Point:
        """Sends every item through a codec and looks at the answers."""
        arrived, sizes = zip(*map(codes, self._sent), strict=True)
        return self.of(label, np.array(sizes, np.float64), self._split.classes(self._at, arrived))

    def of(self, label: str, sizes: Floats, answers: Array) -> Point:
        """A point from sizes and answers that are known."""
        gained = None
        if self._labels is not None:
            gained = (answers == self._labels).astype(np.float64) - (self._wanted == self._labels)
        return Point(label, sizes, answers == self._wanted, gained)


def packed(packer: Packer, codec_id: str, cut: int = CUT) -> Codes:
    """A codec of ours, as a request uses it."""

    def through(tensors: Tensors) -> tuple[Tensors, int]:
        payload = packer.pack(cut, codec_id, tensors)
        return packer.unpack(payload), payload.nbytes

    return through
