"""Takes a range of steps out of a graph as an ONNX model of its own.

Weights above `INLINE_BYTES` leave the graph: they become blobs named by their SHA-256, so that a weight which several
segments need is stored once. What depends on weights alone is computed again in each segment that needs it, under a name of
its own from the second on, so that segments can be joined. Knows no runtime and no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx

from splitinfer.build.graph import DTYPES, Graph, Step, operations, typed
from splitinfer.build.load import reads, rename
from splitinfer.bundle import INLINE_BYTES, SegmentDraft


@dataclass(frozen=True)
class Extraction:
    """The segments of a graph and the weights they share.

    Attributes:
        segments: in order.
        weights: SHA-256 -> raw little-endian bytes.
    """

    segments: tuple[SegmentDraft, ...]
    weights: Mapping[str, bytes]


def extract(graph: Graph, steps: Sequence[Step], cuts: Sequence[Collection[str]], positions: Sequence[int]) -> Extraction:
    """Cuts a graph into segments.

    Args:
        graph: what is cut.
        steps: its steps, in the order that the positions count in.
        cuts: for each cut the tensors that cross.
        positions: for each cut the number of steps before it; from 0 to len(steps).
    """
    store = _WeightStore(graph)
    segments: list[SegmentDraft] = []
    copied: set[str] = set()
    taken = {*graph.weights, *graph.inputs, *(name for step in (*graph.floating, *steps) for name in step.makes)}
    last = len(positions) - 2
    constant_outputs = [name for name in graph.outputs if name in graph.afloat]
    for index, (start, stop) in enumerate(pairwise(positions)):
        part = steps[start:stop]
        extra = constant_outputs if index == last else ()
        floating = _floating(graph, part, extra)
        made = {name for step in part for name in step.makes}.union(extra)
        inputs = tuple(sorted({name for step in part for name in step.reads} - made))
        outputs = tuple(sorted(made.intersection({*cuts[index + 1], *graph.outputs})))
        renamed = {name: _fresh(f"{name}/{index}", taken) for step in floating for name in step.makes if name in copied}
        copied.update(name for step in floating for name in step.makes)
        nodes = [_renamed(step.node, renamed) for step in (*floating, *part)]
        model, weights = _model(graph, nodes, inputs, outputs, store)
        work = sum(operations(graph, step) for step in part)
        data = model.SerializeToString(deterministic=True)
        segments.append(SegmentDraft(data, weights, len(nodes), work, inputs, outputs))
    return Extraction(tuple(segments), store.blobs)


def _fresh(name: str, taken: Collection[str]) -> str:
    """The name, marked until it is none of the model's."""
    while name in taken:
        name += "'"
    return name


class _WeightStore:
    """Weights by content; each is hashed once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, tuple[onnx.TensorProto, str | None]] = {}
        self.blobs: dict[str, bytes] = {}

    def place(self, name: str) -> tuple[onnx.TensorProto, str | None]:
        """A weight as it stands in a segment's graph, and its SHA-256 where it is a blob."""
        if name not in self._known:
            self._known[name] = self._placed(self._graph.weights[name])
        return self._known[name]

    def _placed(self, tensor: onnx.TensorProto) -> tuple[onnx.TensorProto, str | None]:
        data = _raw(tensor)
        if data is None or len(data) <= INLINE_BYTES:
            return tensor, None
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        placed = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        placed.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", sha256), ("offset", "0"), ("length", str(len(data)))):
            placed.external_data.add(key=key, value=value)
        return placed, sha256


def _raw(tensor: onnx.TensorProto) -> bytes | None:
    """The little-endian bytes of a weight; None where its elements have no plain bytes (strings, packed types)."""
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    if tensor.data_type not in DTYPES:
        return None
    array = onnx.numpy_helper.to_array(tensor)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _floating(graph: Graph, part: Iterable[Step], extra: Iterable[str]) -> list[Step]:
    """The floating steps that a part needs, in the model's order."""
    wanted = {name for step in part for name in reads(step.node)}.union(extra)
    needed = []
    for step in reversed(graph.floating):
        if wanted.intersection(step.makes):
            wanted.update(reads(step.node))
            needed.append(step)
    return needed[::-1]


def _model(
    graph: Graph, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str], store: _WeightStore
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A model of some nodes, and the blobs that it refers to. Everything else is as in the uncut model."""
    source = graph.model
    model = onnx.ModelProto(ir_version=source.ir_version, producer_name=source.producer_name, domain=source.domain)
    model.opset_import.extend(source.opset_import)
    model.metadata_props.extend(source.metadata_props)
    model.functions.extend(source.functions)
    model.graph.name = source.graph.name
    model.graph.metadata_props.extend(source.graph.metadata_props)
    model.graph.node.extend(nodes)
    model.graph.input.extend(typed(graph, inputs))
    model.graph.output.extend(typed(graph, outputs))
    used = dict.fromkeys(name for node in nodes for name in reads(node) if name in graph.weights)
    blobs = []
    for name in used:
        tensor, sha256 = store.place(name)
        model.graph.initializer.append(tensor)
        blobs.append(sha256)
    return model, tuple(sorted({blob for blob in blobs if blob is not None}))


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A node with other names for some tensors, in its bodies too (ONNX forbids them to mean something else there)."""
    if not names or names.keys().isdisjoint((*reads(node), *node.output)):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    rename(copy, names)
    return copy
