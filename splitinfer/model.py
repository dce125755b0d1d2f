"""Values that describe a model that was cut: digest, tensors, cuts, segments.

Knows no file, no runtime and no network. A `Model` is what `bundle` reads from a manifest and everybody else passes around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NewType

import numpy as np
import numpy.typing as npt

from splitinfer.errors import InvalidCut, InvalidInput

Digest = NewType("Digest", str)
"""SHA-256 (64 hex digits) of the identity part of a bundle's manifest."""

Array = npt.NDArray[np.generic]
Tensors = Mapping[str, Array]
"""Tensor name -> array."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a tensor.

    Attributes:
        name: as in the ONNX graph.
        dtype: numpy's name ("float32", "uint8", ...).
        shape: one entry a dimension; None = dynamic. Axis 0 is the batch where there is one.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def lossless_only(self) -> bool:
        """Integers, booleans and strings must cross unchanged; only floats may be quantised."""
        return np.dtype(self.dtype).kind != "f"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    def nbytes(self, shape: Sequence[int] | None = None) -> int:
        """Bytes of the plain tensor; a dynamic dimension counts as 1 where `shape` is not given."""
        dims = self.shape if shape is None else tuple(shape)
        return prod(1 if d is None else d for d in dims) * self.itemsize

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a concrete shape agrees with this one (rank, and every fixed dimension)."""
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the device may hand over: the set of tensors that cross there.

    Attributes:
        index: 0..n. Cut 0 sends the model's inputs, cut n sends nothing.
        id: 12 hex digits over the model and the live set: the same place in the same model has the same id.
        name: a friendly one (the tensors' names).
        tensors: what crosses. Outputs of the model that are already computed do not cross: the head returns them.
        depth: the head's share of the model's compute, 0..1.
    """

    index: int
    id: str
    name: str
    tensors: tuple[TensorSpec, ...]
    depth: float

    @property
    def nbytes(self) -> int:
        """Plain bytes at batch 1."""
        return sum(t.nbytes() for t in self.tensors)


@dataclass(frozen=True, slots=True)
class Segment:
    """The sub-graph between two neighbouring cuts.

    Attributes:
        index: segment i leads from cut i to cut i + 1.
        sha256: of the graph file; weights are blobs of their own, named in it by their SHA-256.
        nbytes: graph and weights.
        nodes: number of nodes.
        operations: estimated multiply-adds at batch 1 (an integer, so that it can be part of the identity).
        inputs: names it reads, a subset of cut i.
        outputs: names it makes: those of cut i + 1 that it computes, and outputs of the model.
    """

    index: int
    sha256: str
    nbytes: int
    nodes: int
    operations: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A model that was cut into `len(segments)` segments.

    Attributes:
        digest: identity of the bundle it came from.
        name: label.
        version: label.
        inputs: of the uncut model (after image folding, where there was one).
        outputs: of the uncut model.
        cuts: in order, cut 0 to cut n.
        segments: in order.
        holds: indices of the segments that are present.
        image_input: name of the uint8 NHWC input at cut 0, or None.
        batches: whether it takes several items along axis 0 and answers each as alone, tested at build; None = unknown.
    """

    digest: Digest
    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cuts: tuple[Cut, ...]
    segments: tuple[Segment, ...]
    holds: frozenset[int]
    image_input: str | None = None
    batches: bool | None = None

    @property
    def n(self) -> int:
        """Index of the last cut, where nothing crosses."""
        return len(self.segments)

    @cached_property
    def whole(self) -> bool:
        """Whether all segments are here, so that an answer never needs the cloud."""
        return self.holds == frozenset(range(self.n))

    def missing(self, cut: int) -> tuple[int, ...]:
        """Segments that lead to a cut and are not here."""
        return tuple(i for i in range(cut) if i not in self.holds)

    def holds_range(self, start: int, stop: int) -> bool:
        """Whether segments start..stop-1 are here."""
        return all(i in self.holds for i in range(start, stop))

    def cut(self, which: int | str) -> Cut:
        """A cut by index, id or name.

        Raises:
            InvalidCut: there is none.
        """
        for cut in self.cuts:
            if which in (cut.index, cut.id, cut.name):
                return cut
        known = ", ".join(f"{c.index} ({c.name})" for c in self.cuts)
        raise InvalidCut(f"no cut {which!r} in this bundle; it has {known}")

    def check_inputs(self, tensors: Tensors) -> None:
        """Refuses inputs that do not fit.

        Raises:
            InvalidInput: a tensor is missing, unknown, no array, empty, or of another dtype or shape.
        """
        specs = {t.name: t for t in self.inputs}
        if tensors.keys() != specs.keys():
            raise InvalidInput(f"expected inputs {sorted(specs)}, got {sorted(tensors)}")
        for name, array in tensors.items():
            spec = specs[name]
            if not isinstance(array, np.ndarray):
                raise InvalidInput(f"input {name!r}: expected a numpy array, got {type(array).__name__}")
            if not array.size:
                raise InvalidInput(f"input {name!r} is empty ({list(array.shape)}): give at least one item")
            if array.dtype.name != spec.dtype or not spec.fits(array.shape):
                want = ["?" if d is None else d for d in spec.shape]
                raise InvalidInput(f"input {name!r}: expected {spec.dtype} {want}, got {array.dtype.name} {list(array.shape)}")
