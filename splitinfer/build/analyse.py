"""From a file to a bundle that only has to be written: everything that needs no measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from splitinfer.backends.ort import Uncut
from splitinfer.build import cuts, feeds, segments
from splitinfer.build.answers import check_labels
from splitinfer.build.boundaries import Order, orders
from splitinfer.build.check import TOLERANCE, difference
from splitinfer.build.graph import DTYPES, Graph
from splitinfer.build.image import Preprocessing, fold
from splitinfer.build.load import content_hash, read, simplify
from splitinfer.build.options import BuildOptions
from splitinfer.bundle import CutEntry, Draft
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Tensors, TensorSpec

OPSET_MIN = 7
"""The first that ONNX Runtime promises to run."""

Answer = Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class Subject:
    """A model that was analysed and cut, before anything was written.

    Attributes:
        draft: the bundle to be, without codec tables.
        uncut: gives the answers of the original file for inputs of the bundle.
        feeds: inputs that the original takes: one at batch 1, and one at batch 2 where that works.
    """

    draft: Draft
    uncut: Answer
    feeds: tuple[Tensors, ...]

    @property
    def batches(self) -> bool:
        """Whether several items can be run at once."""
        return len(self.feeds) > 1


def analyse(path: Path, options: BuildOptions) -> Subject:
    """Reads a model, looks at it and cuts it.

    Raises:
        UnsupportedModel: it cannot be cut.
        InvalidCut: a named cut does not exist.
        InvalidInput: samples or labels do not fit.
    """
    options.tell("load", 0, 1)
    model = read(path)
    as_it_is = model.SerializeToString()
    simplify(model)
    original = _runnable(as_it_is, min((opset.version for opset in model.opset_import if not opset.domain), default=OPSET_MIN))
    model_hash = content_hash(model)
    folded = fold(model, options.image_input) if options.image_input else None
    uncut = _answers(original, folded)
    graph = Graph.of(model)
    trials = _trials(graph, options, uncut)
    if graph.open_questions():
        graph = feeds.learn(graph, trials[0])
    options.tell("load", 1, 1)
    options.tell("cut", 0, 1)
    kept = _kept(orders(graph, folded.made if folded else ()), options, model_hash)
    live, positions = [b.live for b in kept.boundaries], [b.position for b in kept.boundaries]
    extraction = segments.extract(graph, kept.order.steps, live, positions)
    options.tell("cut", 1, 1)
    draft = Draft(
        name=options.name or path.stem,
        version=options.version,
        inputs=_specs(graph, graph.inputs),
        outputs=_specs(graph, graph.outputs),
        cuts=_entries(graph, kept, model_hash),
        segments=extraction.segments,
        weights=extraction.weights,
        batches=len(trials) > 1,
        image_input=folded.image.name if folded else None,
        preprocessing=folded.image.described() if folded else {},
        build_info=_build_info(path, model, model_hash, kept),
    )
    return Subject(draft, uncut, trials)


def _runnable(model: bytes, opset: int) -> Uncut:
    try:
        return Uncut(model)
    except EngineError as error:
        hint = f"; its opset is {opset}, export it with {OPSET_MIN} or newer" if opset < OPSET_MIN else ""
        raise UnsupportedModel(f"{error}{hint}") from error


def _answers(original: Uncut, folded: Preprocessing | None) -> Answer:
    """The original file as a function of the bundle's inputs: an image is prepared with numpy, not with what was folded."""

    def answer(feed: Tensors) -> Tensors:
        return original.run({**feed, folded.image.name: folded(feed[folded.image.name])} if folded else feed)

    return answer


def _trials(graph: Graph, options: BuildOptions, uncut: Answer) -> tuple[Tensors, ...]:
    """Inputs, the user's own or random ones: at batch 1, and at batch 2 where two at once give the answers of one by one."""
    specs = _specs(graph, graph.inputs)

    def trial(batch: int) -> Tensors:
        if options.samples is None:
            return feeds.random_feed(graph, batch)
        return feeds.sample_feeds(specs, options.samples, batch)[0]

    _refuse_uncarried(graph)
    if options.samples is not None:
        _check_samples(specs, options)
    first = trial(1)
    hint = "use other samples" if options.samples is not None else "if that is because the inputs are random, give samples"
    try:
        answer = uncut(first)
    except EngineError as error:
        raise UnsupportedModel(f"{error}; {hint}") from error
    for name, array in answer.items():
        if array.size and array.dtype.kind == "f" and not np.isfinite(array).any():
            raise UnsupportedModel(f"output {name!r} has no finite value on trial, so no cut can be checked: {hint}")
    two = trial(2) if feeds.has_batch(graph) else None
    return (first, two) if two is not None and _batches(uncut, two) else (first,)


def _refuse_uncarried(graph: Graph) -> None:
    """Strings and the like as outputs; what is not known before a run is looked at after it."""
    for name in graph.outputs:
        if name in graph.values and graph.values[name].type.tensor_type.elem_type not in DTYPES:
            raise UnsupportedModel(f"output {name!r} has no type that an array can carry: put a Cast before it")


def _batches(uncut: Answer, two: Tensors) -> bool:
    """Whether the model answers two items at once as it answers each alone."""
    try:
        together = uncut(two)
        alone = [uncut({name: array[at : at + 1] for name, array in two.items()}) for at in (0, 1)]
    except EngineError:
        return False
    for name, array in together.items():
        parts = [one[name] for one in alone]
        if array.ndim == 0 or parts[0].shape != parts[1].shape:
            return False
        if difference({name: array}, {name: np.concatenate(parts)})[1] > TOLERANCE:
            return False
    return True


def _check_samples(specs: Sequence[TensorSpec], options: BuildOptions) -> None:
    assert options.samples is not None
    found = feeds.sample_feeds(specs, options.samples, batch=1)
    if len(found) < 2:
        raise InvalidInput("at least two samples are needed: one half calibrates, the other reports")
    if options.labels is not None:
        check_labels(options.labels, sum(len(next(iter(feed.values()))) for feed in found))


def _kept(found: Sequence[Order], options: BuildOptions, model_hash: str) -> cuts.Kept:
    if options.cuts == "frontier":
        return cuts.frontier(found, options.max_cuts, image=options.image_input is not None)
    if options.cuts == "all":
        return cuts.everything(found)
    return cuts.named(found, tuple(options.cuts), model_hash)


def _specs(graph: Graph, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    specs = []
    for name in names:
        spec = graph.spec(name)
        if spec is None:
            raise UnsupportedModel(
                f"{name!r} has no type that an array can carry, or its shape is unknown: put a Cast beside it"
            )
        specs.append(spec)
    return tuple(specs)


def _entries(graph: Graph, kept: cuts.Kept, model_hash: str) -> tuple[CutEntry, ...]:
    last = kept.boundaries[-1]
    return tuple(
        CutEntry(cuts.cut_id(model_hash, b.live), cuts.friendly(b, end=b is last), _specs(graph, b.live))
        for b in kept.boundaries
    )


def _build_info(path: Path, model: onnx.ModelProto, model_hash: str, kept: cuts.Kept) -> dict[str, Any]:
    info: dict[str, Any] = {
        "model_file": path.name,
        "model_sha256": model_hash,
        "onnx": onnx.__version__,
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "boundaries": sum(boundary.why_not is None for boundary in kept.order.boundaries),
    }
    if kept.frontier is not None:
        info["frontier"] = {"loss_mean": kept.frontier.loss_mean, "loss_worst": kept.frontier.loss_worst}
    return info
