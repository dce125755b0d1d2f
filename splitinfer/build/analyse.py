"""From a file to all that is known of a model before it is cut: its graph, its orders, its answers to a few inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx

from splitinfer.build import gate, tryout
from splitinfer.build.boundaries import Order, orders
from splitinfer.build.elem_types import DTYPES
from splitinfer.build.functions import inline
from splitinfer.build.graph import DEQUANTISE, Graph
from splitinfer.build.image import Preprocessing, fold
from splitinfer.build.load import content_hash, read, simplify
from splitinfer.build.options import BuildOptions
from splitinfer.build.shapes import fold_shapes
from splitinfer.build.signs import unsign
from splitinfer.build.target import Target, conform
from splitinfer.build.tryout import Answer, Load
from splitinfer.errors import EngineError, UnsupportedModel
from splitinfer.model import Tensors

OPSET_MIN = 7
"""The first that ONNX Runtime promises to run."""


@dataclass(frozen=True)
class Analysis:
    """A model that was looked at and tried.

    Attributes:
        file: name of the file.
        graph: in plain form.
        orders: in which it can be cut.
        model_hash: `load.content_hash` of it.
        folded: the preprocessing that was put in front.
        uncut: gives the answers of the original file for inputs of the bundle.
        feeds: inputs that the original takes: one at batch 1, and one at batch 2 where that runs.
        batches: whether several items can be run at once, and each is answered as if it were alone.
    """

    file: str
    graph: Graph
    orders: tuple[Order, ...]
    model_hash: str
    folded: Preprocessing | None
    uncut: Answer
    feeds: tuple[Tensors, ...]
    batches: bool

    @property
    def fragile(self) -> bool:
        """Whether the runtime may compute a node with other numbers when other nodes stand around it (quantised, float16)."""
        return any(node.op_type == DEQUANTISE for node in self.graph.model.graph.node) or any(
            self.graph.carrier(name) for step in self.graph.steps for name in step.makes
        )

    def without(self, wrong: Mapping[tuple[str, ...], str]) -> Analysis:
        """The same, where some live sets cannot be cut at, each for a reason."""
        return replace(self, orders=tuple(order.without(wrong) for order in self.orders))

    @property
    def hidden(self) -> frozenset[str]:
        """Tensors of the preprocessing, at which nothing is cut."""
        return self.folded.made if self.folded else frozenset()


def analyse(path: Path, options: BuildOptions, load: Load) -> Analysis:
    """Reads a model, looks at it and tries it.

    Args:
        path: an ONNX file.
        options: of the build.
        load: the runtime.

    Raises:
        UnsupportedModel: it cannot be cut.
        InvalidInput: samples or labels do not fit.
    """
    options.tell("load", 0, 3)
    target = Target.parse(options.target_runtime) if options.target_runtime else None
    model, weights = read(path)
    as_it_is = model.SerializeToString()
    _prepare(model, target)
    options.tell("load", 1, 3)
    opset = min((opset.version for opset in model.opset_import if not opset.domain), default=OPSET_MIN)
    original = _runnable(partial(load, as_it_is, weights.folder), opset)
    model_hash = content_hash(model, weights)  # of the model alone: preprocessing gives its cuts no other ids
    folded = fold(model, options.image_input) if options.image_input else None
    graph = Graph.of(model, weights)
    if not graph.steps:
        raise UnsupportedModel("no output depends on an input, so nothing is left to cut: export the model with others")
    uncut = _answers(original, folded)
    _refuse_uncarried(graph)
    feeds, batches = tryout.feeds(graph, options, uncut)
    options.tell("load", 2, 3)
    graph = tryout.learn(graph, options, feeds, load)
    options.tell("load", 3, 3)
    found = orders(graph, folded.made if folded else ())
    return Analysis(path.name, graph, found, model_hash, folded, uncut, feeds, batches)


def _prepare(model: onnx.ModelProto, target: Target | None) -> None:
    """Brings a model into the form in which it is cut, in place, and refuses what would need too much memory."""
    inline(model)
    simplify(model)
    if target is not None:
        conform(model, target)
    fold_shapes(model)
    unsign(model)
    gate.check_bytes(model)


def _runnable(load: Callable[[], Answer], opset: int) -> Answer:
    try:
        return load()
    except EngineError as error:
        hint = f"; its opset is {opset}, export it with {OPSET_MIN} or newer" if opset < OPSET_MIN else ""
        raise UnsupportedModel(f"{error}{hint}") from error


def _answers(original: Answer, folded: Preprocessing | None) -> Answer:
    """The original file as a function of the bundle's inputs: an image is prepared with numpy, not with what was folded."""

    def answer(feed: Tensors) -> Tensors:
        return original({**feed, folded.image.name: folded(feed[folded.image.name])} if folded else feed)

    return answer


def _refuse_uncarried(graph: Graph) -> None:
    """Text and the like as outputs; what is not known before a run is looked at after it."""
    for name in graph.outputs:
        if (graph.elem_type(name) or onnx.TensorProto.FLOAT) not in DTYPES:
            raise UnsupportedModel(f"output {name!r} has no type that an array can carry: put a Cast before it")
        if name in graph.unsettled:
            raise UnsupportedModel(
                f"output {name!r} may have more or fewer dimensions from run to run: put a Reshape before it"
            )
