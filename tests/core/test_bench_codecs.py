"""What `splitinfer bench codecs` measures with: the least bytes that keep the answers, photos of a folder, places, ears."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from splitinfer.bench.codecs import curve, folder, guard, integers, keywords, media, pixels, places, speech, voice
from splitinfer.bench.codecs.curve import Point, agreement, change
from splitinfer.bench.codecs.places import Place
from splitinfer.bench.zoo import MissingPackage
from splitinfer.build import BuildOptions
from splitinfer.errors import InvalidCut, InvalidInput
from tests import models

# --- curve -------------------------------------------------------------------------------------------------------------------


def point(nbytes: float, kept: int, n: int = 100, gained: int | None = None) -> Point:
    """`kept` of `n` answers stay; `gained` are right now (or, below 0, no longer)."""
    change = None if gained is None else np.sign(gained) * (np.arange(n) < abs(gained)).astype(float)
    return Point(f"{nbytes:g} bytes", np.full(n, float(nbytes)), np.arange(n) < kept, change)


def test_the_least_bytes_that_pass():
    points = [point(400, 100), point(200, 96), point(100, 95), point(50, 94)]
    assert curve.lowest(points, agreement(0.95)).nbytes == 100
    assert curve.lowest(points, agreement(0.99)).nbytes == 400
    assert curve.lowest(points[1:], agreement(0.99)) is None


def test_a_change_of_right_answers_is_a_bar_too():
    points = [point(300, 100, 1000, 0), point(200, 90, 1000, -5), point(100, 80, 1000, -6)]
    assert curve.lowest(points, change(-0.005)).nbytes == 200


def test_between_two_settings_bytes_are_log_linear():
    points = [point(400, 100), point(100, 90)]
    assert curve.between(points, agreement(0.95)) == pytest.approx(200)
    assert curve.between(points, agreement(1.0)) == pytest.approx(400)
    assert curve.between(points, agreement(0.9)) == pytest.approx(100)
    assert curve.between(points[1:], agreement(0.95)) == np.inf
    assert np.isnan(curve.between([], agreement(0.95)))


def test_a_walk_looks_closely_around_the_bar_and_ends_far_below_it():
    asked = []

    def measure(at: int) -> Point:
        asked.append(at)
        return point(1000 - at, 100 - at)  # setting 5 is the last one that keeps 95 %

    found = curve.explore(100, 4, [agreement(0.95)], measure)
    assert curve.cheapest(found, agreement(0.95)) == 5
    assert set(asked) == {0, 4, 8, 12, 16, *range(1, 8)}
    assert len(asked) == len(found)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 999), st.integers(0, 40)), min_size=1, max_size=30), st.integers(1, 9))
def test_a_walk_with_stride_one_finds_what_a_full_search_finds(measured, stride):
    bar = agreement(0.5)
    points = [point(nbytes, kept, 40) for nbytes, kept in measured]
    walked = curve.explore(len(points), stride, [bar], points.__getitem__)
    best, found = curve.lowest(points, bar), curve.lowest([*walked.values()], bar)
    assert all(walked[at] is points[at] for at in walked)
    assert found is None or found.nbytes >= best.nbytes
    if stride == 1 and len(walked) == len(points):
        assert (found is None) == (best is None)


def test_the_error_of_a_ratio_is_that_of_means_where_one_setting_always_passes():
    random = np.random.default_rng(3)
    ours, theirs = (Point("", size, np.ones(400, bool)) for size in (random.uniform(50, 150, 400), np.full(400, 1000.0)))
    error = curve.error_of_ratio([ours], [theirs], agreement(0.9), np.arange(400))
    assert error == pytest.approx(np.std(ours.sizes) / np.sqrt(400) / 1000, rel=0.15)


def test_items_of_a_group_count_as_one():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    alone, together = (curve.error_of_mean(values, groups) for groups in (np.arange(400), np.arange(400) // 10))
    assert together / alone == pytest.approx(np.sqrt(10), rel=0.2)


def test_the_luck_of_which_setting_just_passes_is_part_of_the_error():
    steady, lucky = [point(1000, 100)], [point(1000, 100), point(100, 95)]
    groups = np.arange(100)
    assert curve.error_of_ratio(steady, steady, agreement(0.95), groups) == 0
    assert curve.error_of_ratio(lucky, steady, agreement(0.95), groups) > 0.3


# --- photos ------------------------------------------------------------------------------------------------------------------


def picture(path: Path, height: int, width: int, seed: int = 0) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(path)


def listed(place: Path, text: str, sizes: tuple[tuple[int, int], ...] = ((8, 8),) * 4) -> Path:
    for number, size in enumerate(sizes):
        picture(place / f"{number}.png", *size, number)
    (place / "labels.csv").write_text(text)
    return place


def test_a_folder_of_photos_with_classes(tmp_path):
    photos = folder.read(listed(tmp_path, "file,imagenet_class\n0.png,7\n1.png,3\n2.png,0\n3.png,999\n"), (8, 8))
    assert photos.pixels.shape == (4, 8, 8, 3)
    assert np.array_equal(photos.pixels[2], np.asarray(Image.open(tmp_path / "2.png")))
    assert photos.labels.tolist() == [7, 3, 0, 999]
    assert photos.about == "4 photos"
    assert photos.take(slice(1, None, 2)).labels.tolist() == [3, 999]


@pytest.mark.parametrize(
    "text", ["file\n0.png\n1.png\n2.png\n3.png\n", "file,imagenet_class\n0.png,\n1.png,1\n2.png,2\n3.png,3\n"]
)
def test_classes_may_be_missing(tmp_path, text):
    assert folder.read(listed(tmp_path, text), (8, 8)).labels is None


def test_without_a_list_every_picture_counts(tmp_path):
    for number in range(4):
        picture(tmp_path / f"{number}.png", 8, 8)
    (tmp_path / "notes.txt").write_text("no picture")
    assert len(folder.read(tmp_path, (8, 8))) == 4


def test_photos_of_another_size_are_cropped_and_resized_and_it_says_so(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    listed(tmp_path, "file\n0.png\n1.png\n2.png\n3.png\n")
    Image.fromarray(wide).save(tmp_path / "1.png")
    photos = folder.read(tmp_path, (8, 8))
    assert photos.about == "4 photos, 1 of them cropped and resized to 8x8"
    assert np.abs(photos.pixels[1].astype(int) - 200).max() <= 8  # the middle third; bicubic looks a little beyond it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\n0.png\n", "no column 'file'"),
        ("file,imagenet_class\n0.png,cat\n1.png,1\n2.png,1\n3.png,1\n", "numbers of classes"),
        ("file\n0.png\n1.png\n2.png\n", "at least 4"),
        ("file\n0.png\n1.png\n2.png\n9.png\n", "9.png is listed"),
    ],
)
def test_a_folder_that_is_wrong_is_refused(tmp_path, text, said):
    with pytest.raises(InvalidInput, match=said):
        folder.read(listed(tmp_path, text), (8, 8))


# --- pixels ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "layout", "one"), [(models.chain, "nchw", False), (models.nhwc_chain, "nhwc", False)])
def test_the_image_input_of_a_file(tmp_path, make, layout, one):
    entry = pixels.opening(models.save(make(), tmp_path))
    assert (entry.layout, entry.size, entry.dtype, entry.one) == (layout, (16, 16), "float32", one)
    assert pixels.opening(models.save(models.chain(batch=1), tmp_path)).one


def test_what_is_no_image_classifier_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="'x', 'z'"):
        pixels.opening(models.save(models.two_inputs(), tmp_path))
    proto = models.chain()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    with pytest.raises(InvalidInput, match="three colours"):
        pixels.opening(models.save(proto, tmp_path))
    with pytest.raises(InvalidInput, match="no classifier"):
        pixels.classes({"y": np.zeros((3, 1), np.float32)})


def test_how_pixels_become_the_input_is_found_on_labelled_photos(tmp_path):
    """The class is whether the mean of red is above 0.5 after (rgb - 127) / 128, so that other ways are mostly wrong."""
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        onnx.helper.make_node("Flatten", ["mean"], ["flat"]),
        onnx.helper.make_node("Gemm", ["flat", "w", "b"], ["y"], transB=1),
    ]
    w = onnx.numpy_helper.from_array(np.array([[1, 0, 0], [0, 0, 0]], np.float32), "w")
    b = onnx.numpy_helper.from_array(np.array([0, 0.5], np.float32), "b")
    path = models.save(models.model(nodes, {"x": (1, ["N", 3, 8, 8])}, {"y": (1, ["N", 2])}, [w, b]), tmp_path)
    levels = np.arange(0, 256, 4, dtype=np.uint8)
    shown = np.broadcast_to(levels[:, None, None, None], (64, 8, 8, 3)).copy()
    labels = np.where((levels - 127.0) / 128 > 0.5, 0, 1)
    photos = folder.Photos(shown, np.arange(64), labels, "grey")
    entry = pixels.opening(path)
    way = pixels.found(path, entry, photos, lambda _text: None)
    assert (way.name, way.mean, way.std, way.order) in {("x", (127.0,), (128.0,), "rgb"), ("x", (127.5,), (127.5,), "rgb")}
    with pytest.raises(InvalidInput, match="--image-input"):
        pixels.found(path, entry, folder.Photos(shown, np.arange(64), None, "grey"), lambda _text: None)


def test_a_thousand_and_one_classes_are_a_thousand_with_a_background_before_them():
    scores = np.zeros((1, 1001), np.float32)
    scores[0, 8] = 1
    best, count = pixels.classes({"y": scores})
    assert (best.tolist(), count) == ([7], 1000)


# --- places ------------------------------------------------------------------------------------------------------------------

PLACES = (Place("a", 100, 0.02), Place("b", 900, 0.2), Place("c", 500, 0.4), Place("d", 500, 0.55), Place("e", 10, 0.9))


def test_places_are_found_by_size_and_depth():
    assert places.middle(PLACES).name == "d"  # of equals the deepest; a is the start, e leaves too little
    assert places.early(PLACES).name == "b"
    assert places.nearest(PLACES, 120).name == "a"
    with pytest.raises(InvalidCut):
        places.smallest(PLACES, 0.1)


def test_places_of_a_network(tmp_path):
    found = places.places(models.save(models.residual(), tmp_path), BuildOptions())
    assert "b" in {place.name for place in found}
    assert {place.name for place in found}.isdisjoint({"a", "c"})  # inside Conv and Relu, or with two tensors alive
    assert all(one.depth <= other.depth for one, other in pairwise(found))


# --- rivals ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [False, True])
def test_more_bits_are_nearer(each):
    values = np.random.default_rng(0).normal(size=(8, 4, 6, 6)).astype(np.float32)
    items = [{"a": values[at : at + 1]} for at in range(8)]
    errors, sizes = [], []
    for bits in integers.BITS:
        arrived, nbytes = integers.Quantised(bits, items, each)(items[0])
        assert arrived["a"].shape == (1, 4, 6, 6)
        errors.append(float(np.abs(arrived["a"] - values[:1]).mean()))
        sizes.append(nbytes)
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)


def test_a_range_for_each_channel_follows_it():
    scale = np.array([1, 100], np.float32)[:, None, None]
    items = [{"a": scale * np.random.default_rng(at).random((1, 2, 5, 5), np.float32)} for at in range(4)]
    apart, together = (integers.Quantised(4, items, each)(items[0])[0]["a"][0, 0] for each in (True, False))
    assert np.abs(apart - items[0]["a"][0, 0]).max() < 0.1
    assert np.abs(together - items[0]["a"][0, 0]).max() > 0.1


def test_photos_as_files():
    gradient = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    shown = np.stack([np.stack([gradient, gradient[::-1], 255 - gradient], axis=2)] * 2)
    for medium in media.media():
        best, coarse = ([*map(len, files)] for files in (medium.files(shown, 5), medium.files(shown, 60)))
        assert sum(coarse) < sum(best)
        error = np.abs(media.decoded(medium.files(shown, 5)).astype(int) - shown).mean()
        assert error < 6, medium.name
    for medium in media.lossless():
        assert np.array_equal(media.decoded(medium.files(shown, 0)), shown)


# --- ears --------------------------------------------------------------------------------------------------------------------


def test_cepstra_have_a_level_and_a_place():
    time_s = np.arange(speech.RATE_HZ) / speech.RATE_HZ
    low, high = (keywords.cepstra(np.sin(2 * np.pi * hertz * time_s)) for hertz in (200, 3000))
    loud = keywords.cepstra(10 * np.sin(2 * np.pi * 200 * time_s))
    assert low.shape == (49, 10)
    assert np.allclose(loud[:, 0] - low[:, 0], np.sqrt(80) * np.log(10), atol=0.1)  # the first one sums up the bands
    assert (low[:, 1] > 0).all()
    assert (high[:, 1] < 0).all()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(speech.installed, "find_spec", lambda package: None)
    monkeypatch.setattr(speech, "_speaker", speech._Speaker)
    with pytest.raises(MissingPackage, match=r"splitinfer\[zoo\]"):
        speech.say("no")


def test_the_area_under_the_curve():
    right = np.array([False, False, True, True])
    assert voice.area(np.array([0.1, 0.2, 0.3, 0.4], np.float32), right) == 1
    assert voice.area(np.array([0.4, 0.3, 0.2, 0.1], np.float32), right) == 0
    assert voice.area(np.array([0.5, 0.5, 0.5, 0.5], np.float32), right) == 0.5
    assert voice.area(np.array([0.1, 0.3, 0.2, 0.4], np.float32), right) == 0.75


# --- guards ------------------------------------------------------------------------------------------------------------------


def test_the_order_of_likeness():
    embedding = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    same, turned = {"embedding": embedding}, {"embedding": embedding @ np.diag([1, 1, 1, -1, -1, -1]).astype(np.float32)}
    assert guard.order_of_likeness(same, same) == pytest.approx(1)
    assert guard.order_of_likeness(turned, same) == pytest.approx(1)  # a mirror keeps all products
    noisy = {"embedding": embedding + np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)}
    assert 0.2 < guard.order_of_likeness(noisy, same) < 0.95


def test_lines_read_differently_by_edit_distance():
    def scores(*lines: str) -> dict[str, np.ndarray]:
        return {"y": np.stack([np.eye(8, dtype=np.float32)[[int(c) for c in line]] for line in lines])}

    right = scores("11022033", "44000555")  # 1 2 3 and 4 5
    assert guard.read_alike(right, right) == 1
    assert guard.read_alike(scores("11222033", "40000500"), right) == 1  # repeats and blanks say nothing
    assert guard.read_alike(scores("11000033", "44000555"), right) == pytest.approx(1 - 1 / 5)
    assert guard.read_alike(scores("11022033", "64007055"), right) == pytest.approx(1 - 3 / 5 + 1 / 5)
