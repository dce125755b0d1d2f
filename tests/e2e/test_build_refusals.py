"""What cannot be cut is refused: what is wrong, where, and what to do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.errors import InvalidCut, InvalidInput, UnsupportedModel
from tests import models

VECTOR = {"x": (models.FLOAT, ["N", 4])}
RESULT = {"y": (models.FLOAT, ["N", 4])}


def without_weights() -> onnx.ModelProto:
    proto = models.chain()
    del proto.graph.initializer[:]
    return proto


def weights_to_be_fed() -> onnx.ModelProto:
    proto = models.chain()
    proto.graph.input.append(helper.make_tensor_value_info("w0", models.FLOAT, list(models.W0.dims)))
    del proto.graph.initializer[0]
    return proto


def no_nodes() -> onnx.ModelProto:
    return models.model([], VECTOR, VECTOR)


def unknown_operator() -> onnx.ModelProto:
    proto = models.model([helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="else.where")], VECTOR, RESULT)
    proto.opset_import.append(helper.make_opsetid("else.where", 1))
    return proto


def missing_attribute() -> onnx.ModelProto:
    return models.model([helper.make_node("Concat", ["x", "x"], ["y"], name="joined")], VECTOR, RESULT)


def random_numbers() -> onnx.ModelProto:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"], name="noise"), helper.make_node("Add", ["x", "r"], ["y"])]
    return models.model(nodes, VECTOR, RESULT)


def random_numbers_in_a_function() -> onnx.ModelProto:
    proto = models.local_function()
    proto.functions[0].node[0].op_type = "RandomNormalLike"
    return proto


def dropout_in_training() -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.float32(0.5), "ratio"), numpy_helper.from_array(np.bool_(True), "training")]
    return models.model([helper.make_node("Dropout", ["x", "ratio", "training"], ["y"], name="drop")], VECTOR, RESULT, weights)


def no_inputs() -> onnx.ModelProto:
    return models.model([helper.make_node("Relu", ["w0"], ["y"])], {}, {"y": (models.FLOAT, [8, 3, 3, 3])}, [models.W0])


def no_outputs() -> onnx.ModelProto:
    return models.model([helper.make_node("Relu", ["x"], ["y"])], VECTOR, {})


def an_output_twice() -> onnx.ModelProto:
    proto = models.chain()
    proto.graph.output.append(proto.graph.output[0])
    return proto


def out_of_order() -> onnx.ModelProto:
    return models.model([models.relu("a", "y"), models.relu("x", "a")], VECTOR, RESULT)


def text_output() -> onnx.ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)
    return models.model([node], VECTOR, {"y": (TensorProto.STRING, ["N", 4])})


def huge_input() -> onnx.ModelProto:
    return models.model([models.relu("x", "y")], {"x": (models.FLOAT, [1 << 40, 4])}, {"y": (models.FLOAT, [1 << 40, 4])})


def old_opset() -> onnx.ModelProto:
    return models.model([helper.make_node("Add", ["x", "x"], ["y"])], VECTOR, RESULT, opset=6)


def text_input() -> onnx.ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    return models.model([node], {"x": (TensorProto.STRING, ["N"])}, {"y": (TensorProto.STRING, ["N"])})


def sequence_output() -> onnx.ModelProto:
    proto = models.model([helper.make_node("SequenceConstruct", ["x"], ["y"])], VECTOR, RESULT)
    proto.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", models.FLOAT, ["N", 4]))
    return proto


def output_that_nothing_computes() -> onnx.ModelProto:
    return models.model([helper.make_node("Relu", ["x"], ["y"])], VECTOR, {**RESULT, "x": (models.FLOAT, ["N", 4])})


def nothing_finite() -> onnx.ModelProto:
    return models.model(
        [helper.make_node("Div", ["x", "zero"], ["y"])], VECTOR, RESULT, [numpy_helper.from_array(np.float32(0), "zero")]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_weights, "Conv 'a_conv' needs 'w0', which nothing makes.*export it again"),
        (weights_to_be_fed, "weight 'w0' of Conv 'a_conv' is an input: export the model with its weights"),
        (no_nodes, "holds no nodes"),
        (unknown_operator, "Frobnicate 'odd' is of the domain 'else.where', which needs a library of custom operators"),
        (missing_attribute, "breaks a rule of ONNX.*axis"),
        (random_numbers, "RandomNormalLike 'noise' draws random numbers"),
        (random_numbers_in_a_function, "RandomNormalLike that makes 'b/s' draws random numbers"),
        (dropout_in_training, "Dropout 'drop' draws random numbers.*for inference"),
        (no_inputs, "has no inputs"),
        (no_outputs, "has no outputs"),
        (an_output_twice, "output 'y' is listed twice"),
        (out_of_order, "Relu 'y_relu' stands before the node that makes 'a'"),
        (text_output, "output 'y' has no type that an array can carry"),
        (huge_input, "Relu 'y_relu' makes a tensor of the shape .* GiB"),
        (old_opset, "its opset is 6, export it with 7 or newer"),
        (text_input, "output 'y' has no type that an array can carry"),
        (sequence_output, "'y' is a sequence"),
        (output_that_nothing_computes, "output 'x' is an input, nothing computes it"),
        (nothing_finite, "output 'y' has no finite value.*give samples"),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused(make, message, tmp_path):
    with pytest.raises(UnsupportedModel, match=rf"^net\.onnx.*{message}"):
        build(models.save(make(), tmp_path), tmp_path / "bundle", BuildOptions(cuts="all"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x09\x12"])
def test_what_is_no_onnx_file_is_refused(content, tmp_path):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(UnsupportedModel, match=r"net\.onnx is not an ONNX file"):
        build(tmp_path / "net.onnx", tmp_path / "bundle")


def test_a_name_that_is_no_text_is_refused(tmp_path):
    content = models.chain().SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"\x01b", b"\x01\xe5"))
    with pytest.raises(UnsupportedModel, match=r"net\.onnx has the name .* no UTF-8"):
        build(tmp_path / "net.onnx", tmp_path / "bundle")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"no file net\.onnx"):
        build(tmp_path / "net.onnx", tmp_path / "bundle")


@pytest.mark.parametrize("lost", [True, False])
def test_weights_that_are_not_beside_the_file_are_refused(lost, tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    proto = models.chain()
    onnx.save(proto, str(folder / "net.onnx"), save_as_external_data=True, location="net.data", size_threshold=0)
    if lost:
        (folder / "net.data").unlink()
    else:
        (folder / "net.data").rename(tmp_path / "net.data")
        data = (folder / "net.onnx").read_bytes()
        proto = onnx.load_model_from_string(data)
        for tensor in proto.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = "../net.data"
        (folder / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedModel, match=r"^net\.onnx: the weight 'w0' lies in"):
        build(folder / "net.onnx", tmp_path / "bundle")


def photos(n: int = 4, **changes) -> dict:
    fields = {"shape": (n, 16, 16, 3), "dtype": np.uint8, **changes}
    return {"x": np.zeros(fields["shape"], fields["dtype"])}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"samples": photos(shape=(4, 8, 8, 3))},
            r"samples 'x': expected uint8 \['samples', 16, 16, 3\], got uint8 \[4, 8, 8, 3\]",
        ),
        ({"samples": photos(dtype=np.float32)}, "expected uint8.*got float32"),
        ({"samples": {"z": np.zeros(3)}}, r"exactly the arrays \['x'\]"),
        ({"samples": photos(1)}, "at least two samples"),
        ({"samples": photos(), "labels": np.zeros(3, int)}, "3 labels for 4 samples"),
    ],
)
def test_samples_that_do_not_fit_are_refused(options, message, tmp_path):
    path = models.save(models.chain(), tmp_path)
    with pytest.raises(InvalidInput, match=message):
        build(path, tmp_path / "bundle", BuildOptions(image_input=ImageInput("x"), **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cuts": "some"}, "cuts is"),
        ({"max_cuts": -1}, "max_cuts"),
        ({"labels": np.zeros(3)}, "labels need samples"),
        ({"metric": lambda outputs, labels: 0.0}, "a metric and groups need samples"),
        ({"groups": np.arange(2)}, "a metric and groups need samples"),
        ({"samples": {"x": np.zeros((3, 2))}, "groups": np.arange(2)}, "for each of the 3 samples"),
        ({"samples": {"x": np.zeros((2, 2))}, "groups": np.array([0.5, 1.5])}, "one integer or text"),
        ({"samples": {"x": np.zeros((2, 2))}, "groups": np.array(["a", "a"])}, "at least two groups"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        BuildOptions(**options)


def test_a_name_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(InvalidCut, match="no place 'nowhere'"):
        build(models.save(models.chain(), tmp_path), tmp_path / "bundle", BuildOptions(cuts=("nowhere",)))


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(FileExistsError, match="overwrite"):
        build(models.save(models.chain(), tmp_path), tmp_path / "bundle")
