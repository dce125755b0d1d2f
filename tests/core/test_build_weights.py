"""The bytes of weights are the same wherever they lie, and are never copied where they need not be."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build.weights import Weights, is_outside, nbytes_of, skeleton
from splitinfer.errors import UnsupportedModel
from tests import models

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
BYTES = ARRAY.astype("<f4").tobytes()


def raw(array: np.ndarray = ARRAY, name: str = "w") -> TensorProto:
    return numpy_helper.from_array(array, name)


def typed(array: np.ndarray = ARRAY, name: str = "w") -> TensorProto:
    return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.ravel().tolist())


def outside(
    name: str = "w", dims: tuple[int, ...] = ARRAY.shape, kind: int = TensorProto.FLOAT, **entries: object
) -> TensorProto:
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.bin").write_bytes(b"before" + BYTES + b"behind")
    return tmp_path


def test_raw_bytes_are_given_as_they_are():
    assert Weights().data(raw()) == BYTES


@pytest.mark.parametrize(
    "kind", ["float32", "float64", "float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_typed_fields_become_the_bytes_that_raw_data_would_hold(kind):
    array = (np.arange(6) % 3).astype(kind).reshape(2, 3)
    assert not typed(array).HasField("raw_data")
    assert Weights().data(typed(array)) == array.tobytes() == Weights().data(raw(array))


def test_text_and_typed_values_that_numpy_lacks_have_no_plain_bytes():
    text = helper.make_tensor("w", TensorProto.STRING, [1], [b"word"])
    brain = TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[2], int32_data=[1, 2])
    assert Weights().data(text) is None
    assert Weights().data(brain) is None
    assert Weights().sha256(text) is None


def test_bytes_in_a_file_are_mapped_from_their_offset_on(folder):
    data = Weights(folder).data(outside(offset=6, length=len(BYTES)))
    assert isinstance(data, memoryview)
    assert isinstance(data.obj, mmap.mmap)
    assert data.readonly
    assert bytes(data) == BYTES


def test_without_an_offset_a_weight_starts_where_the_file_does(folder):
    assert bytes(Weights(folder).data(outside())) == (b"before" + BYTES)[: len(BYTES)]


def test_a_file_is_mapped_once_for_all_its_weights(folder):
    weights = Weights(folder)
    one, other = (weights.data(outside(name, offset=offset)) for name, offset in (("u", 0), ("w", 6)))
    assert one.obj is other.obj
    assert bytes(one) != bytes(other)


def test_an_empty_weight_needs_no_file(tmp_path):
    assert bytes(Weights(tmp_path).data(outside(dims=(0, 3), location="nowhere.bin"))) == b""


@pytest.mark.parametrize("offset", [13, 18, 400])
def test_a_file_that_ends_within_a_weight_is_refused_by_name(folder, offset):
    with pytest.raises(UnsupportedModel, match=r"the file 'w\.bin' ends within the weight 'w': copy or export"):
        Weights(folder).data(outside(offset=offset))


def test_the_last_byte_of_a_file_may_be_used(folder):
    assert bytes(Weights(folder).data(outside(offset=12))) == (BYTES + b"behind")[6:]


def test_a_file_that_is_not_there_is_refused(folder):
    with pytest.raises(UnsupportedModel, match=r"the file 'else\.bin' with weights cannot be read: copy it beside"):
        Weights(folder).data(outside(location="else.bin"))


def test_an_empty_file_is_refused(folder):
    (folder / "w.bin").write_bytes(b"")
    with pytest.raises(UnsupportedModel, match=r"w\.bin"):
        Weights(folder).data(outside())


def test_a_model_without_a_folder_has_nothing_beside_it():
    with pytest.raises(UnsupportedModel, match="the model is not in a folder: give its path"):
        Weights().data(outside())


def test_a_weight_has_one_hash_wherever_it_lies(folder):
    found = {Weights(folder).sha256(tensor) for tensor in (raw(), typed(), outside(offset=6))}
    assert found == {hashlib.sha256(BYTES).hexdigest()}


def test_each_weight_has_a_hash_of_its_own(folder):
    weights = Weights(folder)
    assert weights.sha256(outside("u")) != weights.sha256(outside("w", offset=6))


def test_each_weight_is_hashed_once(monkeypatch, folder):
    hashed = []
    monkeypatch.setattr(hashlib, "sha256", lambda data, plain=hashlib.sha256: hashed.append(len(data)) or plain(data))
    weights = Weights(folder)
    assert weights.sha256(outside()) == weights.sha256(outside())
    assert hashed == [len(BYTES)]


def test_a_weight_that_is_brought_in_is_an_ordinary_one(folder):
    tensor = outside(offset=6)
    Weights(folder).bring_in(tensor)
    assert tensor == raw()


def test_what_is_inside_forgets_that_it_ever_was_not(folder):
    tensor = raw()
    tensor.data_location = TensorProto.DEFAULT
    Weights(folder).bring_in(tensor)
    assert tensor == raw()


def test_only_what_lies_outside_is_outside():
    assert is_outside(outside())
    assert not is_outside(raw())
    assert not is_outside(typed())


@pytest.mark.parametrize(
    ("kind", "dims", "nbytes"),
    [
        (TensorProto.FLOAT, (2, 3), 24),
        (TensorProto.DOUBLE, (2, 3), 48),
        (TensorProto.FLOAT16, (3,), 6),
        (TensorProto.BFLOAT16, (3,), 6),
        (TensorProto.FLOAT8E4M3FN, (3,), 3),
        (TensorProto.BOOL, (3,), 3),
        (TensorProto.INT64, (), 8),
        (TensorProto.FLOAT, (4, 0), 0),
        (TensorProto.INT4, (4,), 2),
        (TensorProto.INT4, (3, 3), 5),
        (TensorProto.UINT4, (1,), 1),
        (TensorProto.UINT4, (), 1),
    ],
)
def test_bytes_follow_from_type_and_shape(kind, dims, nbytes):
    assert nbytes_of(TensorProto(data_type=kind, dims=dims)) == nbytes


def test_four_bit_weights_in_a_file_are_read_packed(folder):
    data = Weights(folder).data(outside(dims=(3, 3), kind=TensorProto.INT4, offset=6))
    assert bytes(data) == BYTES[:5]


def lasting_model() -> onnx.ModelProto:
    """A function, a name for the producer, a small weight, a large one, one that lies outside."""
    proto = models.local_function()
    proto.producer_name = "tests"
    proto.metadata_props.add(key="for", value="tests")
    proto.graph.initializer.extend([raw(np.array([1, 2], np.int64), "small"), outside("far")])
    return proto


def test_a_skeleton_declares_large_weights_and_keeps_small_ones():
    light = skeleton(lasting_model())
    declared = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in light.graph.input}
    kept = {tensor.name for tensor in light.graph.initializer}
    assert declared == {"x": [0, 3, 16, 16], "w1": [8, 8, 3, 3], "far": [2, 3]}
    assert kept == {"w0", "fc", "small"}
    assert all(value.type.tensor_type.elem_type == models.FLOAT for value in light.graph.input)


def test_a_skeleton_has_everything_else_the_model_has():
    proto, light = lasting_model(), skeleton(lasting_model())
    for part in (proto, light):
        del part.graph.initializer[:], part.graph.input[:]
    assert light == proto


def test_a_model_is_untouched_by_its_skeleton():
    proto = lasting_model()
    light = skeleton(proto)
    light.graph.node[0].name = "changed"
    light.graph.initializer[0].name = "changed"
    assert proto == lasting_model()
