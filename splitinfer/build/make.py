"""The build itself: analyse, choose, cut, check, calibrate, measure; then the bundle appears."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import check, cuts, measure
from splitinfer.build.analyse import Analysis, analyse
from splitinfer.build.check import CutCheck
from splitinfer.build.draft import draft
from splitinfer.build.options import BuildOptions
from splitinfer.build.trial import Trial
from splitinfer.bundle import Bundle, Draft, longest_head, publish, trim, write
from splitinfer.errors import UnsupportedModel


def build(model: Path, out: Path, options: BuildOptions | None = None) -> Bundle:
    """Cuts a model and writes the bundle; nothing appears at `out` before every cut was checked and measured.

    The model is loaded and tried in a child process: one that crashes or hangs the runtime is refused, and this process goes
    on. A cut where head and tail do not give the answer of the whole is left out, unless somebody asked for it by name.

    Args:
        model: an ONNX file.
        out: the folder to be.
        options: see there.

    Returns:
        The bundle, with scorecard and reference profile.

    Raises:
        UnsupportedModel: the model cannot be cut; names the node and the reason.
        InvalidCut: a named cut does not exist.
        InvalidInput: samples or labels do not fit, or not even the first segment fits in `device_max_bytes`.
        FileExistsError: something is at `out`.
    """
    options = options or BuildOptions()
    if Path(out).exists() and not options.overwrite:
        raise FileExistsError(f"{out} exists: choose another place, or overwrite it explicitly")
    place = Path(out).absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    with Trial() as trial, tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as scratch:
        with _naming(Path(model)):
            analysis = analyse(Path(model), options, trial.uncut)
            made, checked = _cut(analysis, options, trial, Path(scratch))
        kept = checked.model.n if options.device_max_bytes is None else longest_head(checked, options.device_max_bytes)
        tables = measure.calibrate(analysis, OrtEngine(checked), options)
        bundle = write(Path(scratch, "whole"), replace(made, tables=tables))
        bundle = measure.measure(analysis, bundle, options, trial)
        if kept < bundle.model.n:
            return trim(bundle, place, kept, overwrite=options.overwrite)
        return publish(bundle, place, overwrite=options.overwrite)


@contextmanager
def _naming(model: Path) -> Iterator[None]:
    """Every refusal names the file."""
    try:
        yield
    except UnsupportedModel as error:
        if model.name in str(error):
            raise
        raise UnsupportedModel(f"{model.name}: {error}") from error
    except UnicodeDecodeError as error:  # protobuf reads text when it is asked for
        raise UnsupportedModel(f"{model.name} has a name that is no UTF-8: the file is damaged, export it again") from error


def _cut(analysis: Analysis, options: BuildOptions, trial: Trial, scratch: Path) -> tuple[Draft, Bundle]:
    """The draft of a bundle in which every cut was checked, and that bundle. Where inner cuts are wrong, others are chosen."""
    while True:
        options.tell("cut", 0, 1)
        kept = _chosen(analysis, options)
        made = draft(analysis, kept, options)
        options.tell("cut", 1, 1)
        bundle = write(Path(tempfile.mkdtemp(dir=scratch), "bundle"), made)
        tell = partial(options.tell, "check")
        found = check.check(trial, bundle, analysis.feeds, analysis.uncut, tell, each=analysis.fragile)
        wrong = [one for one in found if not one.ok]
        if not wrong:
            return made, bundle
        inner = [one for one in wrong if 0 < one.index < bundle.model.n]  # an end that is wrong, too, may be so because of them
        if not inner or options.cuts not in ("frontier", "all"):
            _refuse(bundle, wrong, options)
        analysis = analysis.without({kept.boundaries[one.index].live: one.objection for one in inner})


def _chosen(analysis: Analysis, options: BuildOptions) -> cuts.Kept:
    if options.cuts in ("frontier", "all"):
        choose = cuts.frontier if options.cuts == "frontier" else cuts.everything
        return choose(analysis.orders, options.max_cuts, image=options.image_input is not None)
    return cuts.named(analysis.orders, tuple(options.cuts), analysis.model_hash, analysis.hidden)


def _refuse(bundle: Bundle, wrong: list[CutCheck], options: BuildOptions) -> None:
    """Stops where a cut is wrong that cannot be left out."""
    asked = options.cuts not in ("frontier", "all")
    for one in wrong:
        if asked or one.index in (0, bundle.model.n):
            hint = "choose other cuts with --cut" if asked else "this model cannot be cut"
            raise UnsupportedModel(f"cut {one.index} ({bundle.model.cuts[one.index].name}): {one.objection}; {hint}")
