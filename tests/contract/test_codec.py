"""Every codec of ours passes the tests that third parties run on theirs (`splitinfer.testing`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from splitinfer.codec import FAMILIES, codec
from splitinfer.codec.raw import Raw, RawItem
from splitinfer.model import Array, TensorSpec
from splitinfer.testing import CodecConformance

Bound = Callable[[Array], float]


def suite(id: str, bound: Bound | None = None, tail_bytes: int = 0) -> type[CodecConformance]:
    """The tests of one codec.

    Args:
        id: of the codec.
        bound: how far a value of a tensor may move; None = not at all.
        tail_bytes: as in `CodecConformance`.
    """
    attributes: dict[str, object] = {"codec": codec(id), "tail_bytes": tail_bytes}
    if bound is not None:
        attributes["tolerance"] = lambda self, spec, array: bound(array)
    return type("Test", (CodecConformance,), attributes)


def half(array: Array) -> float:
    """Half a unit in the last place of 11 bits."""
    return float(np.abs(array.astype(np.float64)).max()) * 2.0**-11 + 2.0**-25


def levels(bits: int) -> Bound:
    """Half a step, and what float32 and the tensor's own type round."""

    def bound(array: Array) -> float:
        wide = array.astype(np.float64)
        span = float(wide.max() - wide.min())
        rounding = float(np.abs(wide).max()) * 4 * float(np.finfo(array.dtype).eps + 2.0**-23)
        return span / (2**bits - 1) * 0.5001 + rounding

    return bound


def clipped(bits: int) -> Bound:
    """A step over all values that are tried, and what a range from samples does not hold of them."""
    return lambda array: 24 * (0.25 + 1 / (2**bits - 1))


def per_dimension(id: str, bits: int) -> type[CodecConformance]:
    """Calibrated with what is tested: the range of an index would not hold what a few samples did not show."""
    samples = {"samples": lambda self, spec: [self.values(spec, 2, seed) for seed in range(4)]}
    return type("Test", (suite(id, clipped(bits)),), samples)


def pixels(most: float) -> Bound:
    """Steps of 256."""
    return lambda array: most


TestRaw = suite("raw")
TestRawZstd = suite("raw+zstd1")
TestHalf = suite("half", half)
TestHalfZstd = suite("half+zstd1", half)
TestInt8 = suite("int8", levels(8))
TestInt8Zstd = suite("int8+zstd1", levels(8))
TestInt6 = suite("int6", levels(6))
TestInt6Zstd = suite("int6+zstd1", levels(6))
TestInt4 = suite("int4", levels(4))
TestInt4Zstd = suite("int4+zstd1", levels(4))
TestInt7 = suite("int7", levels(7))
TestInt5 = suite("int5", levels(5))
TestInt3Zstd = suite("int3+zstd1", levels(3))
TestInt2Zstd = suite("int2+zstd1", levels(2))
TestInt8d = per_dimension("int8d", 8)
TestInt6dZstd = per_dimension("int6d+zstd1", 6)
TestInt4d = per_dimension("int4d", 4)
TestInt3dZstd = per_dimension("int3d+zstd1", 3)
TestInt2dZstd = per_dimension("int2d+zstd1", 2)
TestShuffle = suite("shuffle")
TestShuffleZstd = suite("shuffle+zstd1")
TestNarrow = suite("narrow")
TestNarrowZstd = suite("narrow+zstd1")


def sound(id: str, most: float) -> type[CodecConformance]:
    """Values from -16 to 16, steps of 1/2048 of them; calibrated with what is tested, since louder ones are refused."""
    samples = {"samples": lambda self, spec: [np.full_like(self.values(spec), 16)]}
    return type("Test", (suite(id, lambda array: most),), samples)


TestPcm16 = sound("pcm16", 1 / 2048)
TestPcm16Zstd = sound("pcm16+zstd1", 1 / 2048)
TestUlaw = sound("ulaw", 16 / 32)
TestUlawZstd = sound("ulaw+zstd1", 16 / 32)


def steps(step: float) -> Bound:
    """Values of deviation 3: some steps of them, since the errors of several coefficients add up in one value."""
    return lambda array: 8 * 3 * step


TestKlt = suite("klt:0.6", steps(0.6))
TestKltFine = suite("klt:0.02", steps(0.02))

# A picture file may do without its end marker and checksum, and what follows its end is not read.
TestPng = suite("png", tail_bytes=24)
TestJpeg = suite("jpeg:75", pixels(24), tail_bytes=24)
TestJpegBest = suite("jpeg:100", pixels(6), tail_bytes=24)
TestWebp = suite("webp:75", pixels(24), tail_bytes=24)
TestAvif = suite("avif:75", pixels(24), tail_bytes=24)


def test_every_family_is_tested() -> None:
    tested = {
        value.codec.id.partition("+")[0].partition(":")[0] for name, value in globals().items() if name.startswith("Test")
    }
    assert tested == {family.name for family in FAMILIES}


# -- the tests themselves find what is wrong --------------------------------------------------------------------------


class Faulty(Raw):
    """A codec with a fault."""

    def __init__(self, item: type[RawItem]) -> None:
        self._kind = item

    def item(self, spec: TensorSpec, table: bytes | None) -> RawItem:
        return self._kind(np.dtype(spec.dtype))


class Forgetful(RawItem):
    def encode(self, values: Array) -> bytes:
        return super().encode(np.where(values == values.max(), values.dtype.type(0), values))


class Greedy(RawItem):
    def decode(self, chunk: bytes | memoryview, size: int) -> Array:
        return np.array(np.tile(super().decode(chunk, size), 4)[:size])


class Trusting(RawItem):
    def decode(self, chunk: bytes | memoryview, size: int) -> Array:
        return np.frombuffer(chunk, self._dtype)


class Vandal(RawItem):
    def encode(self, values: Array) -> bytes:
        coded = super().encode(values)
        values.setflags(write=True)
        values[:] = 0
        return coded


@pytest.mark.parametrize(
    ("item", "test"),
    [
        (Forgetful, "test_values_come_back"),
        (Greedy, "test_decoding_needs_twice_the_memory_at_most"),
        (Trusting, "test_a_chunk_that_is_cut_short_is_refused"),
        (Vandal, "test_the_array_stays_as_it_is"),
    ],
)
def test_a_faulty_codec_fails(item: type[RawItem], test: str) -> None:
    faulty = type("Faulty", (CodecConformance,), {"codec": Faulty(item)})()
    with pytest.raises((AssertionError, ValueError)):
        getattr(faulty, test)()


def test_a_lossy_codec_must_say_how_far_values_may_move() -> None:
    silent = type("Silent", (CodecConformance,), {"codec": codec("int8")})()
    with pytest.raises(AssertionError, match="tolerance"):
        silent.test_values_come_back()
