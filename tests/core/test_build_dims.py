"""What is computed from static dimensions becomes a weight; what is dynamic stays dynamic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build.shapes import fold_shapes
from tests import hostile_models as hostile
from tests import models
from tests.models import FLOAT

INT64 = TensorProto.INT64
node = helper.make_node


def numbers(name: str, values: object, dtype: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def shape_model(
    nodes: Sequence[onnx.NodeProto],
    dims: Sequence[int | str],
    weights: Sequence[TensorProto] = (),
    opset: int = 17,
    outputs: Mapping[str, tuple[int, None]] | None = None,
) -> onnx.ModelProto:
    return models.model(nodes, {"x": (FLOAT, dims)}, outputs or {"y": (FLOAT, None)}, weights, opset=opset)


def folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    after = onnx.ModelProto()
    after.CopyFrom(proto)
    fold_shapes(after)
    return after


def ops(proto: onnx.ModelProto) -> list[str]:
    return [step.op_type for step in proto.graph.node]


def run(proto: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto, *shapes: Sequence[int]) -> None:
    for shape in shapes:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for one, other in zip(run(before, x), run(after, x), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def flattened(dims: Sequence[int | str]) -> onnx.ModelProto:
    """Shape, Gather, Unsqueeze, Concat, Reshape, as exporters write it."""
    nodes = [node("Relu", ["x"], ["r"]), node("Shape", ["r"], ["s"])]
    nodes += [node("Gather", ["s", f"at{i}"], [f"d{i}"]) for i in (0, 1)]
    nodes += [node("Unsqueeze", [f"d{i}", "zero"], [f"u{i}"]) for i in (0, 1)]
    nodes += [node("Concat", ["u0", "u1", "rest"], ["target"], axis=0), node("Reshape", ["r", "target"], ["y"])]
    weights = [numbers("at0", 0), numbers("at1", 1), numbers("zero", [0]), numbers("rest", [-1])]
    return shape_model(nodes, dims, weights)


def test_a_static_chain_becomes_one_weight() -> None:
    before = flattened([2, 3, 4, 5])
    after = folded(before)
    assert ops(after) == ["Relu", "Reshape"]
    assert [tensor.name for tensor in after.graph.initializer] == ["target"]
    assert numpy_helper.to_array(after.graph.initializer[0]).tolist() == [2, 3, -1]
    assert_same(before, after, (2, 3, 4, 5))


def test_of_a_dynamic_chain_only_the_static_part_goes() -> None:
    before = flattened(["N", 3, "H", "W"])
    after = folded(before)
    assert ops(after) == ["Relu", "Shape", "Gather", "Unsqueeze", "Concat", "Reshape"]
    assert "u1" in {tensor.name for tensor in after.graph.initializer}
    assert_same(before, after, (1, 3, 4, 5), (2, 3, 1, 7))


@pytest.mark.parametrize("dims", [["N", "C", "H", "W"], [None, None, None, None], [0, -1, 0, 0]])
def test_nothing_dynamic_is_frozen(dims: Sequence[int | str]) -> None:
    before = flattened(dims)
    after = folded(before)
    assert ops(after) == ops(before)


def test_folding_twice_changes_nothing_more_and_gives_the_same_bytes() -> None:
    one, other = folded(flattened(["N", 3, 4, "W"])), folded(flattened(["N", 3, 4, "W"]))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    assert folded(one) == one


def test_what_the_file_says_of_inner_tensors_and_outputs_is_not_believed() -> None:
    proto = flattened(["N", "C", 4, 5])
    proto.graph.value_info.append(helper.make_tensor_value_info("r", FLOAT, [7, 7, 4, 5]))
    proto.graph.value_info.append(helper.make_tensor_value_info("target", INT64, [9]))
    proto.graph.output.append(helper.make_tensor_value_info("r", FLOAT, [7, 7, 4, 5]))
    after = folded(proto)
    assert ops(after) == ops(proto)


def test_an_output_keeps_its_node() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "at"], ["y"]),
        node("Mul", ["y", "y"], ["z"]),
        node("Neg", ["z"], ["w"]),
    ]
    outputs = {"y": (INT64, None), "w": (INT64, None)}
    before = shape_model(nodes, [2, 3], [numbers("at", 1)], outputs=outputs)
    after = folded(before)
    assert ops(after) == ["Gather", "Neg"]
    assert_same(before, after, (2, 3))


def test_more_than_a_shape_is_no_shape() -> None:
    data = numbers("data", np.arange(65))
    nodes = [node("Add", ["data", "data"], ["d"]), node("Cast", ["d"], ["f"], to=FLOAT), node("Add", ["x", "f"], ["y"])]
    assert ops(folded(shape_model(nodes, ["N", 65], [data]))) == ["Add", "Cast", "Add"]


def test_a_weight_in_another_file_is_not_read() -> None:
    tensor = hostile.outside("absent.bin", dims=(2,), elem_type=INT64)
    nodes = [node("Add", ["w", "w"], ["target"]), node("Reshape", ["x", "target"], ["y"])]
    proto = shape_model(nodes, [2, 3], [tensor])
    fold_shapes(proto)
    assert ops(proto) == ["Add", "Reshape"]


def test_the_shape_of_a_large_weight_is_known() -> None:
    nodes = [node("Shape", ["w"], ["s"]), node("Reshape", ["x", "s"], ["y"])]
    before = shape_model(nodes, ["N", "M"], [models.weight("w", 100, 20)])
    after = folded(before)
    assert [tensor.name for tensor in after.graph.initializer] == ["s"]
    assert_same(before, after, (50, 40))


def test_bodies_read_what_was_folded() -> None:
    proto = hostile.chosen(hostile.branch([node("Reshape", ["x", "s"], ["t"])], "t"))
    proto.graph.node.insert(0, node("Shape", ["x"], ["s"]))
    after = folded(proto)
    assert ops(after) == ["If"]
    assert {tensor.name for tensor in after.graph.initializer} == {"yes", "s"}
    assert_same(proto, after, (4,))


def test_the_state_of_a_loop_has_no_static_shape() -> None:
    """Without a turn the loop hands on what it began with: another shape than its body makes."""
    proto = hostile.loop("turns", "", [node("Identity", ["ci"], ["co"])], [numbers("turns", 0)])
    body = proto.graph.node[0].attribute[0].g
    del body.node[-1]
    body.node.append(node("Constant", [], ["vo"], value=numbers("", [1, 2, 3, 4, 5], np.float32)))
    body.output[1].type.tensor_type.shape.dim.add().dim_value = 5
    body.input[2].type.tensor_type.shape.dim.add().dim_value = 5
    proto.graph.node[0].output[0] = "state"
    proto.graph.node.extend([node("Shape", ["state"], ["s"]), node("Cast", ["s"], ["y"], to=FLOAT)])
    after = folded(proto)
    assert run(after, np.zeros(4, np.float32))[0].tolist() == [4.0]


def test_branches_of_different_shape_have_none() -> None:
    proto = hostile.chosen(hostile.branch([node("Concat", ["x", "x"], ["t"], axis=0)], "t"))
    proto.graph.node[0].output[0] = "chosen"
    proto.graph.node.extend([node("Shape", ["chosen"], ["s"]), node("Cast", ["s"], ["y"], to=FLOAT)])
    assert_same(proto, folded(proto), (4,))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling_that_rounds_up_is_not_trusted(op: str) -> None:
    """Inference says 4 here (onnx 1.23), the runtime makes 3."""
    pool = node(op, ["x"], ["p"], kernel_shape=[2], strides=[4], pads=[1, 1], ceil_mode=1)
    nodes = [pool, node("Shape", ["p"], ["s"]), node("Cast", ["s"], ["y"], to=FLOAT)]
    before = shape_model(nodes, [1, 1, 11])
    assert_same(before, folded(before), (1, 1, 11))
    function = helper.make_function("ours", "Pool", ["x"], ["p"], [pool], [helper.make_opsetid("", 17)])
    called = models.model(
        [node("Pool", ["x"], ["p"], domain="ours"), *nodes[1:]],
        {"x": (FLOAT, [1, 1, 11])},
        {"y": (FLOAT, None)},
        functions=[function],
    )
    called.opset_import.append(helper.make_opsetid("ours", 1))
    assert_same(called, folded(called), (1, 1, 11))


def test_a_slice_that_goes_backwards_to_a_far_end_is_not_trusted() -> None:
    """The standard makes nothing of it, the runtime takes all."""
    bounds = [numbers("start", [2]), numbers("end", [2**63 - 1]), numbers("axis", [0]), numbers("step", [-1])]
    for source in (["x", "c"], ["s", "c"]):
        nodes = [node("Shape", ["x"], ["s"]), node("Slice", [source[0], "start", "end", "axis", "step"], ["c"])]
        nodes += [node("Shape", ["c"], ["v"]), node("Cast", ["v"], ["y"], to=FLOAT)]
        before = shape_model(nodes, [3, 4, 5], bounds)
        assert_same(before, folded(before), (3, 4, 5))


def test_a_picture_that_is_flipped_keeps_its_shape() -> None:
    bounds = [numbers("start", [-1]), numbers("end", [-(2**63)]), numbers("axis", [1]), numbers("step", [-1])]
    nodes = [node("Slice", ["x", "start", "end", "axis", "step"], ["c"]), node("Shape", ["c"], ["v"])]
    before = shape_model([*nodes, node("Cast", ["v"], ["y"], to=FLOAT)], [1, 3, 5], bounds)
    after = folded(before)
    assert ops(after) == ["Cast"]
    assert_same(before, after, (1, 3, 5))


def test_an_operator_that_the_model_redefines_is_not_interpreted() -> None:
    function = helper.make_function("", "Size", ["v"], ["out"], [node("Shape", ["v"], ["out"])], [helper.make_opsetid("", 17)])
    nodes = [node("Size", ["x"], ["s"]), node("Reshape", ["x", "s"], ["y"])]
    proto = models.model(nodes, {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, None)}, functions=[function])
    fold_shapes(proto)
    assert ops(proto) == ["Size", "Reshape"]


@pytest.mark.parametrize(
    ("nodes", "weights", "value"),
    [
        ([node("Shape", ["x"], ["v"], start=1)], [], [3, 4]),
        ([node("Shape", ["x"], ["v"], start=-2, end=-1)], [], [3]),
        ([node("Shape", ["x"], ["v"], start=2, end=1)], [], []),
        ([node("Shape", ["x"], ["v"], start=-9, end=9)], [], [2, 3, 4]),
        ([node("Size", ["x"], ["v"])], [], 24),
        ([node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["v"])], [numbers("i", [[-1], [0]])], [[4], [2]]),
        (
            [node("Shape", ["x"], ["s"]), node("Slice", ["s", "i", "j", "", "k"], ["v"])],
            [numbers("i", [-1]), numbers("j", [-(2**63)]), numbers("k", [-1])],
            [4, 3, 2],
        ),
        (
            [node("Shape", ["x"], ["s"]), node("Slice", ["s", "i", "j"], ["v"])],
            [numbers("i", [1]), numbers("j", [2**63 - 1])],
            [3, 4],
        ),
        ([node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["v"], to=TensorProto.INT32)], [], [2, 3, 4]),
        ([node("Shape", ["x"], ["s"]), node("Div", ["s", "i"], ["v"])], [numbers("i", [-2])], [-1, -1, -2]),
        ([node("Shape", ["x"], ["s"]), node("Sub", ["i", "s"], ["v"])], [numbers("i", 3)], [1, 0, -1]),
        ([node("Shape", ["x"], ["s"]), node("Unsqueeze", ["s", "i"], ["v"])], [numbers("i", [0, -1])], [[[2], [3], [4]]]),
        ([node("Shape", ["x"], ["s"], end=1), node("Squeeze", ["s"], ["v"])], [], 2),
        ([node("Shape", ["x"], ["s"]), node("Reshape", ["s", "i"], ["v"])], [numbers("i", [-1, 1])], [[2], [3], [4]]),
        ([node("Constant", [], ["i"], value_ints=[2, 3]), node("Identity", ["i"], ["v"])], [], [2, 3]),
        ([node("Constant", [], ["i"], value_int=2), node("Identity", ["i"], ["v"])], [], 2),
    ],
)
def test_each_operator_is_computed_as_the_runtime_does(
    nodes: list[onnx.NodeProto], weights: list[TensorProto], value: object
) -> None:
    before = shape_model([*nodes, node("Cast", ["v"], ["y"], to=FLOAT)], [2, 3, 4], weights)
    after = folded(before)
    assert ops(after) == ["Cast"]
    assert numpy_helper.to_array(after.graph.initializer[0]).tolist() == value
    assert_same(before, after, (2, 3, 4))


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Div", ["s", "i"], ["v"])], [numbers("i", 0)]),
        ([node("Mul", ["s", "i"], ["v"])], [numbers("i", 2**62)]),
        ([node("Add", ["s", "i"], ["m"]), node("Cast", ["m"], ["v"], to=TensorProto.INT8)], [numbers("i", 200)]),
        ([node("Gather", ["s", "i"], ["v"])], [numbers("i", 3)]),
        ([node("Slice", ["s", "i", "i", "", "k"], ["v"])], [numbers("i", [0]), numbers("k", [0])]),
        ([node("Squeeze", ["s", "i"], ["v"])], [numbers("i", [0])]),
        ([node("Unsqueeze", ["s", "i"], ["v"])], [numbers("i", [0, 0])]),
        ([node("Add", ["s", "i"], ["v"])], [numbers("i", [1, 2])]),
        ([node("Neg", ["s"], ["v"])], []),
    ],
)
def test_what_has_no_certain_value_is_left_alone(nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> None:
    proto = shape_model([node("Shape", ["x"], ["s"]), *nodes, node("Cast", ["v"], ["y"], to=FLOAT)], [2, 3, 4], weights)
    fold_shapes(proto)
    assert any("v" in step.output for step in proto.graph.node)


def test_older_opsets_have_their_numbers_in_attributes() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s"], ["t"], starts=[1], ends=[3]),
        node("Slice", ["s"], ["u"], starts=[0], ends=[1], axes=[0]),
    ]
    nodes += [node("Squeeze", ["u"], ["q"], axes=[0]), node("Unsqueeze", ["q"], ["r"], axes=[0])]
    nodes += [node("Concat", ["t", "r"], ["v"], axis=0), node("Cast", ["v"], ["y"], to=FLOAT)]
    before = shape_model(nodes, [2, 3, 4], opset=9)
    after = folded(before)
    assert ops(after) == ["Cast"]
    assert_same(before, after, (2, 3, 4))


class _Chains:
    """Draws chains of shape arithmetic; keeps every integer tensor as something to build on and, cast, as an output."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes = [node("Relu", ["x"], ["r"]), node("Transpose", ["r"], ["t"]), node("Concat", ["r", "r"], ["c"], axis=1)]
        self.tensors = ["r", "t", "c"]
        self.weights: list[TensorProto] = []
        self.vectors: list[str] = []
        self.scalars: list[str] = []
        self.certain = True

    def weight(self, values: object) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numbers(name, values))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(node(op, list(inputs), [name], **attributes))
        return name

    def vector(self) -> str:
        return self.draw(st.sampled_from(self.vectors))

    def shape(self) -> None:
        start, end = self.draw(st.integers(-4, 4)), self.draw(st.none() | st.integers(-4, 4))
        attributes = {} if self.draw(st.booleans()) else {"start": start} | ({} if end is None else {"end": end})
        self.vectors.append(self.add("Shape", self.draw(st.sampled_from(self.tensors)), **attributes))

    def slice(self) -> None:
        step = self.draw(st.sampled_from([-2, -1, 1, 2]))
        far = [-(2**63), 2**63 - 1] if step > 0 else [-(2**63)]  # the runtime itself fails backwards to a far end
        bounds = st.integers(-5, 5) | st.sampled_from(far)
        self.certain = self.certain and step > 0
        inputs = [self.weight([number]) for number in (self.draw(bounds), self.draw(bounds), 0, step)]
        self.vectors.append(self.add("Slice", self.vector(), *inputs))

    def gather(self) -> None:
        # One element is gathered of a vector of which it is certain that it has one.
        whole = self.add("Concat", self.vector(), self.weight([7]), axis=0)
        self.scalars.append(self.add("Gather", whole, self.weight(self.draw(st.sampled_from([-1, 0])))))

    def raise_scalar(self) -> None:
        if self.scalars:
            self.vectors.append(self.add("Unsqueeze", self.draw(st.sampled_from(self.scalars)), self.weight([0])))

    def squeeze(self) -> None:
        if self.scalars:
            one = self.add("Unsqueeze", self.draw(st.sampled_from(self.scalars)), self.weight([0]))
            self.scalars.append(self.add("Squeeze", one))

    def concat(self) -> None:
        self.vectors.append(self.add("Concat", self.vector(), self.vector(), axis=0))

    def arithmetic(self) -> None:
        op = self.draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
        other = self.weight(self.draw(st.sampled_from([-3, 2, 5])))
        self.vectors.append(self.add(op, self.vector(), other))

    def together(self) -> None:
        if self.scalars:
            self.vectors.append(self.add("Add", self.vector(), self.draw(st.sampled_from(self.scalars))))

    def count(self) -> None:
        counted = self.draw(st.sampled_from(self.tensors + self.vectors))
        self.certain = self.certain and counted in self.tensors  # a vector may be empty, and 0 counts as open
        self.scalars.append(self.add("Size", counted))

    def cast(self) -> None:
        narrow = self.add("Cast", self.vector(), to=TensorProto.INT32)
        self.vectors.append(self.add("Cast", narrow, to=INT64))


