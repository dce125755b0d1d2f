"""The photos to stream: enough of them, the same each time, and none that was calibrated on."""

import hashlib

import numpy as np
import pytest

from splitinfer.bench import photos
from splitinfer.errors import MissingExtra


def digests(images: np.ndarray) -> list[str]:
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


@pytest.fixture(scope="module")
def stream() -> np.ndarray:
    return photos.crops(240, "stream")


@pytest.fixture(scope="module")
def calibration() -> np.ndarray:
    return photos.crops(96, "calibration")


def test_there_are_enough_and_all_differ(stream: np.ndarray, calibration: np.ndarray) -> None:
    assert stream.shape == (240, 224, 224, 3)
    assert stream.dtype == calibration.dtype == np.uint8
    assert len({*digests(stream), *digests(calibration)}) == 240 + 96


def test_they_are_pictures(stream: np.ndarray, calibration: np.ndarray) -> None:
    for images in (stream[::5], calibration[::5]):
        spread = images.reshape(len(images), -1).std(axis=1, dtype=np.float32)
        assert spread.min() > 15  # a flat wall or a black frame has less
        assert all(np.ptp(image.mean(axis=(0, 1))) > 1 for image in images)  # and none is grey


def test_the_first_ones_are_the_same_for_each_n(stream: np.ndarray) -> None:
    np.testing.assert_array_equal(photos.crops(7, "stream"), stream[:7])
    assert photos.crops(0, "stream").shape == (0, 224, 224, 3)


def test_the_parts_share_no_scene() -> None:
    assert not set(photos._SCENES["stream"]) & set(photos._SCENES["calibration"])


def test_every_second_view_of_a_scene_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3)))
    monkeypatch.setattr(photos, "_photo", lambda name: ramp)
    rises = [int(crop[0, -1, 0]) > int(crop[0, 0, 0]) for crop in photos.crops(9, "stream")]
    assert rises == [True] * 3 + [False] * 3 + [True] * 3


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    photos._photo.cache_clear()
    monkeypatch.setattr(photos, "find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=r"splitinfer\[demo\]"):
        photos.crops(1, "stream")
