"""Spoken words as the keyword network of MLPerf Tiny hears them: 49 frames of 10 cepstral coefficients. Pure numpy.

Parameters are those of the benchmark's training: 16 kHz, one second, the loudest sample 1, windows of 30 ms every 20 ms, a
spectrum of 512 points, 40 bands of the mel scale between 20 and 4000 Hz, the first 10 coefficients.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from splitinfer.bench.codecs.speech import RATE_HZ, VOICES, say

WORDS = tuple(
    "down go left no off on right stop up yes bed bird cat dog eight five four happy house marvin nine one seven six".split()  # noqa: SIM905
)
_PITCHES, _SPEEDS = (35, 65), (140, 190)
_NOISE = 0.005
_WINDOW, _STEP, _POINTS = 480, 320, 512
_BANDS, _KEPT = 40, 10
_LOWEST_HZ, _HIGHEST_HZ = 20.0, 4000.0

Floats = npt.NDArray[np.float64]


def spoken() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """All words by all voices, the voices in turn, so that every second one is another voice; and the number of its word.

    Returns:
        float32 [N, 49, 10, 1] and [N].

    Raises:
        MissingPackage: eSpeak NG is not installed.
    """
    random = np.random.default_rng(0)
    heard, groups = [], []
    for number, word in enumerate(WORDS):
        for pitch, speed, voice in product(_PITCHES, _SPEEDS, VOICES):
            heard.append(cepstra(_second(say(word, voice, speed, pitch), random)))
            groups.append(number)
    return np.stack(heard)[..., None].astype(np.float32), np.array(groups)


def cepstra(samples: Floats) -> Floats:
    """One second of sound -> [49, 10]."""
    starts = range(0, len(samples) - _WINDOW + 1, _STEP)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    frames = np.stack([samples[at : at + _WINDOW] * window for at in starts])
    bands = np.log(np.abs(np.fft.rfft(frames, _POINTS)) @ _mel() + 1e-6)
    angles = np.pi / _BANDS * np.outer(np.arange(_BANDS) + 0.5, np.arange(_KEPT))
    return np.asarray(bands @ np.cos(angles) * np.sqrt(2 / _BANDS))


def _second(spoken: npt.NDArray[np.float32], random: np.random.Generator) -> Floats:
    """The word somewhere in a second, with some noise."""
    word = spoken[:RATE_HZ]
    before = int(random.integers(0, RATE_HZ - len(word) + 1))
    second = random.normal(0, _NOISE, RATE_HZ)
    second[before : before + len(word)] += word
    return second


def _mel() -> Floats:
    """Triangles that are evenly spaced on the mel scale, 1127 ln(1 + f / 700): [257, 40]. Nothing at 0 Hz."""
    edges = np.linspace(_to_mel(_LOWEST_HZ), _to_mel(_HIGHEST_HZ), _BANDS + 2)
    points = _to_mel(np.linspace(0, RATE_HZ / 2, _POINTS // 2 + 1))[:, None]
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return np.asarray(weights)


def _to_mel(hertz: float | Floats) -> Floats:
    return np.asarray(1127 * np.log1p(np.asarray(hertz) / 700))
