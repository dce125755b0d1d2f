"""A model that is made for an older runtime: what it may still hold, and that it gives the same answers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build.target import Target, conform
from splitinfer.errors import InvalidInput, UnsupportedModel

FLOAT = TensorProto.FLOAT
RANDOM = np.random.default_rng(3)
IMAGE = RANDOM.standard_normal((2, 4, 8, 8)).astype(np.float32)
OLDEST = "1.8"


def floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


def model(
    *nodes: onnx.NodeProto, opset: int, ir: int = 10, out: dict[str, int] | None = None, **weights: Any
) -> onnx.ModelProto:
    """One input x of IMAGE's shape, an output y of four dimensions unless told otherwise."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info(name, FLOAT, [None] * rank) for name, rank in (out or {"y": 4}).items()],
        [w if isinstance(w, TensorProto) else numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def node(op_type: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, [name.replace("-", "") for name in inputs.split()], outputs.split(), **attributes)


def answers(proto: onnx.ModelProto, x: Any = IMAGE) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"x": x})]


def conformed(proto: onnx.ModelProto, runtime: str) -> onnx.ModelProto:
    new = onnx.ModelProto()
    new.CopyFrom(proto)
    conform(new, Target.parse(runtime))
    return new


def assert_same_on(proto: onnx.ModelProto, runtime: str) -> onnx.ModelProto:
    new, target = conformed(proto, runtime), Target.parse(runtime)
    onnx.checker.check_model(new, full_check=True)
    assert new.ir_version <= target.ir_version
    assert new.opset_import[0].version <= target.opset
    for ours, theirs in zip(answers(new), answers(proto), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    return new


SAME = {
    "LayerNormalization": model(node("LayerNormalization", "x s b"), opset=17, s=floats(8), b=floats(8)),
    "LayerNormalization of two axes": model(node("LayerNormalization", "x s", axis=2, epsilon=0.1), opset=18, s=floats(8, 8)),
    "LayerNormalization with its mean": model(
        node("LayerNormalization", "x s", "y mean", axis=-1), opset=17, out={"y": 4, "mean": 4}, s=floats(8)
    ),
    "RMSNormalization": model(node("RMSNormalization", "x s", axis=1), opset=23, ir=11, s=floats(4, 8, 8)),
    "GroupNormalization": model(node("GroupNormalization", "x s s", num_groups=2), opset=21, s=floats(4)),
    "Gelu": model(node("Gelu", "x"), opset=20),
    "Gelu by tanh": model(node("Gelu", "x", approximate="tanh"), opset=22),
    "Mish": model(node("Mish", "x"), opset=22),
    "Swish": model(node("Swish", "x", alpha=0.7), opset=24, ir=12),
    "Attention": model(node("Attention", "x x x", is_causal=1), opset=23, ir=11),
    "ReduceMean, axes as input": model(node("ReduceMean", "x axes"), opset=18, axes=integers(1, -1)),
    "ReduceMean of all": model(node("ReduceMean", "x"), opset=18),
    "ReduceSum": model(node("ReduceSum", "x axes", keepdims=0), opset=21, out={"y": 3}, axes=integers(2)),
    "ReduceMax of an axis from a node": model(
        node("Constant", "", "axes", value_ints=[3]), node("ReduceMax", "x axes"), opset=20
    ),
    "Resize": model(node("Resize", "x - scales", mode="linear"), opset=19, scales=np.array([1, 1, 2, 2], np.float32)),
    "Clip": model(node("Clip", "x - high"), opset=21, high=np.array(0.1, np.float32)),
    "Split, even": model(node("Split", "x", "y z", axis=1, num_outputs=2), opset=18, out={"y": 4, "z": 4}),
    "Split, uneven": model(node("Split", "x", "a b c", axis=2, num_outputs=3), opset=21, out={"a": 4, "b": 4, "c": 4}),
    "Pad of all axes": model(node("Pad", "x pads"), opset=21, pads=integers(0, 0, 1, 2, 0, 0, 2, 1)),
    "Pad of some axes": model(node("Pad", "x pads - axes"), opset=18, pads=integers(1, 2, 3, 0), axes=integers(-1, 1)),
    "BatchNormalization": model(node("BatchNormalization", "x s s s v"), opset=22, s=floats(4), v=abs(floats(4))),
    "Conv": model(node("Conv", "x w"), opset=22, w=floats(4, 4, 3, 3)),
    "AveragePool": model(node("AveragePool", "x", kernel_shape=[2, 2], dilations=[1, 1]), opset=22),
    "Cast that saturates": model(
        node("Cast", "x", "h", to=TensorProto.FLOAT16, saturate=1), node("Cast", "h", to=FLOAT), opset=19
    ),
    "Shape of the end": model(
        node("Shape", "x", "s", start=1, end=-1), node("Cast", "s", to=FLOAT), opset=21, out={"y": 1}
    ),
    "QuantizeLinear": model(
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z"), opset=21, s=np.float32(0.1), z=np.uint8(128)
    ),
    "QuantizeLinear that names its type": model(
        node("QuantizeLinear", "x s", "q", output_dtype=TensorProto.INT8),
        node("DequantizeLinear", "q s"),
        opset=21,
        s=np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("runtime", [OLDEST, "1.12", "1.14", "web"])
@pytest.mark.parametrize("name", SAME)
def test_the_older_model_gives_the_same_answers(name: str, runtime: str) -> None:
    assert_same_on(SAME[name], runtime)


def test_a_normalisation_keeps_its_digits_where_the_mean_is_large() -> None:
    shifted = model(
        node("Add", "x much", "far"), node("LayerNormalization", "far s"), opset=17, much=np.float32(3000), s=floats(8)
    )
    far = IMAGE.astype(np.float64) + 3000
    centred = far - far.mean(-1, keepdims=True)
    exact = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * numpy_helper.to_array(shifted.graph.initializer[1])
    np.testing.assert_allclose(answers(conformed(shifted, OLDEST))[0], exact, atol=3e-3)


def test_nodes_in_bodies_are_lowered_too() -> None:
    def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, [None] * 4)])

    choose = helper.make_node(
        "If",
        ["yes"],
        ["y"],
        then_branch=branch("then", node("ReduceMean", "x axes", "r"), node("Gelu", "r", "t")),
        else_branch=branch("else", node("LayerNormalization", "x s", "e")),
    )
    assert_same_on(model(choose, opset=20, yes=np.array(True), axes=integers(2), s=floats(8)), "1.13")
    assert_same_on(model(choose, opset=20, yes=np.array(False), axes=integers(2), s=floats(8)), "1.11")


