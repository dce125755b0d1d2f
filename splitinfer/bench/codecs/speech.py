"""Something to listen to: words and sentences spoken by eSpeak NG, which the package `espeakng-loader` carries (extra `zoo`).

The same call gives the same samples with the same version. The library is loaded with ctypes; it keeps a state of its own, so
one thread at a time. Knows no network.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from splitinfer.bench.zoo import installed
from splitinfer.bench.zoo.installed import MissingPackage

RATE_HZ = 16_000
VOICES = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4", "en", "en+f3", "en+m5", "en-us+m7")

_PACKAGE, _LIBRARY = "espeakng_loader", "libespeak-ng.so"
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback before the call returns
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER

Samples = npt.NDArray[np.float32]
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def say(text: str, voice: str = VOICES[0], words_per_minute: int = 165, pitch: int = 50) -> Samples:
    """Speech at 16 kHz, its loudest sample 1.

    Args:
        text: English.
        voice: one of `VOICES`.
        words_per_minute: 80..450.
        pitch: 0..100.

    Raises:
        MissingPackage: eSpeak NG is not installed.
    """
    speaker = _speaker()
    spoken = speaker.speak(text, voice, words_per_minute, pitch)
    samples = _resampled(spoken, speaker.rate_hz)
    return (samples / max(1e-9, float(np.abs(samples).max()))).astype(np.float32)


class _Speaker:
    """The library, initialised."""

    def __init__(self) -> None:
        path = installed.file(_PACKAGE, _LIBRARY)
        try:
            self._library: Any = ctypes.CDLL(str(path))
        except OSError as error:
            raise MissingPackage(f"{path.name} cannot be loaded: {installed.how_to_get(_PACKAGE)}") from error
        self._heard: list[npt.NDArray[np.int16]] = []
        self._callback = _Callback(self._hear)  # kept: the library calls it later
        data = str(path.parent / "espeak-ng-data").encode()
        self.rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> npt.NDArray[np.int16]:
        """Samples at the library's own rate."""
        self._heard.clear()
        refused = self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode()
        refused = refused or self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
        if refused or not self._heard:
            raise MissingPackage(f"eSpeak NG does not speak with the voice {voice!r}: {installed.how_to_get(_PACKAGE)}")
        return np.concatenate(self._heard)

    def _hear(self, samples: Any, count: int, _events: object) -> int:
        if count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


_speaker: Callable[[], _Speaker] = cache(_Speaker)


def _resampled(samples: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.float64]:
    """At 16 kHz, by leaving out the frequencies that do not fit."""
    count = len(samples) * RATE_HZ // rate_hz
    spectrum = np.fft.rfft(samples.astype(np.float64))
    return np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(samples))
