"""Takes a range of steps out of a graph as an ONNX model of its own.

Weights above `INLINE_BYTES` leave the graph: they become blobs named by their SHA-256, so that a weight which several
segments need is stored once. Recomputed nodes stand in each segment that needs them, under a name of their own from the
second on, so that segments can be joined. A tensor of a type that does not cross is cast to its carrier where it leaves a
segment, and back where it enters one; inside, it has a name of its own. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx

from splitinfer.build.graph import Graph, Step, operations, typed
from splitinfer.build.nodes import reads, rename, with_inner
from splitinfer.bundle import INLINE_BYTES, SegmentDraft


@dataclass(frozen=True)
class Extraction:
    """The segments of a graph and the weights they share.

    Attributes:
        segments: in order.
        weights: SHA-256 -> raw little-endian bytes, mapped where they lie in a file.
    """

    segments: tuple[SegmentDraft, ...]
    weights: Mapping[str, bytes | memoryview]


def extract(graph: Graph, steps: Sequence[Step], cuts: Sequence[Collection[str]], positions: Sequence[int]) -> Extraction:
    """Cuts a graph into segments.

    Args:
        graph: what is cut.
        steps: its steps, in the order that the positions count in.
        cuts: for each cut the tensors that cross.
        positions: for each cut the number of steps before it; from 0 to len(steps).
    """
    store = _WeightStore(graph)
    made_inside = (name for node in with_inner(graph.model.graph.node) for name in node.output)
    taken = {*graph.initializers, *graph.inputs, *made_inside}
    constant = [name for name in graph.outputs if name in graph.made_anew]
    segments: list[SegmentDraft] = []
    copied = set(constant)  # what is an output keeps its name where it becomes one
    for index, (start, stop) in enumerate(pairwise(positions)):
        part = steps[start:stop]
        extra = constant if stop == positions[-1] else []
        again = _recomputed(graph, part, extra)
        made = {name for step in part for name in step.makes}.union(extra)
        inputs = tuple(sorted({name for step in part for name in step.reads} - made))
        outputs = tuple(sorted(made.intersection({*cuts[index + 1], *graph.outputs})))
        cast = {name for name in (*inputs, *outputs) if graph.carrier(name)}
        own = [name for step in again for name in step.makes if name in copied and name not in extra]
        renamed = {name: _fresh(f"{name}/{index}", taken) for name in (*own, *sorted(cast))}
        copied.update(name for step in again for name in step.makes)
        nodes = [_renamed(step.node, renamed) for step in (*again, *part)]
        nodes = [*_casts(graph, inputs, renamed, enters=True), *nodes, *_casts(graph, outputs, renamed, enters=False)]
        model, weights = _model(graph, nodes, inputs, outputs, store)
        work = sum(operations(graph, step) for step in part)
        segments.append(SegmentDraft(model.SerializeToString(deterministic=True), weights, len(nodes), work, inputs, outputs))
    return Extraction(tuple(segments), store.blobs)


def _casts(graph: Graph, names: Iterable[str], renamed: Mapping[str, str], *, enters: bool) -> list[onnx.NodeProto]:
    """From the carrier to the own type where tensors enter a segment, the other way round where they leave it."""
    nodes = []
    for name in names:
        carrier = graph.carrier(name)
        if carrier is not None:
            ends, to = ((name, renamed[name]), graph.elem_type(name)) if enters else ((renamed[name], name), carrier)
            nodes.append(onnx.helper.make_node("Cast", [ends[0]], [ends[1]], to=to))
    return nodes


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
        self.blobs: dict[str, bytes | memoryview] = {}

    def place(self, name: str) -> tuple[onnx.TensorProto, str | None]:
        """A weight as it stands in a segment's graph, and its SHA-256 where it is a blob."""
        if name not in self._known:
            self._known[name] = self._placed(self._graph.initializers[name])
        return self._known[name]

    def _placed(self, tensor: onnx.TensorProto) -> tuple[onnx.TensorProto, str | None]:
        data = self._graph.weights.data(tensor)
        if data is None or len(data) <= INLINE_BYTES:
            return tensor, None
        sha256 = self._graph.weights.sha256(tensor)
        assert sha256 is not None
        self.blobs[sha256] = data
        placed = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        placed.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", sha256), ("offset", "0"), ("length", str(len(data)))):
            placed.external_data.add(key=key, value=value)
        return placed, sha256


def _recomputed(graph: Graph, part: Iterable[Step], extra: Iterable[str]) -> list[Step]:
    """The recomputed steps that a part needs, in the model's order."""
    wanted = {name for step in part for name in reads(step.node)}.union(extra)
    needed: set[Step] = set()
    todo = [graph.made_anew[name] for name in wanted if name in graph.made_anew]
    while todo:
        step = todo.pop()
        if step not in needed:
            needed.add(step)
            todo += [graph.made_anew[name] for name in reads(step.node) if name in graph.made_anew]
    return [step for step in graph.recomputed if step in needed]


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
    used = dict.fromkeys(name for node in nodes for name in reads(node) if name in graph.initializers)
    blobs = []
    for name in used:
        tensor, sha256 = store.place(name)
        model.graph.initializer.append(tensor)
        blobs.append(sha256)
    return model, tuple(sorted({blob for blob in blobs if blob is not None}))


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A node with other names for some tensors; it has none itself where it is a copy of one in another segment."""
    if not names or names.keys().isdisjoint((*reads(node), *node.output)):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    rename(copy, names)
    if not names.keys().isdisjoint(node.output):
        copy.ClearField("name")
    return copy
