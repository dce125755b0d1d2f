"""The linear transform without a quantiser: nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dct

from splitinfer.codec.klt.basis import Basis, dct_matrix, product, spectrum
from splitinfer.codec.klt.layout import Layout, item_dims, layouts
from tests.core.test_codec_klt_layout import SHAPES, Shape
from tests.klt_values import spec_of

EPSILON = 3e-5
"""Of float32, after some hundred operations."""


def drawn(layout: Layout, seed: int = 0) -> Basis:
    random = np.random.default_rng(seed)
    mixing = np.linalg.qr(random.normal(size=(layout.channels, layout.channels)))[0] * random.uniform(0.5, 2, layout.channels)
    weight, mean = random.uniform(0.5, 2, layout.blocks), random.normal(size=layout.shape)
    return Basis(layout, mixing.astype(np.float32), weight.astype(np.float32), mean.astype(np.float32))


def by_place(basis: Basis, item: np.ndarray) -> np.ndarray:
    """[places of a block, blocks]."""
    coefficients = basis.forward(item).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(coefficients.reshape(np.prod(basis.layout.shape), -1))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 14, 128])
def test_the_cosine_transform_is_orthonormal_and_the_one_that_everybody_means(n: int) -> None:
    matrix = dct_matrix(n)
    assert np.abs(matrix @ matrix.T - np.eye(n)).max() < 1e-5
    values = np.random.default_rng(n).normal(size=n)
    assert np.allclose(matrix @ values, dct(values, norm="ortho"), atol=1e-5)


@pytest.mark.parametrize(("shape", "item_shape"), SHAPES)
def test_every_layout_gives_an_item_back(shape: Shape, item_shape: tuple[int, ...]) -> None:
    item = np.random.default_rng(1).normal(size=item_shape).astype(np.float32)
    for layout in layouts(item_dims(spec_of(*shape))):
        basis = drawn(layout)
        found = basis.inverse(by_place(basis, item), np.ones(layout.channels, np.float32), item_shape)
        assert found.shape == item_shape
        assert np.abs(found - item).max() < EPSILON, layout


def test_large_items_are_worked_out_in_pieces_to_the_same() -> None:
    layout = Layout((40, 96, 64), 0, (8, 8))
    basis, item = drawn(layout), np.random.default_rng(0).normal(size=(40, 96, 64)).astype(np.float32)
    found = basis.inverse(by_place(basis, item), np.ones(40, np.float32), item.shape)
    assert np.abs(found - item).max() < EPSILON


def test_coefficients_are_what_the_formula_says() -> None:
    layout = Layout((3, 4, 5), 0, (4, 5))
    basis, item = drawn(layout), np.random.default_rng(2).normal(size=(3, 4, 5)).astype(np.float32)
    mixed = np.einsum("ec,chw->ehw", basis.mixing, item)
    expected = np.einsum("kh,ehw,lw->ekl", dct_matrix(4), mixed, dct_matrix(5)) * basis.weight - basis.mean
    assert np.allclose(basis.forward(item)[:, 0, :, 0], expected, atol=1e-5)


def test_a_gain_stretches_a_channel_around_its_mean() -> None:
    layout = Layout((3, 4, 4), 0, (4, 4))
    basis, item = drawn(layout), np.random.default_rng(3).normal(size=(3, 4, 4)).astype(np.float32)
    one = np.ones(3, np.float32)
    mean = basis.inverse(np.zeros((48, 1), np.float32), one, item.shape).copy()
    gain = np.array([1, 2, 0.5], np.float32)
    found = basis.inverse(by_place(basis, item), gain, item.shape)
    assert np.allclose(found - mean, gain[:, None, None] * (item - mean), atol=1e-4)


def test_a_constant_has_one_coefficient() -> None:
    layout = Layout((2, 8, 8), 0, (8, 8))
    basis = Basis(layout, np.eye(2, dtype=np.float32), np.ones((8, 8), np.float32), np.zeros((2, 8, 8), np.float32))
    found = basis.forward(np.full((2, 8, 8), 3, np.float32))[:, 0, :, 0]
    assert np.allclose(found[:, 0, 0], 24)
    found[:, 0, 0] = 0
    assert np.abs(found).max() < 1e-5


@pytest.mark.parametrize(("size", "count"), [(2, 100_000), (40, 1_000), (300, 30), (520, 3), (1, 5)])
def test_products_in_pieces_are_products(size: int, count: int) -> None:
    random = np.random.default_rng(0)
    matrix, columns = random.normal(size=(size, size)).astype(np.float32), random.normal(size=(size, count)).astype(np.float32)
    expected = matrix.astype(np.float64) @ columns
    assert np.abs(product(matrix, columns) - expected).max() < 1e-3
    product(matrix, columns, columns)
    assert np.abs(columns - expected).max() < 1e-3


def test_a_spectrum_of_blocks_of_one_is_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 1, 7, 1)).astype(np.float32)
    assert np.array_equal(spectrum(values, dct_matrix(1), dct_matrix(1)), values)
