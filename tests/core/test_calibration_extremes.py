"""The transform codec on tensors that a network may well have, and nobody tuned it to: any unit, constants, few items."""

import numpy as np
import numpy.typing as npt
import pytest

from splitinfer.codec.klt import Klt, KltCoder
from splitinfer.model import TensorSpec

Floats = npt.NDArray[np.float32]

STEP = "0.2"


def drawn(*shape: int) -> Floats:
    """The same numbers each time."""
    return np.random.default_rng(7).standard_normal(shape, np.float32)


def coder(samples: Floats, step: str = STEP) -> KltCoder:
    """Calibrated with these items."""
    spec = TensorSpec("x", "float32", (None, *samples.shape[1:]))
    codec = Klt(step)
    return codec.bind(spec, codec.calibrate(spec, [samples]))


def crossed(made: KltCoder, items: Floats) -> Floats:
    """What arrives."""
    return np.concatenate([made.decode(made.encode(item), item.shape) for item in np.split(items, len(items))])


@pytest.mark.parametrize("unit", [1e-30, 1e-8, 1e8, 1e30])
def test_a_tensor_may_have_any_unit(unit: float) -> None:
    items = drawn(48, 12, 4, 4) * np.float32(unit)
    back = crossed(coder(items[:32]), items[32:])
    error = np.square((back - items[32:]) / np.float32(unit), dtype=np.float64).mean()
    assert error < 2 * float(STEP) ** 2 / 12


def test_the_unit_changes_no_byte() -> None:
    items = drawn(32, 12, 4, 4)
    assert coder(items).encode(items) == coder(items * 1024).encode(items * 1024)


def test_what_is_too_small_for_any_unit_arrives_as_nothing() -> None:
    items = drawn(32, 12) * np.float32(1e-41)
    assert np.abs(crossed(coder(items), items)).max() < 1e-35


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-5, 3e7])
def test_a_constant_arrives_and_takes_next_to_nothing(value: float) -> None:
    items = np.full((8, 12, 4, 4), value, np.float32)
    made = coder(items)
    assert crossed(made, items) == pytest.approx(items, rel=1e-3)
    assert len(made.encode(items[:1])[0]) <= 64


def test_small_variations_of_a_large_number_arrive() -> None:
    items = 1000 + drawn(64, 16) * np.float32(0.02)
    error = np.square(crossed(coder(items), items) - items, dtype=np.float64).mean()
    assert error < 0.1 * items.var(axis=0, dtype=np.float64).mean()


def test_constant_channels_are_no_obstacle() -> None:
    items = np.maximum(drawn(48, 12, 4, 4) - 1, 0)
    items[:, 3], items[:, 4] = 0, 6
    back = crossed(coder(items[:32]), items[32:])
    assert np.abs(back[:, 3]).max() < 0.1
    assert back[:, 4] == pytest.approx(np.full_like(back[:, 4], 6), abs=0.1)


def test_a_step_may_be_so_coarse_that_nothing_is_coded() -> None:
    items = drawn(32, 12)
    chunks = coder(items, "900").encode(items[:1])
    assert len(chunks[0]) == 1


def test_sparse_vectors_of_other_inputs_seldom_depart() -> None:
    items = np.maximum(drawn(128, 512) - 1, 0)
    for step in ("0.125", "0.5", "2"):
        crossed(coder(items[:64], step), items[64:])
