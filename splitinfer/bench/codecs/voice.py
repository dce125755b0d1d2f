"""Voice activity: bytes of a frame of 32 ms before the recurrent part, and what they do to the area under the curve.

The state of the recurrent part stays where that part runs: coded, its errors add up (the part `guard` looks at that). What is
right is known, because the noise is added here: a frame is speech where the clean sound is loud.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.codecs import klt
from splitinfer.bench.codecs.speech import RATE_HZ, VOICES, say
from splitinfer.bench.codecs.split import CUT
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_most
from splitinfer.bench.zoo.packaged import silero
from splitinfer.build import BuildOptions, build
from splitinfer.bundle import Bundle
from splitinfer.codec import Coder, codec, table_key
from splitinfer.errors import Uncodable
from splitinfer.model import Array, Tensors
from splitinfer.payload import WIDER

NETWORK = "silero_vad_16k_op15"
BEFORE_RECURRENT = "/model/encoder/3/activation/Relu_output_0"
BYTES_MAX, CHANGE_MAX = 30, 0.001
CALIBRATING = 64

_CLIPS = 24
_FRAME, _CONTEXT, _STATE = 512, 64, (2, 1, 128)
_SNR_DB = 15
_LOUD = 0.003
"""Of the largest power of a clip, over 20 ms: where the clean sound is speech."""
_SENTENCES = (
    "The weather will stay dry until the evening.",
    "Please turn the light on in the kitchen.",
    "Seven people were waiting for the last train.",
    "I would like a cup of tea, and nothing else.",
    "The camera looks at the river.",
    "Stop at the next corner, then go left.",
)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound with what is right.

    Attributes:
        frames: float32 [n, 576], each with the end of the frame before.
        speech: bool [n].
    """

    frames: Floats
    speech: npt.NDArray[np.bool_]


def measure(subject: Subject) -> list[Row]:
    """One row: the fewest bytes a frame that change the area by no more than allowed."""
    with tempfile.TemporaryDirectory() as folder:
        hears = listener(silero(NETWORK, Path(folder)), Path(folder, "built.bundle"))
        clips = [clip(number) for number in range(_CLIPS)]
        crossing = [hears.head(one) for one in clips]
        return [_row(subject, hears, clips, crossing[1::2])]


