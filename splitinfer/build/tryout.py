"""Trying a model before it is cut: inputs it takes, whether it takes two items at once, and what a run tells of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx

from splitinfer.build.answers import check_labels
from splitinfer.build.check import TOLERANCE, difference
from splitinfer.build.elem_types import DTYPES
from splitinfer.build.feeds import GUESSES, has_batch, has_open_sizes, random_feed, sample_feeds
from splitinfer.build.graph import Graph
from splitinfer.build.options import BuildOptions
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Tensors, TensorSpec

Answer = Callable[[Tensors], Tensors]
"""Runs a model."""

Load = Callable[[bytes, Path | None], Answer]
"""Loads an ONNX model, and the folder of its weights, into a runtime; what comes back runs it."""

SAMPLES_LEARNT_FROM = 16
"""Sizes that depend on the data (what a detector found) are the median over so many samples."""


def feeds(graph: Graph, options: BuildOptions, uncut: Answer) -> tuple[tuple[Tensors, ...], bool]:
    """Inputs, the user's own or random ones: at batch 1, and at batch 2 where that runs; and whether that is a batch.

    Raises:
        UnsupportedModel: the model does not run, or answers nothing that could be compared.
        InvalidInput: samples or labels do not fit.
    """
    first, two = _random_pair(graph, uncut) if options.samples is None else _sampled_pair(graph, options, uncut)
    together = None if two is None else _answer(uncut, two)
    if two is None or together is None:
        return (first,), False
    return (first, two), _batches(uncut, two, together)


def learn(graph: Graph, options: BuildOptions, runs: Sequence[Tensors], load: Load) -> Graph:
    """Runs the model and takes over types and shapes that inference left open, and the true shapes of outputs.

    Args:
        graph: of the model.
        options: samples; sizes that depend on the data are the median over some of them.
        runs: inputs that the model takes, at batch 1 first; used where there are no samples.
        load: the runtime.

    Raises:
        UnsupportedModel: the runtime cannot load or run the model.
    """
    wanted = specs(graph, graph.inputs)
    samples = runs[:1] if options.samples is None else sample_feeds(wanted, options.samples, 1)[:SAMPLES_LEARNT_FROM]
    try:
        run = load(_with_outputs(graph.model, graph.open_questions()), graph.weights.folder)
        seen = [{**feed, **run(feed)} for feed in samples]
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


def _random_pair(graph: Graph, uncut: Answer) -> tuple[Tensors, Tensors | None]:
    """Random inputs of the first guessed sizes that the model takes, and the same for two items."""
    hint = "if that is because the inputs are random, give samples"
    refusals: list[EngineError] = []
    for guess in GUESSES if has_open_sizes(graph) else GUESSES[:1]:
        first = random_feed(graph, 1, guess)
        try:
            _check_answer(uncut(first), hint)
        except EngineError as error:
            refusals.append(error)
        else:
            return first, random_feed(graph, 2, guess) if has_batch(graph) else None
    raise UnsupportedModel(f"{refusals[0]}; {hint}") from refusals[0]


def _sampled_pair(graph: Graph, options: BuildOptions, uncut: Answer) -> tuple[Tensors, Tensors | None]:
    """The first sample, and the first two where the model may take them at once."""
    wanted, hint = specs(graph, graph.inputs), "use other samples"
    assert options.samples is not None
    _check_samples(wanted, options)
    first = sample_feeds(wanted, options.samples, 1)[0]
    try:
        _check_answer(uncut(first), hint)
    except EngineError as error:
        raise UnsupportedModel(f"{error}; {hint}") from error
    return first, sample_feeds(wanted, options.samples, 2)[0] if has_batch(graph) else None


def _check_answer(answer: Tensors, hint: str) -> None:
    for name, array in answer.items():
        if array.size and array.dtype.kind == "f" and not np.isfinite(array).any():
            raise UnsupportedModel(f"output {name!r} has no finite value on trial, so no cut can be checked: {hint}")


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    return shown.SerializeToString()


def _median_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return sorted(shapes, key=prod)[len(shapes) // 2]


def _answer(uncut: Answer, feed: Tensors) -> Tensors | None:
    """None where the model does not take it."""
    try:
        return uncut(feed)
    except EngineError:
        return None


def _batches(uncut: Answer, two: Tensors, together: Tensors) -> bool:
    """Whether the model answers two items at once as it answers each alone."""
    try:
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
        check_labels(options.labels, len(next(iter(samples.values()))))
