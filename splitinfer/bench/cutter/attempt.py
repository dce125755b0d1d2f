"""Cuts a model everywhere, and compares with what plain ONNX Runtime answers to the file; or tells why it was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, nan
from pathlib import Path

from splitinfer.backends.ort import Uncut
from splitinfer.build import BuildOptions, build, random_feeds, verify
from splitinfer.bundle import Bundle
from splitinfer.errors import SplitInferError
from splitinfer.model import Tensors

RIVAL = "the original file in plain onnxruntime"

Feed = Callable[[Bundle], Tensors]


@dataclass(frozen=True)
class Attempt:
    """What became of a model.

    Attributes:
        cuts: that it was cut at, the first and the last included; 0 where it was refused.
        worst_error: max|d| / max|y| of the worst output at the worst cut; NaN where it was refused.
        message: why it was refused or could not be compared; empty where it was cut and compared.
    """

    cuts: int
    worst_error: float
    message: str = ""

    @property
    def refused(self) -> bool:
        """Whether the build said no."""
        return self.cuts == 0


def _drawn(bundle: Bundle) -> Tensors:
    return random_feeds(bundle.model)


def attempt(path: Path, folder: Path, feed: Feed = _drawn, options: BuildOptions | None = None) -> Attempt:
    """Builds with the frontier's cuts and with all, and verifies both.

    The few cuts are run as they are used, a session for the head and one for the tail; many in one chain of all segments.

    Args:
        path: the model.
        folder: where the bundles go.
        feed: inputs to compare with.
        options: of both builds.
    """
    built = []
    try:
        for cuts in ("frontier", "all"):
            wanted = replace(options or BuildOptions(), cuts=cuts, codecs=("raw",))
            built.append(build(path, folder / f"{cuts}.bundle", wanted))
    except SplitInferError as error:
        return Attempt(0, nan, f"{type(error).__name__}: {error}")
    cuts_made = len(built[-1].model.cuts)
    try:
        return Attempt(cuts_made, _worst(built, feed, Uncut(path.read_bytes(), path.parent)))
    except SplitInferError as error:
        return Attempt(cuts_made, inf, f"cut, but not compared: {error}")


def _worst(built: list[Bundle], feed: Feed, original: Uncut) -> float:
    return max(check.max_rel_error for bundle in built for check in verify(bundle, [feed(bundle)], original.run))