@st.composite
def chains(draw: st.DrawFn) -> tuple[onnx.ModelProto, list[tuple[int, ...]], bool]:
    """A model of random shape arithmetic, some dimensions open, sizes to run it at, and whether all can be folded."""
    sizes = [draw(st.integers(1, 5)) for _ in range(3)]
    opened = [draw(st.booleans()) for _ in sizes]
    made = _Chains(draw)
    made.shape()
    steps = ["shape", "slice", "gather", "raise_scalar", "squeeze", "concat", "arithmetic", "together", "count", "cast"]
    for step in draw(st.lists(st.sampled_from(steps), min_size=2, max_size=12)):
        getattr(made, step)()
    ends = [made.add("Cast", name, to=FLOAT) for name in (*made.vectors, *made.scalars)]
    kept = draw(st.lists(st.sampled_from(ends), min_size=1, unique=True))
    dims = [f"D{at}" if is_open else size for at, (size, is_open) in enumerate(zip(sizes, opened, strict=True))]
    proto = shape_model(made.nodes, dims, made.weights, outputs=dict.fromkeys(kept, (FLOAT, None)))
    others = [
        tuple(size + more if is_open else size for size, is_open in zip(sizes, opened, strict=True)) for more in (0, 1, 3)
    ]
    return proto, others, made.certain and not any(opened)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(chains())
def test_folding_never_changes_the_answer(drawn: tuple[onnx.ModelProto, list[tuple[int, ...]], bool]) -> None:
    before, sizes, all_certain = drawn
    after = folded(before)
    assert_same(before, after, *sizes)
    if all_certain:
        assert set(ops(after)) == {"Cast"}
