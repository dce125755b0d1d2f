"""The build itself: the stages in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from splitinfer.backends.ort import OrtEngine, Uncut
from splitinfer.build import check, cuts, feeds, reference, score, segments
from splitinfer.build.answers import Judge, Metric, check_labels
from splitinfer.build.boundaries import orders
from splitinfer.build.graph import Graph
from splitinfer.build.image import ImageInput, fold
from splitinfer.build.load import content_hash, load
from splitinfer.bundle import Bundle, CutEntry, Draft, write
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Array, Tensors, TensorSpec
from splitinfer.payload import Packer

Progress = Callable[[str, int, int], None]
"""Hears (stage, done, total)."""


def _silent(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class BuildOptions:
    """What a build may be told.

    Attributes:
        name: label; by default the file's name.
        version: label.
        samples: input name -> samples along axis 0; uint8 NHWC for an image. At least two.
        labels: one a sample; makes accuracy_loss the drop of the metric.
        metric: of the task; by default the share of right labels.
        image_input: fold uint8 NHWC -> this input into segment 0.
        cuts: "frontier", "all", or names of tensors, nodes or cuts.
        max_cuts: inner cuts that the frontier keeps.
        codecs: ids to measure; None = all that fit.
        overwrite: replace a bundle that is there.
        progress: hears how far the build is.
    """

    name: str | None = None
    version: str = "1"
    samples: Mapping[str, Array] | None = None
    labels: Array | None = None
    metric: Metric | None = None
    image_input: ImageInput | None = None
    cuts: str | tuple[str, ...] = "frontier"
    max_cuts: int = 6
    codecs: tuple[str, ...] | None = None
    overwrite: bool = False
    progress: Progress = field(default=_silent, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.cuts, str) and self.cuts not in ("frontier", "all"):
            raise ValueError('cuts is "frontier", "all", or a tuple of names')
        if self.max_cuts < 0:
            raise ValueError("max_cuts cannot be negative")
        if self.labels is not None and self.samples is None:
            raise ValueError("labels need samples")
        if self.metric is not None and self.labels is None:
            raise ValueError("a metric needs labels")


def build(model: Path, out: Path, options: BuildOptions | None = None) -> Bundle:
    """Cuts a model and writes the bundle; nothing appears at `out` before every cut was checked.

    Args:
        model: an ONNX file.
        out: the folder to be.
        options: see there.

    Returns:
        The bundle, with scorecard and reference profile.

    Raises:
        UnsupportedModel: the model cannot be cut; names the node and the reason.
        InvalidCut: a named cut does not exist.
        InvalidInput: samples or labels do not fit.
        FileExistsError: something is at `out`.
    """
    options = options or BuildOptions()
    subject = _analyse(Path(model), options)
    with tempfile.TemporaryDirectory(prefix="splitinfer-") as scratch:
        trial = write(Path(scratch, "bundle"), subject.draft)
        _check(subject, trial, options)
        engine = OrtEngine(trial)
        tables = _calibrate(subject, engine, options)
        bundle = write(out, replace(subject.draft, tables=tables), overwrite=options.overwrite)
    engine = OrtEngine(bundle)
    return _measure(subject, bundle, engine, options)


@dataclass(frozen=True)
class _Subject:
    """A model that was analysed and cut, before anything was written.

    Attributes:
        uncut: the model in plain form, image folded.
        draft: the bundle to be, without tables.
        feed: inputs at batch 1.
        batches: whether several items can be run at once.
        feeds: inputs to check with.
    """

    uncut: onnx.ModelProto
    draft: Draft
    feed: Tensors
    feeds: tuple[Tensors, ...]


def _analyse(path: Path, options: BuildOptions) -> _Subject:
    options.progress("load", 0, 1)
    model = load(path)
    model_hash = content_hash(model)
    hidden = fold(model, options.image_input) if options.image_input else frozenset[str]()
    graph = Graph.of(model)
    if options.samples is not None:
        _check_samples(graph, options)
    trials = _trials(graph, options)
    if graph.open_questions():
        graph = feeds.learn(graph, trials[0])
    options.progress("cut", 0, 1)
    kept = _kept(orders(graph, hidden), options, model_hash)
    extraction = segments.extract(
        graph, kept.order.steps, [b.live for b in kept.boundaries], [b.position for b in kept.boundaries]
    )
    draft = Draft(
        name=options.name or path.stem,
        version=options.version,
        inputs=_specs(graph, graph.inputs),
        outputs=_specs(graph, graph.outputs),
        cuts=_entries(graph, kept, model_hash),
        segments=extraction.segments,
        weights=extraction.weights,
        image_input=options.image_input.name if options.image_input else None,
        preprocessing=options.image_input.described() if options.image_input else {},
        build_info=_build_info(path, model, model_hash, kept),
    )
    return _Subject(model, draft, trials[0], trials)


def _check_samples(graph: Graph, options: BuildOptions) -> None:
    assert options.samples is not None
    found = feeds.sample_feeds(_specs(graph, graph.inputs), options.samples, batch=1)
    if len(found) < 2:
        raise InvalidInput("at least two samples are needed: one half calibrates, the other reports")
    if options.labels is not None:
        check_labels(options.labels, len(found))


def _trials(graph: Graph, options: BuildOptions) -> tuple[Tensors, ...]:
    """Inputs at batch 1, and at batch 2 where the model may take them: the user's own, or random ones."""
    batches = (1, 2) if feeds.has_batch(graph) else (1,)
    if options.samples is not None:
        specs = _specs(graph, graph.inputs)
        return tuple(feeds.sample_feeds(specs, options.samples, batch)[0] for batch in batches)
    return tuple(feeds.random_feed(graph, batch) for batch in batches)


