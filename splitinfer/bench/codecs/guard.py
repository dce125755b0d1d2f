"""What the scorecard keeps away from: plans that look cheap and ruin the answers, and cuts where the coded input wins.

Each network is built with samples as a user would, and the built-in policy chooses with 1 % of accuracy to spend, on links
from slow to fast. Only plans that send something are asked about: where it is built the device is as fast as the cloud, and
computing everything there would hide what would be sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.bench.codecs import voice
from splitinfer.bench.codecs.speech import RATE_HZ
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_least
from splitinfer.bench.zoo import minilm, packaged
from splitinfer.bench.zoo.specimens import MINILM
from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.bundle import Bundle
from splitinfer.codec import codec
from splitinfer.codec.picture import PictureCodec
from splitinfer.errors import SplitInferError
from splitinfer.model import Array, Tensors
from splitinfer.plan import Budget, Conditions, Offer, Plan, Uplink, offers
from splitinfer.policy import Robust, Table

LOSS_MAX = 0.01
RATES_BPS = (0.1e6, 0.5e6, 2e6, 10e6, 50e6)
_READER = "ppocr_recogniser"
_BLANK = 0

Keeps = Callable[[Offer], bool]


@dataclass(frozen=True)
class Choices:
    """What is chosen of a bundle.

    Attributes:
        bundle: with scorecard and profile.
    """

    bundle: Bundle

    def made(self, keeps: Keeps) -> list[Plan]:
        """The plan for each link, of those plans that send something and are kept."""
        bundle = self.bundle
        assert bundle.scorecard is not None
        assert bundle.profile is not None
        remote = (offer for offer in offers(bundle.model, bundle.profile, bundle.scorecard) if not offer.local)
        table = Table(tuple(offer for offer in remote if keeps(offer)))
        links = (Conditions(link_up=True, uplink=Uplink(rate_bps, 0.3, 20.0)) for rate_bps in RATES_BPS)
        return [Robust().decide(table, link, Budget(accuracy_loss_max=LOSS_MAX)).plan for link in links]

    def losses(self, family: str) -> str:
        """What the plans of a family were measured to lose, for people."""
        assert self.bundle.scorecard is not None
        scores = self.bundle.scorecard.scores
        found = [score.accuracy_loss for plan, score in scores.items() if plan.codec.split("+")[0] == family]
        known = [loss for loss in found if loss is not None]
        return (
            f"{family} was measured to lose {min(known):.3f} to {max(known):.3f}"
            if known
            else f"no plan with {family} was kept"
        )


def measure(subject: Subject) -> list[Row]:
    """One row a guard: 1 = chosen rightly on every link."""
    rows: list[Row] = []
    for name, look in (("minilm", _minilm), ("ppocr", _reader), ("silero", _listener)):
        subject.tell(f"  {name}")
        try:
            with tempfile.TemporaryDirectory() as folder:
                rows += look(Path(folder))
        except SplitInferError as error:
            rows.append(Row(f"{name}: {error}", nan, "", at_least(1), n=0))
    return rows


def _minilm(folder: Path) -> list[Row]:
    """Cut behind every layer but the last."""
    network = minilm.minilm()
    norms = [node.output[0] for node in network.graph.node if node.op_type == "LayerNormalization"]
    behind = tuple(norms[2:-1:2])  # one is of the embedding, two of each layer
    options = BuildOptions(name=MINILM.name, samples=minilm.tokens([*_sentences()]), metric=order_of_likeness, cuts=behind)
    found = Choices(build(MINILM.save(folder), folder / "built.bundle", options))
    inner = found.made(lambda offer: offer.plan.cut > 0)
    every = found.made(lambda _offer: True)
    what = f"{MINILM.name}: no int4 per tensor behind a layer ({found.losses('int4')})"
    return [
        _row(what, inner, lambda plan: not _is_int4(plan)),
        _row(f"{MINILM.name}: token ids are sent, as they are", every, lambda plan: plan.cut == 0),
    ]


def _reader(folder: Path) -> list[Row]:
    shown = np.stack([_bytes_of(packaged.text(line)) for line in _lines()])
    image = ImageInput("x", mean=(127.5,), std=(127.5,), layout="nchw")
    options = BuildOptions(name=_READER, samples={"x": shown}, image_input=image, metric=read_alike)
    found = Choices(build(packaged.ocr(_READER, folder), folder / "built.bundle", options))
    chosen = found.made(lambda _offer: True)
    return [_row(f"{_READER}: the coded line is sent", chosen, lambda plan: plan.cut == 0 and _is_picture(plan.codec))]


def _listener(folder: Path) -> list[Row]:
    path = packaged.silero(voice.NETWORK, folder)
    options = BuildOptions(name=voice.NETWORK, samples=_heard(path, folder))
    bundle = build(path, folder / "built.bundle", options)
    found = Choices(bundle)
    carrying = [cut.index for cut in bundle.model.cuts if any(spec.name == "state" for spec in cut.tensors)]
    chosen = found.made(lambda offer: offer.plan.cut in carrying)
    return [_row(f"{voice.NETWORK}: no state of 8 bits or fewer ({found.losses('int8')})", chosen, _keeps_floats)]


def _row(what: str, chosen: Sequence[Plan], right: Callable[[Plan], bool]) -> Row:
    share = float(np.mean([right(plan) for plan in chosen]))
    plans = ", ".join(map(str, dict.fromkeys(chosen)))
    return Row(f"{what}; chosen on {len(chosen)} links: {plans}", share, "share", at_least(1), n=len(chosen))


def _is_int4(plan: Plan) -> bool:
    return plan.codec.partition("+")[0] == "int4"


def _is_picture(codec_id: str) -> bool:
    return isinstance(codec(codec_id), PictureCodec)


def _keeps_floats(plan: Plan) -> bool:
    return codec(plan.codec).lossless or plan.codec.startswith("half")


# --- MiniLM ------------------------------------------------------------------------------------------------------------------


def order_of_likeness(outputs: Tensors, wanted: Tensors) -> float:
    """Spearman's correlation of how alike sentences are, pair by pair, with what the uncut model says."""
    return _spearman(*(_likeness(of["embedding"]) for of in (outputs, wanted)))


