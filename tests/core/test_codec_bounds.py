"""Bytes from strangers: bombs, headers that lie, and files that are not what they should be."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard
from PIL import Image

from splitinfer.codec import codec
from splitinfer.codec.items import ItemCoder
from splitinfer.codec.raw import Raw
from splitinfer.errors import CodecError, CorruptPayload, MissingExtra, PayloadTooLarge, UnknownCodec
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.payload import Packer, Part, Payload

SPEC = TensorSpec("t", "float32", (None, 256))
IMAGE = TensorSpec("image", "uint8", (None, 16, 16, 3))
GIB = 1 << 30


def bomb(declares: int) -> bytes:
    """A GiB of zeros in a few KiB; declares=-1 leaves the size out."""
    stream = zstandard.ZstdCompressor(level=1, write_content_size=declares >= 0).compressobj(size=declares)
    block = bytes(1 << 24)
    return b"".join([*(stream.compress(block) for _ in range(GIB >> 24)), stream.flush()])


def lying_frame(declares: int, body: bytes = b"\x01\x00\x00") -> bytes:
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", declares) + body


def test_a_bomb_is_refused_without_inflating_it() -> None:
    coder = codec("raw+zstd1").bind(SPEC)
    for declares in (GIB, -1):
        with pytest.raises(CorruptPayload):
            coder.decode([bomb(declares)], (1, 256))


def rle_block(last: int, size: int) -> bytes:
    """`size` zeros in four bytes (RFC 8878, 3.1.1.2)."""
    return struct.pack("<I", last | 1 << 1 | size << 3)[:3] + b"\0"


def test_a_frame_that_holds_more_than_it_declares_is_refused() -> None:
    honest = lying_frame(1024, rle_block(1, 1024))
    assert not codec("raw+zstd1").bind(SPEC).decode([honest], (1, 256)).any()
    more = lying_frame(1024, rle_block(0, 128 << 10) * 1000 + rle_block(1, 1))
    less = lying_frame(1024, rle_block(1, 1000))
    for frame in (more, less):
        with pytest.raises(CorruptPayload):
            codec("raw+zstd1").bind(SPEC).decode([frame], (1, 256))


@pytest.mark.parametrize("declares", [0, 1023, 1025, 1 << 33, 1 << 40, 1 << 63])
def test_a_declared_size_that_is_not_the_expected_one_is_refused(declares: int) -> None:
    with pytest.raises(CorruptPayload):
        codec("raw+zstd1").bind(SPEC).decode([lying_frame(declares)], (1, 256))


def test_a_skippable_frame_is_refused() -> None:
    with pytest.raises(CorruptPayload):
        codec("raw+zstd1").bind(SPEC).decode([struct.pack("<II", 0x184D2A50, 1024) + bytes(1024)], (1, 256))


def test_a_huge_window_is_refused() -> None:
    nbytes = 16 << 20
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=24)
    data = np.random.default_rng(0).bytes(1 << 16) * (nbytes >> 16)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=nbytes)
    frame = stream.compress(data) + stream.flush()
    assert zstandard.get_frame_parameters(frame).window_size > 8 << 20
    with pytest.raises(CorruptPayload):
        codec("raw+zstd1").bind(TensorSpec("t", "uint8", (nbytes,))).decode([frame], (nbytes,))


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    words = zstandard.ZstdCompressionDict(np.random.default_rng(0).bytes(4096), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frame = bytearray(zstandard.ZstdCompressor(dict_data=words).compress(words.as_bytes()[:1024]))
    with pytest.raises(CorruptPayload):
        codec("raw+zstd1").bind(SPEC).decode([bytes(frame)], (1, 256))


def test_a_truth_value_must_be_0_or_1() -> None:
    with pytest.raises(CorruptPayload):
        codec("raw").bind(TensorSpec("t", "bool", (3,))).decode([b"\0\1\2"], (3,))


def test_many_threads_share_a_coder() -> None:
    coder = codec("int8+zstd1").bind(TensorSpec("t", "float32", (None, 4096)))
    arrays = [np.random.default_rng(i).normal(size=(1, 4096)).astype(np.float32) for i in range(4)]
    expected = [coder.decode(coder.encode(a), a.shape) for a in arrays]

    def right(i: int) -> bool:
        return all(np.array_equal(coder.decode(coder.encode(arrays[i]), arrays[i].shape), expected[i]) for _ in range(100))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(right, range(4)))


# -- what strangers ask for -------------------------------------------------------------------------------------------


def packer() -> Packer:
    cuts = (Cut(0, "a" * 12, "in", (SPEC,), 0.0), Cut(1, "b" * 12, "end", (), 1.0))
    segments = (Segment(0, "0" * 64, 1, 1, 1, (), ()),)
    return Packer(Model(Digest("ab" * 32), "m", "1", (SPEC,), (), cuts, segments, frozenset({0})))


def asked_for(id: str) -> Payload:
    part = Part(SPEC.name, SPEC.dtype, (1, 256), id, (bytes(1024),))
    return Payload(Digest("ab" * 32), 0, id, (part,))


def test_a_codec_whose_table_is_not_here_is_an_unknown_one() -> None:
    assert codec("int4d").needs_table
    with pytest.raises(UnknownCodec, match="no table"):
        packer().unpack(asked_for("int4d"))


def test_coders_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec with a step has as many ids as a stranger likes."""
    bound = []

    class Stepped(Raw):
        def bind(self, spec: TensorSpec, table: bytes | None = None) -> ItemCoder:
            bound.append(weakref.ref(coder := super().bind(spec, table)))
            return coder

    monkeypatch.setattr("splitinfer.payload.codec", lambda id: Stepped())
    hostile = packer()
    for step in range(1000):
        assert hostile.unpack(asked_for(f"mine:{step}"))["t"].shape == (1, 256)
    assert len(bound) >= 1000
    assert sum(coder() is not None for coder in bound) <= 520