def _kept(found: Sequence[cuts.Order], options: BuildOptions, model_hash: str) -> cuts.Kept:
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


def _check(subject: _Subject, bundle: Bundle, options: BuildOptions) -> None:
    try:
        uncut = Uncut(subject.uncut.SerializeToString())
        uncut.run(subject.feed)
    except EngineError as error:
        raise UnsupportedModel(str(error)) from error
    found = check.check(bundle, subject.feeds, uncut.run, lambda done, total: options.progress("check", done, total))
    check.refuse_wrong(bundle, found)


def _feeds(engine: OrtEngine, samples: Mapping[str, Array]) -> list[Tensors]:
    batch = score.BATCH if score.batchable(engine.model) else 1
    return feeds.sample_feeds(engine.model.inputs, samples, batch)


def _calibrate(subject: _Subject, engine: OrtEngine, options: BuildOptions) -> dict[str, bytes]:
    if options.samples is None:
        return {}
    options.progress("calibrate", 0, 1)
    choosing, _, _ = score.halves(options.samples, options.labels)
    return score.calibrate(engine, score.Offered(engine.model, options.codecs), _feeds(engine, choosing))


def _measure(subject: _Subject, bundle: Bundle, engine: OrtEngine, options: BuildOptions) -> Bundle:
    offered = score.Offered(bundle.model, options.codecs)
    packer = Packer(bundle.model, bundle.tables)
    times = reference.profile(
        engine, packer, offered, subject.feed, lambda done, total: options.progress("profile", done, total)
    )
    if options.samples is None:
        card = score.score_without_samples(engine, packer, offered, subject.feed)
    else:
        _, reporting, labels = score.halves(options.samples, options.labels)
        inputs = _feeds(engine, reporting)
        n = bundle.model.n
        wanted = score.stacked([engine.run(0, n, engine.hold(0, feed)).outputs() for feed in inputs])
        judge = Judge(wanted, labels, options.metric)
        card = score.score(engine, packer, offered, inputs, judge, lambda done, total: options.progress("score", done, total))
    return bundle.save_scorecard(card).save_profile(times)
