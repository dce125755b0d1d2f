"""The networks of the zoo by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splitinfer.bench.models import efficientnet_lite0
from splitinfer.bench.zoo import drawn, minilm, packaged, quantised
from splitinfer.model import Tensors

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Specimen:
    """A network to cut.

    Attributes:
        name: also of the file.
        save: writes it into a folder; raises what says how to install it where it is missing.
        feed: makes inputs for it, several items at once where it takes several.
        exact: whether a half that differs by one bit is wrong: it computes with integers.
        sampled: whether a build gets the feed as samples; else it draws inputs of its own, and scores no answers.
    """

    name: str
    save: Callable[[Path], Path]
    feed: Callable[[], Tensors]
    exact: bool = False
    sampled: bool = True

    def samples(self) -> dict[str, np.ndarray] | None:
        """The feed as samples of a build, at least two: its items, or, where it has no axis for them, the whole feed twice."""
        if not self.sampled:
            return None
        feed = dict(self.feed())
        counts = {array.shape[:1] for array in feed.values()}
        items = len(counts) == 1 and counts.pop() > (1,)
        return feed if items else {name: np.stack([array, array]) for name, array in feed.items()}


def _made(name: str, make: Callable[[], onnx.ModelProto]) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import onnx

        path = folder / f"{name}.onnx"
        onnx.save(make(), path)
        return path

    return save


def _ocr(name: str, feed: Callable[[], Tensors]) -> Specimen:
    return Specimen(name, partial(packaged.ocr, name), feed)


def _silero(name: str) -> Specimen:
    return Specimen(name, partial(packaged.silero, name), partial(packaged.speech, rate=name != "silero_vad_half"))


def _qdq(name: str, per_channel: bool) -> Specimen:
    return Specimen(name, _made(name, partial(quantised.qdq_lite0, per_channel)), quantised.images, exact=True)


LITE0 = Specimen("efficientnet_lite0", _made("efficientnet_lite0", efficientnet_lite0), quantised.images)
MINILM = Specimen("minilm_l6_v2", _made("minilm_l6_v2", minilm.minilm), minilm.samples)
DEEP = Specimen("deep_5000", _made("deep_5000", drawn.deep), drawn.maps, sampled=False)

ZOO = (
    LITE0,
    _qdq("efficientnet_lite0_qdq", per_channel=False),
    _qdq("efficientnet_lite0_qdq_per_channel", per_channel=True),
    MINILM,
    _ocr("ppocr_detector", packaged.pages),
    _ocr("ppocr_recogniser", packaged.lines),
    _ocr("ppocr_classifier", packaged.short_lines),
    *(_silero(name) for name in packaged.SILERO),
    Specimen("magika", packaged.magika, packaged.files),
)
"""What people run, except for its size."""

LARGE = (DEEP, Specimen("huge_2.2gb", drawn.huge, drawn.words, sampled=False))
"""What a cutter may choke on."""
