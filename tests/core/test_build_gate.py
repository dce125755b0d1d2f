"""What of a foreign model is refused before the runtime sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build import gate
from splitinfer.build.load import content_hash
from splitinfer.errors import UnsupportedModel
from tests import hostile_models as hostile
from tests import models
from tests.models import FLOAT

PATH = Path("evil.onnx")


def refused(proto: onnx.ModelProto, path: Path = PATH) -> str:
    """The reason, which always names the file and what to do."""
    with pytest.raises(UnsupportedModel) as caught:
        gate.check(onnx.ModelProto.FromString(proto.SerializeToString()), path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert message.count(":") >= 2
    return message


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.with_files(tmp_path_factory.mktemp("gate"))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("../secret.bin", "outside the folder"),
        ("sub/../../secret.bin", "outside the folder"),
        ("sub/..", "outside the folder"),
        ("/etc/hostname", "outside the folder"),
        ("//etc/hostname", "relative path"),
        ("C:/secret.bin", "relative path"),
        ("..\\secret.bin", "relative path"),
        ("w.bin\0.txt", "relative path"),
        ("*/_ORT_MEM_ADDR_/*", "relative path"),
        ("", "names no file"),
        (".", "no ordinary file"),
        ("sub", "no ordinary file"),
        ("pipe.bin", "no ordinary file"),
        ("sym.bin", "symbolic link"),
        ("inner.bin", "symbolic link"),
        ("symsub/secret.bin", "symbolic link"),
        ("hard.bin", "hard link"),
        ("absent.bin", "is not there"),
        ("w.bin/more", "is not there"),
        ("n" * 5000, "is not there"),
    ],
)
def test_weights_lie_in_plain_files_of_the_folder(home: Path, location: str, why: str) -> None:
    message = refused(hostile.adds(hostile.outside(location)), home / "evil.onnx")
    assert why in message
    assert "weight 'w'" in message


@pytest.mark.parametrize("hiding", hostile.HIDING_PLACES)
def test_no_reference_hides(home: Path, hiding: str) -> None:
    build = hostile.HIDING_PLACES[hiding]
    assert "outside the folder" in refused(build(hostile.outside("../secret.bin")), home / "evil.onnx")
    gate.check(build(hostile.outside("w.bin")), home / "fine.onnx")


def test_indices_of_a_sparse_weight_hide_nothing(home: Path) -> None:
    proto = hostile.sparse_weight(hostile.outside("w.bin"))
    proto.graph.sparse_initializer[0].indices.CopyFrom(hostile.outside("../secret.bin", elem_type=TensorProto.INT64))
    assert "the indices of the sparse weight 'w' lies in '../secret.bin'" in refused(proto, home / "evil.onnx")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"offset": 1 << 40}, "which has 16"),
        ({"offset": 4}, "which has 16"),
        ({"offset": -4}, "no count of bytes"),
        ({"offset": "0x0"}, "no count of bytes"),
        ({"offset": "٣"}, "no count of bytes"),
        ({"offset": 10**30}, "no count of bytes"),
        ({"offset": ""}, "no count of bytes"),
        ({"length": 8}, "needs 16"),
        ({"length": -1}, "no count of bytes"),
        ({"length": 1 << 50, "dims": (1 << 48,)}, "which has 16"),
        ({"dims": (1 << 40,)}, "which has 16"),
        ({"elem_type": TensorProto.DOUBLE}, "which has 16"),
        ({"elem_type": TensorProto.STRING}, "is text"),
        ({"basepath": "/"}, "unknown"),
        ({"dims": (-4,)}, "shape [-4]"),
        ({"elem_type": 99}, "unknown type 99"),
    ],
)
def test_weights_fit_their_files(home: Path, entries: dict[str, object], why: str) -> None:
    tensor = hostile.outside("w.bin", **entries)
    assert why in refused(hostile.adds(tensor), home / "evil.onnx")


def test_a_location_is_said_once(home: Path) -> None:
    tensor = hostile.outside("w.bin")
    tensor.external_data.add(key="location", value="../secret.bin")
    assert "contradicting" in refused(hostile.adds(tensor), home / "evil.onnx")


def test_a_file_is_not_read_over_and_over(home: Path) -> None:
    tensors = []
    for at in range(9):
        tensors.append(hostile.outside("w.bin"))
        tensors[-1].name = f"w{at}"
    nodes = [helper.make_node("Sum", ["x", *(tensor.name for tensor in tensors)], ["y"])]
    assert "overlap" in refused(hostile.chained(*nodes, weights=tensors), home / "evil.onnx")
    gate.check(hostile.chained(*nodes, weights=tensors[:8]), home / "tied.onnx")


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"offset": 0},
        {"offset": 0, "length": 16, "checksum": "x"},
        {"offset": 8, "dims": (2,)},
        {"offset": 16, "dims": (0,)},
    ],
)
@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin"])
def test_honest_references_pass(home: Path, location: str, entries: dict[str, object]) -> None:
    gate.check(hostile.adds(hostile.outside(location, **entries)), home / "fine.onnx")


def test_what_onnx_saves_outside_passes(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(models.quantised(), str(path), save_as_external_data=True, size_threshold=0, location="net.data")
    gate.check(onnx.load(str(path), load_external_data=False), path)


def damaged(**fields: object) -> TensorProto:
    return TensorProto(name="w", **fields)


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (damaged(data_type=FLOAT, dims=[1 << 20, 1 << 20], raw_data=b"1234"), "holds 4 bytes"),
        (damaged(data_type=FLOAT, dims=[4]), "holds 0 entries"),
        (damaged(data_type=FLOAT, dims=[4], raw_data=b""), "holds 0 bytes"),
        (damaged(data_type=FLOAT, dims=[-4], raw_data=b"1234" * 4), "shape [-4]"),
        (damaged(data_type=FLOAT, dims=[-2, -2], raw_data=b"1234" * 4), "shape [-2, -2]"),
        (damaged(data_type=FLOAT, dims=[2], float_data=[1.0]), "holds 1 entries"),
        (damaged(data_type=FLOAT, dims=[1], int32_data=[1]), "holds 0 entries"),
        (damaged(data_type=TensorProto.COMPLEX64, dims=[2], float_data=[1.0, 2.0]), "needs 4"),
        (damaged(data_type=TensorProto.INT4, dims=[4], raw_data=b"1234"), "needs 2"),
        (damaged(data_type=TensorProto.STRING, dims=[1], raw_data=b"1"), "text as raw bytes"),
        (damaged(dims=[1], raw_data=b"1"), "unknown type 0"),
    ],
)
def test_stored_tensors_are_as_large_as_they_say(tensor: TensorProto, why: str) -> None:
    for build in (hostile.adds, hostile.constant, hostile.in_branch, hostile.in_function):
        assert why in refused(build(tensor))


def test_every_element_type_is_counted_as_onnx_writes_it() -> None:
    for elem_type in sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}):
        text = elem_type == TensorProto.STRING
        for count in (1, 3, 4):
            values = [b"a"] * count if text else [1] * count
            gate.check(hostile.adds(helper.make_tensor("w", elem_type, [count], values)), PATH)
            if not text:
                array = numpy_helper.to_array(helper.make_tensor("w", elem_type, [count], values))
                gate.check(hostile.adds(numpy_helper.from_array(array, "w")), PATH)


def test_sparse_tensors_are_bounded_as_dense_ones() -> None:
    one = numpy_helper.from_array(np.ones(1, np.float32), "w")
    assert "larger than 2 GiB" in refused(hostile.sparse_weight(one, (1 << 40,)))
    assert "1 values for 0 places" in refused(hostile.sparse_weight(one, (0,)))
    assert "shape [-4]" in refused(hostile.sparse_weight(one, (-4,)))
    gate.check(hostile.sparse_weight(one), PATH)


@pytest.mark.parametrize(
    ("op", "domain", "why"),
    [
        ("Evil", "com.evil", "domain 'com.evil', which needs a library of custom operators"),
        ("RegexReplace", "ai.onnx.contrib", "onnxruntime-extensions"),
        ("Adam", "ai.onnx.preview.training", "export the model for inference"),
        ("FlexAttention", "ai.onnx.preview", "upgrade it"),
        ("EPContext", "com.microsoft", "blob compiled for one processor"),
        ("Snpe", "com.microsoft", "blob compiled for one processor"),
        ("PyOp", "", "runs code"),
        ("Conv", "com.microsoft.nchwc", "give the original model"),
        ("Nonsense", "", "no operator that onnxruntime knows"),
        ("Relu", "com.microsoft", "no operator that onnxruntime knows"),
    ],
)
def test_only_known_operators_run(op: str, domain: str, why: str) -> None:
    def node(x: str, y: str) -> onnx.NodeProto:
        return helper.make_node(op, [x], [y], name="n", domain=domain)

    for proto in (
        hostile.chained(node("x", "y")),
        hostile.chosen(hostile.branch([node("x", "t")], "t")),
        hostile.calls("F", hostile.function("F", node("v", "out"))),
    ):
        message = refused(proto)
        assert why in message
        assert f"{op} 'n'" in message


def test_a_function_of_the_model_makes_no_blob_harmless() -> None:
    proto = hostile.calls("EPContext", hostile.function("EPContext", helper.make_node("Abs", ["v"], ["out"])))
    assert "blob" in refused(proto)


def test_both_names_of_the_standard_domain_are_one() -> None:
    gate.check(hostile.chained(helper.make_node("Abs", ["x"], ["y"], domain="ai.onnx")), PATH)


def test_functions_do_not_call_themselves() -> None:
    direct = hostile.calls("F", hostile.function("F", helper.make_node("F", ["v"], ["out"], domain="ours")))
    assert "'F' calls itself" in refused(direct)
    assert "calls itself" in refused(hostile.mutual_calls())
    unused = hostile.mutual_calls()
    unused.graph.node[0].CopyFrom(helper.make_node("Abs", ["x"], ["y"]))
    assert "calls itself" in refused(unused)


def test_a_function_is_defined_once() -> None:
    double = hostile.function("F", helper.make_node("Abs", ["v"], ["out"]))
    assert "'F' is defined twice" in refused(hostile.calls("F", double, double))
    other = onnx.FunctionProto()
    other.CopyFrom(double)
    other.overload = "other"
    gate.check(hostile.calls("F", double, other), PATH)


def test_nesting_and_nodes_are_bounded() -> None:
    gate.check(hostile.nested(28), PATH)
    assert "28 bodies deep" in refused(hostile.nested(29))
    gate.check(hostile.deep_calls(28), PATH)
    assert "over 28 deep" in refused(hostile.deep_calls(29))
    outer_first = hostile.deep_calls(2000)
    outer_first.functions.reverse()
    assert "over 28 deep" in refused(outer_first)
    assert "more than 200000" in refused(hostile.laughs(10))
    assert "4002 bodies" in refused(hostile.many_branches(2001))


@pytest.mark.parametrize("which", hostile.ENDLESS)
def test_a_loop_without_end_is_refused(which: str) -> None:
    assert "Loop 'spin' never ends" in refused(hostile.ENDLESS[which]())


def test_a_loop_that_may_end_passes() -> None:
    turns = numpy_helper.from_array(np.array(3, np.int64), "turns")
    never = helper.make_node("Constant", [], ["co"], value=numpy_helper.from_array(np.array(False), ""))
    below = [
        helper.make_node("ReduceMax", ["v"], ["m"], keepdims=0),
        helper.make_node("IsInf", ["m"], ["o"]),
        helper.make_node("Not", ["o"], ["co"]),
    ]
    for proto in (
        hostile.loop("turns", "yes", hostile.SAME, [turns]),
        hostile.loop("turns", "", hostile.TRUE, [turns]),
        hostile.loop("", "yes", [never]),
        hostile.loop("", "", [never]),
        hostile.loop("", "yes", below),
        models.loop(),
    ):
        gate.check(proto, PATH)


@pytest.mark.parametrize(
    "build",
    [
        *(models.chain, models.branching, models.captured, models.contrib_operator, models.local_function, models.loop),
        *(
            models.quantised,
            models.sequence_and_half_types,
            models.weights_as_inputs,
            models.constants,
            models.shape_arithmetic,
        ),
    ],
)
def test_honest_models_pass_untouched(build: object) -> None:
    assert callable(build)
    proto = build()
    before = content_hash(proto)
    gate.check(proto, PATH)
    gate.check_bytes(proto)
    assert content_hash(proto) == before
