"""The camera's own image at cut 0: bit-equal to preparing it with numpy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.errors import InvalidInput, UnsupportedModel
from splitinfer.model import TensorSpec
from tests import models

PHOTOS = np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def passing_through(elem_type: int = models.FLOAT, shape=("N", 3, 16, 16)) -> onnx.ModelProto:
    """A net whose output is what reaches it."""
    value = (elem_type, list(shape))
    return models.model([helper.make_node("Identity", ["x"], ["y"])], {"x": value}, {"y": value})


def reaches(proto: onnx.ModelProto, folder, image: ImageInput, photos=PHOTOS):
    bundle = build(models.save(proto, folder), folder / "bundle", BuildOptions(image_input=image))
    engine = OrtEngine(bundle)
    return engine.run(0, bundle.model.n, engine.hold(0, {"x": photos})).outputs()["y"]


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((127.0,), (128.0,)),
        ((0.0,), (255.0,)),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ((0.0,), (1.0,)),
        ((1.5,), (1.0,)),
    ],
)
def test_what_reaches_the_model_is_bit_equal_to_numpy(mean, std, tmp_path):
    got = reaches(passing_through(), tmp_path, ImageInput("x", mean, std))
    wanted = (PHOTOS.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    assert got.dtype == np.float32
    assert np.array_equal(got, wanted.transpose(0, 3, 1, 2))


def test_a_model_that_takes_nhwc_gets_a_cast(tmp_path):
    got = reaches(passing_through(shape=("N", 16, 16, 3)), tmp_path, ImageInput("x"))
    assert np.array_equal(got, PHOTOS.astype(np.float32))


def test_a_model_that_takes_bgr_gets_it(tmp_path):
    got = reaches(passing_through(), tmp_path, ImageInput("x", mean=(1, 2, 3), order="bgr"))
    wanted = PHOTOS[..., ::-1].astype(np.float32) - np.array([1, 2, 3], np.float32)
    assert np.array_equal(got, wanted.transpose(0, 3, 1, 2))


def test_half_precision_is_rounded_last(tmp_path):
    got = reaches(passing_through(onnx.TensorProto.FLOAT16), tmp_path, ImageInput("x", mean=(127,), std=(3,)))
    wanted = ((PHOTOS.astype(np.float32) - np.float32(127)) / np.float32(3)).astype(np.float16)
    assert np.array_equal(got, wanted.transpose(0, 3, 1, 2))


def test_a_model_that_takes_bytes_gets_them(tmp_path):
    got = reaches(passing_through(onnx.TensorProto.UINT8), tmp_path, ImageInput("x"))
    assert np.array_equal(got, PHOTOS.transpose(0, 3, 1, 2))


def test_open_height_and_width_stay_open(tmp_path):
    photos = PHOTOS[:, :5, :7]
    got = reaches(passing_through(shape=("N", 3, "H", "W")), tmp_path, ImageInput("x"), photos)
    assert np.array_equal(got, photos.astype(np.float32).transpose(0, 3, 1, 2))


def test_cut_0_is_the_image_and_no_cut_lies_inside_the_preprocessing(tmp_path):
    image = ImageInput("x", mean=(127,), std=(128,))
    bundle = build(models.save(models.chain(), tmp_path), tmp_path / "bundle", BuildOptions(image_input=image, cuts="all"))
    plain = build(tmp_path / "net.onnx", tmp_path / "plain", BuildOptions(cuts="all"))
    assert bundle.model.cuts[0].tensors == (TensorSpec("x", "uint8", (None, 16, 16, 3)),)
    assert [cut.name for cut in bundle.model.cuts] == [cut.name for cut in plain.model.cuts]
    assert [cut.id for cut in bundle.model.cuts] == [cut.id for cut in plain.model.cuts]
    assert bundle.model.image_input == "x"
    assert bundle.preprocessing == {"mean": "127.0", "std": "128.0", "order": "rgb"}
    assert bundle.digest != plain.digest


def test_the_whole_answer_is_that_of_the_file(tmp_path):
    image = ImageInput("x", mean=(127,), std=(128,))
    got = reaches(models.skip_from_input(), tmp_path, image)
    session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    prepared = ((PHOTOS.astype(np.float32) - np.float32(127)) / np.float32(128)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, session.run(None, {"x": np.ascontiguousarray(prepared)})[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("x", ImageInput("x")),
        ("input:0", ImageInput("input:0")),
        ("x:mean=127,std=128", ImageInput("x", (127.0,), (128.0,))),
        ("a:0:mean=1,2,3,order=bgr", ImageInput("a:0", (1.0, 2.0, 3.0), order="bgr")),
        ("x:layout=nhwc", ImageInput("x", layout="nhwc")),
    ],
)
def test_the_short_form_is_read(text, image):
    assert ImageInput.parse(text) == image


@pytest.mark.parametrize("text", ["x:men=3", "x:mean=red", "x:std=0", "x:order=gbr", "x:mean=nan", "x:layout=chw"])
def test_a_wrong_short_form_is_refused(text):
    with pytest.raises(InvalidInput):
        ImageInput.parse(text)


@pytest.mark.parametrize(
    ("proto", "image", "message"),
    [
        (passing_through(), ImageInput("image"), "no input 'image' for the image: the model has 'x'"),
        (passing_through(shape=("N", 3, 16, 3)), ImageInput("x"), "say layout=nchw or layout=nhwc"),
        (passing_through(shape=("N", 4)), ImageInput("x"), "four dimensions"),
        (passing_through(shape=("N", 5, 8, 8)), ImageInput("x", layout="nchw"), "5 channels"),
        (passing_through(), ImageInput("x", mean=(1, 2)), "2 values for 3 channels"),
        (passing_through(onnx.TensorProto.UINT8), ImageInput("x", mean=(1,)), "takes integers"),
    ],
)
def test_an_input_that_is_no_image_is_refused(proto, image, message, tmp_path):
    with pytest.raises(UnsupportedModel, match=message):
        build(models.save(proto, tmp_path), tmp_path / "bundle", BuildOptions(image_input=image))