@pytest.mark.parametrize(
    ("proto", "runtime", "says"),
    [
        (model(node("AveragePool", "x", kernel_shape=[2, 2], dilations=[2, 2]), opset=19), "1.14", r"dilations=\[2, 2\]"),
        (model(node("Pad", "x pads", mode="wrap"), opset=19, pads=integers(0, 0, 1, 1, 0, 0, 1, 1)), "1.14", "mode=wrap"),
        (model(node("Resize", "x - s", antialias=1, mode="linear"), opset=18, s=np.ones(4, np.float32)), "1.14", "antialias=1"),
        (model(node("ReduceMean", "x", noop_with_empty_axes=1), opset=18), "1.13", "noop_with_empty_axes"),
        (model(node("BitwiseNot", "x"), opset=18), "1.13", r"BitwiseNot that makes 'y' \(as of opset 18\) cannot be written"),
        (model(node("RoiAlign", "x r b"), opset=16, r=floats(1, 4), b=integers(0)), OLDEST, "half_pixel"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_in_the_older_set_is_refused_by_name(proto: onnx.ModelProto, runtime: str, says: str) -> None:
    with pytest.raises(UnsupportedModel, match=says) as refusal:
        conformed(proto, runtime)
    assert "export the model with opset" in str(refusal.value)


def test_axes_that_are_computed_are_refused() -> None:
    proto = model(node("Identity", "one", "axes"), node("ReduceMean", "x axes"), opset=18, one=integers(1))
    with pytest.raises(UnsupportedModel, match="'axes' is computed"):
        conformed(proto, "1.13")


def test_weights_of_four_bits_stay_or_are_refused() -> None:
    four = model(
        node("DequantizeLinear", "w s", "f"), node("Add", "x f"), opset=21, w=packed(TensorProto.INT4), s=np.float32(0.1)
    )
    assert_same_on(four, "web")
    with pytest.raises(UnsupportedModel, match="'w' is int4"):
        conformed(four, "1.17")


def test_weights_in_blocks_stay_or_are_refused() -> None:
    blocks = model(
        node("DequantizeLinear", "w s", "f", axis=1, block_size=2),
        node("Add", "x f"),
        opset=21,
        w=packed(TensorProto.INT8),
        s=abs(floats(8, 4)),
    )
    assert_same_on(blocks, "1.18")
    with pytest.raises(UnsupportedModel, match="block_size=2"):
        conformed(blocks, "1.17")


def packed(kind: int) -> TensorProto:
    return helper.make_tensor("w", kind, [8, 8], [value % 7 for value in range(64)])


def test_a_type_that_the_older_format_lacks_is_refused_even_if_the_operators_are_old() -> None:
    proto = model(node("Relu", "x"), opset=17, ir=10, unused=packed(TensorProto.UINT4))
    with pytest.raises(UnsupportedModel, match=r"'w' is uint4.*newest IR version is 9"):
        conformed(proto, "1.17")


def test_notes_of_a_newer_format_are_dropped_and_nothing_else() -> None:
    proto = model(node("Relu", "x"), opset=17, ir=10)
    plain = model(node("Relu", "x"), opset=17, ir=9)
    for noted in (proto.graph, proto.graph.node[0], proto.graph.input[0]):
        noted.metadata_props.append(onnx.StringStringEntryProto(key="from", value="somewhere"))
    assert conformed(proto, "1.17") == plain
    assert conformed(proto, "1.18") == proto


def test_a_model_that_is_old_enough_keeps_its_bytes() -> None:
    proto = model(node("Conv", "x w"), opset=13, ir=7, w=floats(4, 4, 1, 1))
    assert conformed(proto, OLDEST).SerializeToString() == proto.SerializeToString()


def test_weights_in_another_file_are_neither_read_nor_moved(tmp_path: Path) -> None:
    proto = model(node("LayerNormalization", "x s"), node("Gelu", "y", "z"), opset=20, out={"z": 4}, s=floats(4, 8, 8))
    proto.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
    expected = answers(proto)
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    outside = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    before = outside.graph.initializer[0].SerializeToString()
    conform(outside, Target.parse("1.12"))
    assert outside.graph.initializer[0].SerializeToString() == before
    onnx.load_external_data_for_model(outside, str(tmp_path))
    np.testing.assert_allclose(answers(outside)[0], expected[0], rtol=1e-5, atol=1e-6)


def test_axes_in_another_file_are_refused() -> None:
    proto = model(node("ReduceMean", "x axes"), opset=18, axes=integers(1))
    onnx.external_data_helper.set_external_data(proto.graph.initializer[0], "w.bin")
    proto.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(UnsupportedModel, match="stored outside the model"):
        conformed(proto, "1.13")


def test_operators_of_machine_learning_have_a_set_of_their_own() -> None:
    proto = model(helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=0.5), opset=11)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5))
    new = assert_same_on(proto, OLDEST)
    assert {opset.domain: opset.version for opset in new.opset_import} == {"": 11, "ai.onnx.ml": 2}


