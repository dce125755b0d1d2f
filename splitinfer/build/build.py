"""The build itself: analyse, check, calibrate, write, measure."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import check, feeds, reference, score
from splitinfer.build.analyse import Subject, analyse
from splitinfer.build.answers import Judge
from splitinfer.build.options import BuildOptions
from splitinfer.build.walk import to_end
from splitinfer.bundle import Bundle, write
from splitinfer.model import Array, Tensors
from splitinfer.payload import Packer

Judged = tuple[list[Tensors], Judge]


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
    if Path(out).exists() and not options.overwrite:
        raise FileExistsError(f"{out} exists: choose another place, or overwrite it explicitly")
    subject = analyse(Path(model), options)
    with tempfile.TemporaryDirectory(prefix="splitinfer-") as scratch:
        trial = write(Path(scratch, "bundle"), subject.draft)
        _check(subject, trial, options)
        engine = OrtEngine(trial)
        judged = _judged(subject, engine, options)
        tables = _calibrate(subject, engine, options)
        bundle = write(out, replace(subject.draft, tables=tables), overwrite=options.overwrite)
    return _measure(subject, bundle, judged, options)


def _check(subject: Subject, bundle: Bundle, options: BuildOptions) -> None:
    found = check.check(bundle, subject.feeds, subject.uncut, partial(options.tell, "check"))
    check.refuse_wrong(bundle, found)


def _feeds(subject: Subject, engine: OrtEngine, samples: Mapping[str, Array]) -> list[Tensors]:
    batch = score.BATCH if subject.batches and score.batchable(engine.model) else 1
    return feeds.sample_feeds(engine.model.inputs, samples, batch)


def _halves(engine: OrtEngine, options: BuildOptions) -> score.Halves:
    assert options.samples is not None
    return score.halves(options.samples, options.labels, together=engine.model.inputs[0].shape[0] or 1)


def _calibrate(subject: Subject, engine: OrtEngine, options: BuildOptions) -> dict[str, bytes]:
    if options.samples is None:
        return {}
    options.tell("calibrate", 0, 1)
    choosing, _, _ = _halves(engine, options)
    tables = score.calibrate(engine, score.Offered(engine.model, options.codecs), _feeds(subject, engine, choosing))
    options.tell("calibrate", 1, 1)
    return tables


def _judged(subject: Subject, engine: OrtEngine, options: BuildOptions) -> Judged | None:
    """The samples that report, in batches, and what they are held to; None where there are no samples."""
    if options.samples is None:
        return None
    _, reporting, labels = _halves(engine, options)
    inputs = _feeds(subject, engine, reporting)
    wanted = [to_end(engine, engine.hold(0, feed)).outputs() for feed in inputs]
    return inputs, Judge(wanted, [len(next(iter(feed.values()))) for feed in inputs], labels, options.metric)


def _measure(subject: Subject, bundle: Bundle, judged: Judged | None, options: BuildOptions) -> Bundle:
    engine, packer = OrtEngine(bundle), Packer(bundle.model, bundle.tables)
    offered = score.Offered(bundle.model, options.codecs)
    times = reference.profile(engine, packer, offered, subject.feeds[0], partial(options.tell, "profile"))
    if judged is None:
        card = score.score_without_samples(engine, packer, offered, subject.feeds[0])
    else:
        card = score.score(engine, packer, offered, *judged, partial(options.tell, "score"))
    return bundle.save_scorecard(card).save_profile(times)
