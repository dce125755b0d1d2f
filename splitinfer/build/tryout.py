"""Trying a model before it is cut: inputs it takes, whether it takes two items at once, and what a run tells of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx

from splitinfer.build.answers import check_labels
from splitinfer.build.check import TOLERANCE, difference
from splitinfer.build.feeds import has_batch, random_feed, sample_feeds
from splitinfer.build.graph import DTYPES, Graph
from splitinfer.build.options import BuildOptions
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Tensors, TensorSpec

Answer = Callable[[Tensors], Tensors]
"""Runs a model."""

SAMPLES_LEARNT_FROM = 16
"""Sizes that depend on the data (what a detector found) are the median over so many samples."""


def feeds(graph: Graph, options: BuildOptions, uncut: Answer) -> tuple[Tensors, ...]:
    """Inputs, the user's own or random ones: at batch 1, and at batch 2 where two at once give the answers of one by one.

    Raises:
        UnsupportedModel: the model does not run, or answers nothing that could be compared.
        InvalidInput: samples or labels do not fit.
    """
    if options.samples is not None:
        _check_samples(specs(graph, graph.inputs), options)
    first = _feed(graph, options, 1)
    hint = "use other samples" if options.samples is not None else "if that is because the inputs are random, give samples"
    try:
        answer = uncut(first)
    except EngineError as error:
        raise UnsupportedModel(f"{error}; {hint}") from error
    for name, array in answer.items():
        if array.size and array.dtype.kind == "f" and not np.isfinite(array).any():
            raise UnsupportedModel(f"output {name!r} has no finite value on trial, so no cut can be checked: {hint}")
    two = _feed(graph, options, 2) if has_batch(graph) else None
    return (first, two) if two is not None and _batches(uncut, two) else (first,)


def learn(graph: Graph, options: BuildOptions, uncut: Answer, load: Callable[[bytes, Path | None], Answer]) -> Graph:
    """Runs the model and takes over types and shapes that inference left open, and the true shapes of outputs.

    Raises:
        UnsupportedModel: the runtime cannot load or run the model.
    """
    names = graph.open_questions()
    try:
        run = load(_with_outputs(graph.model, names), graph.weights.folder) if names else uncut
        seen = [{**feed, **run(feed)} for feed in _samples(graph, options)]
    except EngineError as error:
        raise UnsupportedModel(str(error)) from error
    arrays = {name: [run[name] for run in seen] for name in seen[0] if seen[0][name].dtype.name in DTYPES.values()}
    sizes = {name: _median_shape([array.shape for array in found]) for name, found in arrays.items()}
    return graph.with_learnt(sizes, {name: found[0].dtype.name for name, found in arrays.items()})


def specs(graph: Graph, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """How inputs, outputs or tensors at a cut are written down.

    Raises:
        UnsupportedModel: one of them cannot be carried by an array.
    """
    found = {name: graph.spec(name) for name in names}
    for name, spec in found.items():
        if spec is None:
            raise UnsupportedModel(
                f"{name!r} has no type that an array can carry, or its shape is unknown: put a Cast beside it"
            )
    return tuple(spec for spec in found.values() if spec is not None)


def _feed(graph: Graph, options: BuildOptions, batch: int) -> Tensors:
    if options.samples is None:
        return random_feed(graph, batch)
    return sample_feeds(specs(graph, graph.inputs), options.samples, batch)[0]


def _samples(graph: Graph, options: BuildOptions) -> list[Tensors]:
    if options.samples is None:
        return [random_feed(graph, 1)]
    return sample_feeds(specs(graph, graph.inputs), options.samples, 1)[:SAMPLES_LEARNT_FROM]


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    return shown.SerializeToString()


def _median_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return sorted(shapes, key=prod)[len(shapes) // 2]


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


def _check_samples(wanted: Sequence[TensorSpec], options: BuildOptions) -> None:
    samples: Mapping[str, np.ndarray] | None = options.samples
    assert samples is not None
    found = sample_feeds(wanted, samples, batch=1)
    if len(found) < 2:
        raise InvalidInput("at least two samples are needed: one half calibrates, the other reports")
    if options.labels is not None:
        check_labels(options.labels, sum(len(next(iter(feed.values()))) for feed in found))