def _likeness(embedding: Array) -> npt.NDArray[np.float64]:
    rows = embedding.astype(np.float64)
    return np.asarray((rows @ rows.T)[np.triu_indices(len(rows), 1)])


def _spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Of ranks; equal values (a sentence drawn twice) keep the order they have, in both alike."""
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _sentences() -> Iterator[str]:
    """Sentences of which some are alike."""
    who = (
        "A man",
        "A woman",
        "The old captain",
        "My neighbour's dog",
        "Nobody",
        "The new teacher",
        "A small child",
        "The bank",
    )
    what = (
        "is playing a guitar on the street",
        "bought fresh bread this morning",
        "fell asleep in front of the television",
        "wants to know what the weather will be like",
        "lost the keys to the blue car",
        "explained the results of the election",
    )
    yield from (f"{subject} {verb}." for verb in what for subject in who)


# --- PP-OCR ------------------------------------------------------------------------------------------------------------------


def read_alike(outputs: Tensors, wanted: Tensors) -> float:
    """One less the share of characters that are read differently from the uncut model, by edit distance."""
    found, right = (_read(next(iter(of.values()))) for of in (outputs, wanted))
    wrong = sum(_distance(one, other) for one, other in zip(found, right, strict=True))
    return 1 - wrong / max(1, sum(map(len, right)))


def _read(scores: Array) -> list[list[int]]:
    """Best character of each column, repeats and blanks left out (CTC)."""
    best = np.asarray(scores).argmax(axis=-1)
    return [[int(c) for at, c in enumerate(row) if c != _BLANK and (at == 0 or c != row[at - 1])] for row in best]


def _distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Insertions, deletions and replacements (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _lines() -> Iterator[str]:
    """Lines of text with numbers in them, so that all are different."""
    words = ("Invoice", "Platform", "Room", "Parcel", "Meter", "Gate", "Order", "Flight")
    random = np.random.default_rng(0)
    yield from (f"{words[at % len(words)]} {random.integers(100, 99999)} {'ABCDEFG'[at % 7]}" for at in range(48))


def _bytes_of(line: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint((line.transpose(1, 2, 0) + 1) * 127.5), np.uint8)


# --- Silero ------------------------------------------------------------------------------------------------------------------


def _heard(path: Path, folder: Path) -> dict[str, Array]:
    """Frames of speech in noise, each with the state that the uncut model has come to by then."""
    listener = voice.listener(path, folder / "listener.bundle")
    clips = [voice.clip(number) for number in range(8)]
    frames, states = zip(*((f, s) for one in clips for f, s in zip(one.frames, listener.states(one), strict=True)), strict=True)
    some = slice(0, None, 8)
    count = len(frames[some])
    rate = np.full(count, RATE_HZ, np.int64)
    return {"input": np.stack(frames[some])[:, None], "state": np.stack(states[some]), "sr": rate}
