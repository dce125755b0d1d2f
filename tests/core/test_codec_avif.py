"""AVIF files from strangers: what they state of themselves is read before the library sees them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from splitinfer.bench.photos import crops
from splitinfer.codec import codec, codec_of_file
from splitinfer.codec.avif import Avif
from splitinfer.errors import CodecError, CorruptPayload
from splitinfer.model import Array, TensorSpec

HEIGHT, WIDTH = 24, 33
IMAGE = TensorSpec("image", "uint8", (None, HEIGHT, WIDTH, 3))


def picture() -> Array:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (np.stack([y * 3, x * 2, x + y], axis=-1) + 40).astype(np.uint8)[np.newaxis]


def file(size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, (10, 90, 40, 128)[: len(mode)]).save(out, "AVIF", **options)
    return out.getvalue()


HONEST = codec("avif:75").bind(IMAGE).encode(picture())[0]


def refused(chunk: bytes) -> None:
    with pytest.raises(CorruptPayload):
        codec("avif:75").bind(IMAGE).decode([chunk], (1, HEIGHT, WIDTH, 3))


def with_stream_size(chunk: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its AV1 sequence header: fields of 10 bits from bit 18 on (AV1, 5.5.1)."""
    at = chunk.index(b"mdat") + 4 + 2 + 2  # behind the temporal delimiter, kind and size
    head = int.from_bytes(chunk[at : at + 8], "big")
    across, down = (head >> 50 & 15) + 1, (head >> 46 & 15) + 1
    kept = head >> 54 << 8 | 0xFF  # fifteen: fields of 16 bits
    rest = head & (1 << 46 - across - down) - 1
    bits = (kept << 32 | (width - 1) << 16 | height - 1) << (46 - across - down) | rest
    nbytes = -(-(18 + 32 + 46 - across - down) // 8)
    return chunk[:at] + (bits << 8 * nbytes - (96 - across - down)).to_bytes(nbytes, "big")[:8] + chunk[at + 8 :]


def test_it_is_smaller_than_jpeg_and_closer() -> None:
    photos = crops(2, "calibration")
    spec = TensorSpec("image", "uint8", (None, 224, 224, 3))

    def coded(id: str) -> tuple[int, float]:
        coder = codec(id).bind(spec)
        chunks = coder.encode(photos)
        return sum(map(len, chunks)), float(np.abs(coder.decode(chunks, photos.shape).astype(int) - photos).mean())

    (avif, error), (jpeg, worse) = coded("avif:75"), coded("jpeg:85")
    assert avif < 0.9 * jpeg
    assert error < worse


def test_colours_keep_their_resolution() -> None:
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[:, :, ::2, 0] = 255
    coder = codec("avif:90").bind(TensorSpec("image", "uint8", (None, 16, 16, 3)))
    assert np.abs(coder.decode(coder.encode(stripes), stripes.shape).astype(int) - stripes).mean() < 8


def test_a_file_is_known_by_its_start() -> None:
    assert codec_of_file(HONEST).id == "avif:75"
    assert Avif(75).header(HONEST) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("options", [{"quality": 30}, {"subsampling": "4:2:0"}, {"icc_profile": b"p" * 90}, {"xmp": b"<x/>"}])
def test_still_pictures_of_other_encoders_decode(options: dict[str, object]) -> None:
    found = codec("avif:75").bind(IMAGE).decode([file(**options)], (1, HEIGHT, WIDTH, 3))
    assert found.shape == (1, HEIGHT, WIDTH, 3)


def test_another_size_is_refused() -> None:
    for size in ((WIDTH, HEIGHT + 1), (WIDTH - 1, HEIGHT), (HEIGHT, WIDTH)):
        refused(file(size))


def test_transparent_or_animated_files_are_refused() -> None:
    refused(file(mode="RGBA"))
    refused(file(save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")]))


def test_a_stream_that_is_larger_than_its_box_is_refused_at_its_header() -> None:
    """The decoder allocates what the stream states."""
    assert Avif(75).header(HONEST) == (HEIGHT, WIDTH)
    refused(with_stream_size(HONEST, 65_536, 65_536))
    refused(with_stream_size(HONEST, WIDTH, 65_536))


def test_a_box_that_is_larger_than_its_stream_is_refused() -> None:
    at = HONEST.index(b"ispe") + 8
    refused(HONEST[:at] + struct.pack(">II", 60_000, 60_000) + HONEST[at + 8 :])


def test_two_streams_are_refused() -> None:
    start = HONEST.index(b"mdat") + 4
    stream = HONEST[start:]
    longer = HONEST + stream
    length_at = longer.index(b"iloc") + 4 + 4 + 2 + 2 + 2 + 2 + 2 + 4
    assert struct.unpack_from(">I", longer, length_at)[0] == len(stream)
    refused(longer[:length_at] + struct.pack(">I", 2 * len(stream)) + longer[length_at + 4 :])


def test_an_item_at_two_places_is_refused() -> None:
    """Another reader might take the other one."""
    at = HONEST.index(b"iloc") + 4
    entry = HONEST[at + 8 : at + 22]
    nbytes, meta_at = 8 + 8 + 2 * len(entry), HONEST.index(b"meta") - 4
    box = struct.pack(">I", nbytes) + b"iloc" + HONEST[at : at + 6] + b"\0\2" + entry + entry
    meta = struct.pack(">I", struct.unpack_from(">I", HONEST, meta_at)[0] + len(entry))
    twice = HONEST[:meta_at] + meta + HONEST[meta_at + 4 : at - 8] + box + HONEST[at + 22 :]
    refused(twice)


@pytest.mark.parametrize("kind", [b"ftyp", b"meta", b"pitm", b"iloc", b"iinf", b"iprp", b"ipco", b"ispe", b"av01"])
def test_a_file_without_one_of_its_boxes_is_refused(kind: bytes) -> None:
    refused(HONEST.replace(kind, b"free", 1))


def test_what_is_no_file_is_refused() -> None:
    for chunk in (b"", b"\0" * 40, HONEST[:4], b"\0\0\0\x10ftypavif" + bytes(4), HONEST[4:], b"\xff" * 64):
        refused(chunk)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_changed_bytes_are_refused_or_decode_to_the_size(data: st.DataObject) -> None:
    changed = bytearray(HONEST)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = codec("avif:75").bind(IMAGE).decode([bytes(changed)], (1, HEIGHT, WIDTH, 3))
    except CodecError:
        return
    assert found.shape == (1, HEIGHT, WIDTH, 3)
