"""Where the channels are and how the plane is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest

from splitinfer.codec import codec
from splitinfer.codec.klt import layout_of
from splitinfer.codec.klt.layout import AXES_MAX, CHANNELS_MAX, Layout, item_dims, layouts
from tests.klt_values import samples, spec_of, values

Shape = tuple[int | None, ...]

SHAPES: list[tuple[Shape, tuple[int, ...]]] = [
    ((None, 7), (7,)),
    ((1, 7), (1, 7)),
    ((None, None, 6), (21, 6)),
    ((None, None, 6), (3, 6)),
    ((None, 6, None), (6, 9)),
    ((None, 6, 12, 10), (6, 12, 10)),
    ((None, 12, 10, 6), (12, 10, 6)),
    ((1, 6, 12, 10), (1, 6, 12, 10)),
    ((None, 3, 130, 21), (3, 130, 21)),
    ((None, 5, None, None), (5, 17, 9)),
    ((None, 1, None, 6), (1, 11, 6)),
]


@pytest.mark.parametrize(("shape", "item_shape"), SHAPES)
def test_an_item_comes_back_from_its_blocks_in_every_layout(shape: Shape, item_shape: tuple[int, ...]) -> None:
    item = np.random.default_rng(0).normal(size=item_shape).astype(np.float32)
    found = layouts(item_dims(spec_of(*shape)))
    assert found
    for layout in found:
        blocks = layout.to_blocks(item)
        rows, columns = layout.grid(item_shape)
        assert blocks.shape == (layout.channels, rows, layout.blocks[0], columns, layout.blocks[1])
        assert np.array_equal(layout.from_blocks(blocks, item_shape), item), layout


@pytest.mark.parametrize(("shape", "dims"), [
    ((None, 6, 4, 4), (6, 4, 4)),
    ((1, 6, 4, 4), (6, 4, 4)),
    ((1, 1, 1, 96), (96,)),
    ((None, 1, 96), (96,)),
    ((4, 2), (4, 2)),
    ((None, 1), (1,)),
    ((None, None, 6), (None, 6)),
])  # fmt: skip
def test_an_item_has_no_leading_ones(shape: Shape, dims: Shape) -> None:
    assert item_dims(spec_of(*shape)) == dims


def test_the_last_block_repeats_the_edge() -> None:
    layout = Layout((2, 5, 3), 0, (4, 2))
    item = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    blocks = layout.to_blocks(item)
    assert blocks.shape == (2, 2, 4, 2, 2)
    assert (blocks[:, 1] == blocks[:, 1, :1]).all()
    assert (blocks[:, :, :, 1, 0] == blocks[:, :, :, 1, 1]).all()


def test_channels_stand_on_axes_of_fixed_length() -> None:
    assert {layout.channel for layout in layouts((None, 6))} == {1}
    assert {layout.channel for layout in layouts((4, 5, 6))} == {0, 1, 2}
    assert layouts((None, None)) == layouts((1,)) == layouts(()) == ()
    assert layouts((CHANNELS_MAX,))
    assert not layouts((CHANNELS_MAX + 1,))
    assert not layouts((2,) * (AXES_MAX + 1))


def test_a_long_axis_is_never_one_block() -> None:
    assert max(max(layout.blocks) for layout in layouts((3, 500, 400))) < 400


@pytest.mark.parametrize(("shape", "channel"), [
    ((None, 6, 12, 10), 1),
    ((None, 12, 10, 6), 3),
    ((1, 6, 12, 10), 1),
    ((1, 12, 10, 6), 3),
    ((None, 12, 16), 2),
    ((None, 16, 12), 1),
])  # fmt: skip
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_axis_whose_indices_depend_on_one_another_holds_the_channels(shape: Shape, channel: int, scale: float) -> None:
    """Whatever unit the values have."""
    spec = spec_of(*shape)
    found = layout_of(spec, [sample * np.float32(scale) for sample in samples(spec, channel)])
    assert found is not None
    leading = len(shape) - len(item_dims(spec))
    assert found.channel + leading == channel


def test_smooth_planes_have_large_blocks_and_noisy_ones_need_none() -> None:
    spec = spec_of(None, 6, 16, 16)
    smooth = [np.cumsum(np.cumsum(values(spec, seed), 2), 3) for seed in range(16)]
    assert layout_of(spec, smooth) == Layout((6, 16, 16), 0, (16, 16))


def test_samples_that_are_not_finite_tell_nothing() -> None:
    spec = spec_of(None, 6, 4, 4)
    assert layout_of(spec, []) is None
    assert layout_of(spec, [np.full((1, 6, 4, 4), np.nan, np.float32)]) is None
    good = samples(spec)
    assert layout_of(spec, [np.full((1, 6, 4, 4), np.inf, np.float32), *good]) == layout_of(spec, good)


@pytest.mark.parametrize(("shape", "dtype", "accepted"), [
    ((None, 6, 4, 4), "float32", True),
    ((None, 6, 4, 4), "float64", True),
    ((None, 6, 4, 4), "float16", False),
    ((None, 6, 4, 4), "int64", False),
    ((None, None), "float32", False),
    ((None,), "float32", False),
    ((), "float32", False),
    ((None, 2, 3, 4, 5), "float32", False),
])  # fmt: skip
def test_floats_with_an_axis_for_channels_are_accepted(shape: Shape, dtype: str, accepted: bool) -> None:
    assert codec("klt:1").accepts(spec_of(*shape, dtype=dtype)) == accepted
