"""Writes the golden bytes of codecs that have none yet: `python tests/golden/codec/make.py`.

What is there is never written again: the files pin that these bytes decode to these values, for ever. Encoders may change.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from splitinfer.codec import codec
from splitinfer.model import Array, TensorSpec

HERE = Path(__file__).parent
FLOAT_IDS = ("raw", "raw+zstd1", "half", "half+zstd1", "int8", "int8+zstd1", "int6", "int6+zstd1", "int4", "int4+zstd1")
PICTURE_IDS = ("png", "jpeg:75", "jpeg:95", "webp:75")


def floats(dtype: str) -> Array:
    """Two items of an odd number of values, so that the last byte of packed symbols is not full."""
    ramp = np.arange(42).reshape(2, 3, 7)
    return np.asarray(np.sin(ramp * 0.7) * (ramp % 5) - 0.25).astype(dtype)


def pictures() -> Array:
    y, x = np.mgrid[0:16, 0:19]
    return np.stack([(7 * y + 5 * x)[..., None] + [0, 30, 60] + 9 * i for i in range(2)]).astype(np.uint8)


def write(id: str, array: Array) -> None:
    path = HERE / f"{id.replace(':', '_')}.{array.dtype.name}.json"
    if path.exists():
        return
    coder = codec(id).bind(TensorSpec("t", array.dtype.name, (None, *array.shape[1:])))
    chunks = coder.encode(array)
    case = {
        "id": id,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "chunks": [chunk.hex() for chunk in chunks],
        "values": coder.decode(chunks, array.shape).tobytes().hex(),
    }
    path.write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    for id in FLOAT_IDS:
        write(id, floats("float32"))
    for id in ("int8", "half+zstd1"):
        write(id, floats("float64"))
    write("int4", floats("float16"))
    write("raw+zstd1", (floats("float32") > 0))
    for id in ("raw", *PICTURE_IDS):
        write(id, pictures())


if __name__ == "__main__":
    main()