class Listener:
    """The network in two halves."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._engine = OrtEngine(bundle)
        self._given: Tensors = {"state": np.zeros(_STATE, np.float32), "sr": np.array(RATE_HZ, np.int64)}
        self._beside: Tensors = {}

    def head(self, heard: Clip) -> list[Array]:
        """What crosses, frame by frame: the part before the recurrent one needs no state."""
        found = []
        for at in range(len(heard.frames)):
            feed = {"input": heard.frames[at : at + 1], **self._given}
            crossing = self._engine.run(0, 1, self._engine.hold(0, feed)).plain()
            self._beside = {name: array for name, array in crossing.items() if name != BEFORE_RECURRENT}
            found.append(crossing[BEFORE_RECURRENT])
        return found

    def samples(self, heard: Sequence[Clip]) -> list[Tensors]:
        """Inputs to calibrate with, evenly spread over some clips, each with the state that the network has come to by then."""
        pairs = [pair for one in heard for pair in zip(one.frames, self.states(one), strict=True)]
        some = pairs[:: -(-len(pairs) // CALIBRATING)]
        return [{**self._given, "input": frame[None], "state": state} for frame, state in some]

    def states(self, heard: Clip) -> list[Array]:
        """The state before each frame."""
        found = [self._given["state"]]
        for features in self.head(heard):
            found.append(self._after(features, found[-1])["stateN"])
        return found[:-1]

    def tail(self, arrived: Sequence[Array]) -> Floats:
        """The probability of speech of each frame of a clip."""
        state = self._given["state"]
        found = []
        for features in arrived:
            outputs = self._after(features, state)
            state = outputs["stateN"]
            found.append(float(outputs["output"].ravel()[0]))
        return np.array(found, np.float32)

    def _after(self, features: Array, state: Array) -> Tensors:
        held = self._engine.hold(1, {**self._beside, BEFORE_RECURRENT: features, "state": state})
        return self._engine.run(1, self._engine.model.n, held).outputs()


def listener(path: Path, out: Path) -> Listener:
    """The network of a file, cut before the recurrent part.

    Args:
        path: of the network.
        out: where its bundle goes.
    """
    return Listener(build(path, out, BuildOptions(cuts=(BEFORE_RECURRENT,), codecs=("raw",))))


def clip(number: int) -> Clip:
    """Some sentences with pauses between them, in white noise; the same for the same number.

    Raises:
        MissingPackage: eSpeak NG is not installed.
    """
    random = np.random.default_rng(number)
    clean, speech = [], []
    for _ in range(3):
        pause = int(random.uniform(0.3, 1.2) * RATE_HZ)
        sound = 0.5 * say(_SENTENCES[random.integers(len(_SENTENCES))], VOICES[number % len(VOICES)])
        power = np.convolve(sound**2, np.ones(320) / 320, "same")
        clean += [np.zeros(pause, np.float32), sound]
        speech += [np.zeros(pause, bool), power > _LOUD * power.max()]
    sound, loud = np.concatenate(clean), np.concatenate(speech)
    noise = np.sqrt(np.mean(sound[loud] ** 2) / 10 ** (_SNR_DB / 10))
    return _framed((sound + random.normal(0, noise, len(sound))).astype(np.float32), loud)


def _framed(sound: Floats, loud: npt.NDArray[np.bool_]) -> Clip:
    count = len(sound) // _FRAME
    before = np.concatenate([np.zeros(_CONTEXT, np.float32), sound])
    frames = np.stack([before[at * _FRAME : at * _FRAME + _CONTEXT + _FRAME] for at in range(count)])
    return Clip(frames, loud[: count * _FRAME].reshape(count, _FRAME).mean(axis=1) > 0.5)


def area(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Area under the curve of true over false positives: the chance that a frame of speech scores above one of none."""
    ordered = np.sort(scores)
    ranks = (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right") + 1) / 2
    positive = int(right.sum())
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / (positive * (len(right) - positive)))


def _row(subject: Subject, hears: Listener, clips: list[Clip], sent: list[list[Array]]) -> Row:
    """Every second clip chooses, `sent` is what crosses for the others."""
    right = np.concatenate([one.speech for one in clips[1::2]])
    whole = area(np.concatenate([hears.tail(one) for one in sent]), right)
    spec = next(spec for spec in hears.bundle.model.cuts[CUT].tensors if spec.name == BEFORE_RECURRENT)
    tables = klt.tables(hears.bundle, hears.samples(clips[0::2]))
    best: tuple[float, str, float] | None = None
    for id in klt.ids()[:: klt.STRIDE]:
        coder = codec(id).bind(spec, tables.get(table_key(CUT, spec.name, id)))
        wider = codec(WIDER).bind(spec)
        crossed = [[_through(coder, wider, frame) for frame in one] for one in sent]
        arrived = [[frame for frame, _ in one] for one in crossed]
        nbytes = float(np.mean([size for one in crossed for _, size in one]))
        change = area(np.concatenate([hears.tail(one) for one in arrived]), right) - whole
        subject.tell(f"    {id}: {nbytes:.1f} bytes a frame, area {change:+.4f}")
        if abs(change) <= CHANGE_MAX and (best is None or nbytes < best[0]):
            best = nbytes, id, change
    what = f"{NETWORK} before its LSTM: bytes a frame of 32 ms at |change of AUC| <= {CHANGE_MAX:g} (uncut {whole:.4f})"
    said = "no step reaches it" if best is None else f"{best[1]}, {best[2]:+.4f}"
    return Row(f"{what}: {said}", nan if best is None else best[0], "bytes", at_most(BYTES_MAX), n=len(right))


def _through(coder: Coder, wider: Coder, frame: Array) -> tuple[Array, int]:
    """What arrives of a frame, and its bytes; one that is unlike the samples departs to a wider codec, as in a payload."""
    try:
        chunks, used = coder.encode(frame), coder
    except Uncodable:
        chunks, used = wider.encode(frame), wider
    return used.decode(chunks, frame.shape), sum(map(len, chunks))