def test_a_function_that_is_still_there_must_mean_the_same() -> None:
    def calls(inner: str) -> onnx.ModelProto:
        body = helper.make_function("ours", "Own", ["v"], ["o"], [node(inner, "v", "o")], [helper.make_opsetid("", 20)])
        proto = model(helper.make_node("Own", ["x"], ["y"], domain="ours"), opset=20)
        proto.functions.append(body)
        proto.opset_import.append(helper.make_opsetid("ours", 1))
        return proto

    assert assert_same_on(calls("Sigmoid"), "1.13").functions[0].opset_import[0].version == 17
    with pytest.raises(UnsupportedModel, match=r"Gelu that makes 'o' in the function 'Own'"):
        conformed(calls("Gelu"), "1.13")
    with pytest.raises(UnsupportedModel, match="without functions"):
        conformed(calls("Sigmoid"), OLDEST)


@pytest.mark.parametrize(
    ("text", "ir", "opset", "ml"),
    [
        ("1.8", 7, 14, 2),
        ("1.15", 8, 18, 3),
        ("1.17", 9, 20, 4),
        ("1.17.3", 9, 20, 4),
        ("onnxruntime-1.17", 9, 20, 4),
        ("ort-web-1.20", 10, 21, 4),
        ("web", 10, 21, 4),
        ("any", 10, 21, 4),
    ],
)
def test_a_runtime_is_read_in_the_ways_people_write_it(text: str, ir: int, opset: int, ml: int) -> None:
    target = Target.parse(text)
    assert (target.ir_version, target.opset, target.ml_opset) == (ir, opset, ml)


@pytest.mark.parametrize("text", ["", "1", "1.7", "1.99", "2.0", "v1.17", "1.17.3.4", "tensorrt-8", "1.17 ", "1.१७"])
def test_a_runtime_that_is_not_known_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(InvalidInput, match=r'from "1.8" to "1.32", or "web"'):
        Target.parse(text)


def test_what_this_runtime_loads_is_what_the_table_says() -> None:
    minor = int(onnxruntime.__version__.split(".")[1])
    target = Target.parse(f"1.{min(minor, 32)}")
    proto = model(node("Relu", "x"), opset=target.opset, ir=target.ir_version)
    assert len(answers(proto)) == 1
