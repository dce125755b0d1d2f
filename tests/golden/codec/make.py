"""Writes the golden bytes of codecs that have none yet: `python tests/golden/codec/make.py`.

What is there is never written again: the files pin that these bytes decode to these values, for ever. Encoders may change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from splitinfer.codec import FAMILIES, Codec, codec
from splitinfer.errors import UnknownCodec
from splitinfer.model import Array, TensorSpec

HERE = Path(__file__).parent
DTYPES = ("float32", "bool", "int64", "uint8")
MAP_CODECS = ("klt:0.01", "klt:0.3", "klt:1.25")
"""Coded with maps, at steps with low bits, without, and with coefficients that are not coded."""
SHAPE = (2, 3, 7)
"""Two items of an odd number of values, so that the last byte of packed symbols is not full."""


def numbers(dtype: str, seed: int = 0) -> Array:
    """Integers from -50 to 50 in no order, floats an eighth of them: the same on every machine."""
    whole = ((np.arange(np.prod(SHAPE)) * 37 + 11 * seed) % 101 - 50).reshape(SHAPE)
    if np.dtype(dtype).kind == "f":
        return np.asarray(whole / 8).astype(dtype)
    return np.asarray(whole > 0 if dtype == "bool" else whole + 50).astype(dtype)


def pictures() -> Array:
    y, x = np.mgrid[0:16, 0:19]
    return np.stack([(7 * y + 5 * x)[..., None] + [0, 30, 60] + 9 * i for i in range(2)]).astype(np.uint8)


def maps(seed: int = 0) -> Array:
    """Smooth maps of dependent channels, with a little noise; in the second item of the first one frequency stands out."""
    item, channel, y, x = np.ogrid[0:2, 0:4, 0:9, 0:11]
    waves = (3 * y + 5 * x + 7 * seed + 13 * item) % 23 - 11 + (channel - 1) * ((y * x + 5 * seed + item) % 17 - 8)
    noise = (37 * item + 53 * channel + 29 * y + 41 * x + 11 * seed * (x + 1)) % 101 - 50
    found = waves / 4 + noise / 64 / (1 + channel) ** 2
    if seed == 0:
        found[1, 2] += 0.9 * (np.cos(np.pi / 9 * 8 * (y + 0.5)) * np.cos(np.pi / 11 * 10 * (x + 0.5)))[0, 0]
    return np.asarray(found).astype(np.float32)


def spec_of(array: Array) -> TensorSpec:
    return TensorSpec("t", array.dtype.name, (None, *array.shape[1:]))


def every_codec() -> Iterator[Codec]:
    """One of each family, and the same with a byte compressor behind, where there is one."""
    for family in FAMILIES:
        yield codec(family.example)
        try:
            yield codec(f"{family.example}+zstd1")
        except UnknownCodec:
            continue


def path_of(id: str, array: Array) -> Path:
    return HERE / f"{id.replace(':', '_')}.{array.dtype.name}.json"


def write(made: Codec, array: Array, samples: Sequence[Array]) -> None:
    path, spec = path_of(made.id, array), spec_of(array)
    if path.exists() or not made.accepts(spec):
        return
    table = None
    if made.needs_table:
        table = made.calibrate(spec, samples)
    coder = made.bind(spec, table)
    chunks = coder.encode(array)
    case = {
        "id": made.id,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        **({"table": table.hex()} if table else {}),
        "chunks": [chunk.hex() for chunk in chunks],
        "values": coder.decode(chunks, array.shape).tobytes().hex(),
    }
    path.write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    for made in every_codec():
        for dtype in DTYPES:
            samples = [numbers(dtype, seed)[:1] for seed in range(8)]
            write(made, numbers(dtype), samples)
            write(made, numbers(dtype).reshape(SHAPE[0], -1), [one.reshape(1, -1) for one in samples])  # for codecs of rows
        write(made, pictures(), [])
    for id in MAP_CODECS:
        write(codec(id), maps(), [maps(seed) for seed in range(1, 13)])


if __name__ == "__main__":
    main()
