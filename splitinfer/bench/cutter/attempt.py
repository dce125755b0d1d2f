"""Cuts a model everywhere, and compares with what plain ONNX Runtime answers to the file; or tells why it was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
import onnxruntime as ort

from splitinfer.build import BuildOptions, build, random_feeds, verify
from splitinfer.bundle import Bundle
from splitinfer.errors import SplitInferError
from splitinfer.model import Tensors

Feed = Callable[[Bundle], Tensors]
_SILENT = 4


@dataclass(frozen=True)
class Attempt:
    """What became of a model.

    Attributes:
        cuts: that it was cut at, the first and the last included; 0 where it was refused.
        worst_error: max|d| / max|y| of the worst output at the worst cut; NaN where it was refused.
        refusal: type and message; empty where it was cut.
    """

    cuts: int
    worst_error: float
    refusal: str = ""


def attempt(
    path: Path, folder: Path, feed: Feed = lambda bundle: random_feeds(bundle.model), options: BuildOptions | None = None
) -> Attempt:
    """Builds with the frontier's cuts and with all, and verifies both.

    The few cuts are run as they are used, a session for the head and one for the tail; many in one chain of all segments.

    Args:
        path: the model.
        folder: where the bundles go.
        feed: inputs to compare with.
        options: of both builds.
    """
    options = options or BuildOptions()
    uncut = original(path)
    cuts, errors = 0, []
    try:
        for kind in ("frontier", "all"):
            bundle = build(path, folder / f"{path.stem}.bundle", replace(options, cuts=kind, codecs=("raw",), overwrite=True))
            cuts = len(bundle.model.cuts)
            errors += [check.max_rel_error for check in verify(bundle, [feed(bundle)], uncut)]
    except SplitInferError as error:
        return Attempt(0, nan, f"{type(error).__name__}: {error}")
    return Attempt(cuts, max(errors))


def original(path: Path) -> Callable[[Tensors], Tensors]:
    """A file as it is in ONNX Runtime, with one thread and its weights beside it; loaded when it is first asked."""
    sessions: list[ort.InferenceSession] = []

    def answer(feed: Tensors) -> Tensors:
        if not sessions:
            settings = ort.SessionOptions()
            settings.intra_op_num_threads = 1
            settings.log_severity_level = _SILENT
            sessions.append(ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"]))
        names = [output.name for output in sessions[0].get_outputs()]
        return {name: np.asarray(array) for name, array in zip(names, sessions[0].run(names, dict(feed)), strict=True)}

    return answer