# -- pictures ---------------------------------------------------------------------------------------------------------


def png_header(width: int, height: int, bits: int = 8, kind: int = 2) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + body + struct.pack(">I", zlib.crc32(body))


def file(format: str, size: tuple[int, int] = (16, 16), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format, **options)
    return out.getvalue()


def refused(id: str, chunk: bytes, error: type[CodecError] = CorruptPayload) -> None:
    with pytest.raises(error):
        codec(id).bind(IMAGE).decode([chunk], (1, 16, 16, 3))


@pytest.mark.parametrize("id", ["png", "jpeg:75", "webp:75"])
def test_only_the_named_format_of_the_exact_size_decodes(id: str) -> None:
    for format in ("PNG", "JPEG", "WEBP"):
        chunk = file(format)
        if id.startswith(format.lower()):
            assert codec(id).bind(IMAGE).decode([chunk], (1, 16, 16, 3)).shape == (1, 16, 16, 3)
        else:
            refused(id, chunk)
        refused(id, file(format, (16, 17)))
        refused(id, file(format, (16000, 16)))


def test_a_png_that_claims_to_be_huge_is_refused_at_its_header() -> None:
    for width, height in ((1 << 31, 1 << 31), (60000, 60000), (0, 16), (16, 0)):
        refused("png", png_header(width, height))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_pngs_of_other_kinds_are_refused(mode: str) -> None:
    refused("png", file("PNG", mode=mode))


def test_jpegs_of_other_kinds_are_refused() -> None:
    refused("jpeg:75", file("JPEG", mode="L"))
    refused("jpeg:75", file("JPEG", mode="CMYK"))
    assert codec("jpeg:75").bind(IMAGE).decode([file("JPEG", progressive=True)], (1, 16, 16, 3)).shape == (1, 16, 16, 3)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    """Each scan goes over the whole picture: a few megabytes of empty ones would keep a core busy for minutes."""
    chunk = file("JPEG", progressive=True)
    last = chunk[chunk.rindex(b"\xff\xda") : -2]
    refused("jpeg:75", chunk[:-2] + 100 * last + chunk[-2:])


def test_a_jpeg_with_two_frame_headers_is_refused() -> None:
    chunk = file("JPEG")
    at = chunk.index(b"\xff\xc0")
    frame = chunk[at : at + 2 + int.from_bytes(chunk[at + 2 : at + 4], "big")]
    large = frame[:5] + struct.pack(">HH", 60000, 60000) + frame[9:]
    refused("jpeg:75", chunk[:at] + frame + large + chunk[at + len(frame) :])


def test_animated_or_transparent_webps_are_refused() -> None:
    other = Image.new("RGB", (16, 16), "white")
    refused("webp:75", file("WEBP", save_all=True, append_images=[other]))
    refused("webp:75", file("WEBP", mode="RGBA", lossless=True))


def test_a_webp_that_claims_to_be_huge_is_refused_at_its_header() -> None:
    extended = b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    lossless = b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8L" + struct.pack("<I", 10) + b"\x2f" + b"\xff\xff\xff\x0f" + bytes(8)
    refused("webp:75", extended)
    refused("webp:75", lossless)


def test_lossless_and_tagged_webps_decode() -> None:
    for chunk in (file("WEBP", lossless=True), file("WEBP", icc_profile=b"profile", exif=b"Exif\0\0")):
        assert codec("webp:75").bind(IMAGE).decode([chunk], (1, 16, 16, 3)).shape == (1, 16, 16, 3)


def test_an_animated_png_is_refused() -> None:
    refused("png", file("PNG", save_all=True, append_images=[Image.new("RGB", (16, 16), "white")]))


def test_a_file_much_larger_than_its_pixels_is_refused() -> None:
    refused("png", file("PNG") + bytes(1 << 20), PayloadTooLarge)


def test_high_qualities_keep_the_colours_resolution() -> None:
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[:, :, ::2, 0] = 255

    def error(id: str) -> float:
        coder = codec(id).bind(IMAGE)
        return float(np.abs(coder.decode(coder.encode(stripes), stripes.shape).astype(int) - stripes).mean())

    assert error("jpeg:99") < 3
    assert error("jpeg:98") > 10 * error("jpeg:99")


def test_without_the_image_library_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "import numpy as np\n"
        "from splitinfer.codec import codec, codecs_for\n"
        "from splitinfer.errors import MissingExtra\n"
        "from splitinfer.model import Cut, TensorSpec\n"
        "spec = TensorSpec('image', 'uint8', (None, 8, 8, 3))\n"
        "coder = codec('jpeg:75').bind(spec)\n"
        "try: coder.encode(np.zeros((1, 8, 8, 3), np.uint8))\n"
        "except MissingExtra as error: print(error)\n"
        "print([c.id for c in codecs_for(Cut(0, '', '', (spec,), 0.0), 'image')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "splitinfer[media]" in done.stdout
    assert "['raw']" in done.stdout
    assert issubclass(MissingExtra, ImportError)


def test_the_registry_does_not_import_the_image_library() -> None:
    program = "import sys, splitinfer.codec; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
