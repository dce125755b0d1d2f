"""What a build measures of a bundle: codec tables and scores from samples, times and memory on this machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import calibrate as calibration
from splitinfer.build import feeds, front, leak, reference, score
from splitinfer.build.analyse import Analysis
from splitinfer.build.answers import Judge
from splitinfer.build.halves import Half, halves
from splitinfer.build.options import BuildOptions
from splitinfer.build.states import states
from splitinfer.build.trial import Trial
from splitinfer.build.walk import to_end
from splitinfer.bundle import Bundle
from splitinfer.errors import UnsupportedModel
from splitinfer.model import Tensors
from splitinfer.payload import Packer
from splitinfer.plan import Profile, Scorecard

Judged = tuple[list[Tensors], Judge]


def calibrate(analysis: Analysis, engine: OrtEngine, options: BuildOptions) -> dict[str, bytes]:
    """The codec tables, from one half of the samples; none where there are none."""
    if options.samples is None:
        return {}
    choosing, _ = _halves(engine, options)
    offered = _offered(analysis, engine, options)
    return calibration.calibrate(engine, offered, _feeds(analysis, engine, choosing), partial(options.tell, "calibrate"))


def measure(analysis: Analysis, bundle: Bundle, options: BuildOptions, trial: Trial) -> Bundle:
    """Writes scorecard and reference profile beside a bundle.

    Args:
        analysis: of the model.
        bundle: whole, with its codec tables.
        options: samples, labels, groups, metric and codecs.
        trial: measures memory.
    """
    engine, packer = OrtEngine(bundle), Packer(bundle.model, bundle.tables)
    offered = replace(_offered(analysis, engine, options), tables=bundle.tables)
    judged = _judged(analysis, engine, options)
    feed = analysis.feeds[0]
    times = reference.profile(engine, packer, offered, feed, partial(options.tell, "profile"))
    if judged is None:
        card = score.score_without_samples(engine, packer, offered, feed)
    else:
        card = score.score(engine, packer, offered, *judged, partial(options.tell, "score"))
        card = card if options.codecs is not None else front.pareto(card, times)
        card = _with_leaks(engine, packer, card, options)
    times = replace(_only(times, card), peak_bytes=_peaks(trial, bundle, feed))
    return bundle.save_scorecard(card).save_profile(times)


def _offered(analysis: Analysis, engine: OrtEngine, options: BuildOptions) -> score.Offered:
    feed = analysis.feeds[0]
    return score.Offered(engine.model, options.codecs, states=states(feed, analysis.uncut(feed), options.states))


def _only(times: Profile, card: Scorecard) -> Profile:
    """Without the plans that are not kept."""
    encode_ms, decode_ms = (
        {plan: ms for plan, ms in found.items() if plan in card.scores} for found in (times.encode_ms, times.decode_ms)
    )
    return replace(times, encode_ms=encode_ms, decode_ms=decode_ms)


def _with_leaks(engine: OrtEngine, packer: Packer, card: Scorecard, options: BuildOptions) -> Scorecard:
    singles = [feeds.sample_feeds(engine.model.inputs, half.samples, 1) for half in _halves(engine, options)]
    return leak.with_leaks(engine, packer, card, (singles[0], singles[1]), partial(options.tell, "leak"))


def _peaks(trial: Trial, bundle: Bundle, feed: Tensors) -> tuple[int | None, ...]:
    """Memory of each head; unknown where the child that measures it does not survive."""
    try:
        return trial.peaks(bundle.path, feed)
    except UnsupportedModel:
        return (None,) * len(bundle.model.cuts)


def _feeds(analysis: Analysis, engine: OrtEngine, half: Half) -> list[Tensors]:
    batch = score.BATCH if analysis.batches and score.batchable(engine.model) else 1
    return feeds.sample_feeds(engine.model.inputs, half.samples, batch)


def _halves(engine: OrtEngine, options: BuildOptions) -> tuple[Half, Half]:
    assert options.samples is not None
    every = Half(options.samples, options.labels, options.groups)
    return halves(every, feeds.together(engine.model.inputs, options.samples))


def _judged(analysis: Analysis, engine: OrtEngine, options: BuildOptions) -> Judged | None:
    """The samples that report, in batches, and what they are held to; None where there are no samples."""
    if options.samples is None:
        return None
    _, reporting = _halves(engine, options)
    inputs = _feeds(analysis, engine, reporting)
    wanted = [to_end(engine, engine.hold(0, feed)).outputs() for feed in inputs]
    taken = feeds.taken(engine.model.inputs, reporting.samples, inputs)
    return inputs, Judge(wanted, taken, reporting.labels, options.metric, reporting.groups)
