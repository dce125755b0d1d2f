"""ONNX models from somebody who means harm, each with one thing that must not reach the runtime. All are small files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import FLOAT, model

X = {"x": (FLOAT, [4])}
Y = {"y": (FLOAT, [4])}
SECRET = b"SECRETSE" * 64


def outside(location: str, dims: Sequence[int] = (4,), elem_type: int = FLOAT, **entries: Any) -> TensorProto:
    """A weight that says it lies in another file."""
    tensor = TensorProto(name="w", data_type=elem_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def adds(tensor: TensorProto) -> onnx.ModelProto:
    """x plus a weight."""
    return model([helper.make_node("Add", ["x", tensor.name], ["y"], name="plus")], X, Y, [tensor])


def chained(*nodes: onnx.NodeProto, weights: Sequence[TensorProto] = (), **fields: Any) -> onnx.ModelProto:
    return model(nodes, X, Y, weights, **fields)


def numbers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def branch(nodes: Sequence[onnx.NodeProto], output: str, weights: Sequence[TensorProto] = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(output, FLOAT, None)], list(weights))


def chosen(then: onnx.GraphProto) -> onnx.ModelProto:
    """An If with the given branch, and one that does nothing."""
    other = branch([helper.make_node("Identity", ["x"], ["e"])], "e")
    yes = numpy_helper.from_array(np.array(True), "yes")
    return chained(helper.make_node("If", ["yes"], ["y"], name="choice", then_branch=then, else_branch=other), weights=[yes])


def sparse(values: TensorProto, dims: Sequence[int]) -> onnx.SparseTensorProto:
    values.name = "w"
    return helper.make_sparse_tensor(values, numbers("places", *range(values.dims[0])), list(dims))


def sparse_weight(values: TensorProto, dims: Sequence[int] = (4,)) -> onnx.ModelProto:
    proto = chained(helper.make_node("Add", ["x", "w"], ["y"]))
    proto.graph.sparse_initializer.append(sparse(values, dims))
    return proto


def sparse_constant(values: TensorProto) -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["c"], name="hidden", sparse_value=sparse(values, (4,)))
    return chained(constant, helper.make_node("Add", ["x", "c"], ["y"]))


def constant(tensor: TensorProto) -> onnx.ModelProto:
    return chained(helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Add", ["x", "c"], ["y"]))


def in_branch(tensor: TensorProto) -> onnx.ModelProto:
    return chosen(branch([helper.make_node("Add", ["x", "w"], ["t"])], "t", [tensor]))


def in_nested_branch(tensor: TensorProto) -> onnx.ModelProto:
    inner = branch([helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Add", ["x", "c"], ["i"])], "i")
    other = branch([helper.make_node("Identity", ["x"], ["j"])], "j")
    return chosen(branch([helper.make_node("If", ["yes"], ["t"], then_branch=inner, else_branch=other)], "t"))


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    """A function of v that gives out."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    return helper.make_function("ours", name, ["v"], ["out"], nodes, opsets)


def calls(name: str, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    proto = chained(helper.make_node(name, ["x"], ["y"], domain="ours"), functions=functions)
    proto.opset_import.append(helper.make_opsetid("ours", 1))
    return proto


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    return calls("F", function("F", constant, helper.make_node("Add", ["v", "c"], ["out"])))


def in_function_default(tensor: TensorProto) -> onnx.ModelProto:
    """The default of an attribute of a function."""
    proto = calls("F", function("F", helper.make_node("Identity", ["v"], ["out"])))
    proto.functions[0].attribute_proto.append(helper.make_attribute("w", tensor))
    return proto


def in_training(tensor: TensorProto) -> onnx.ModelProto:
    proto = chained(helper.make_node("Identity", ["x"], ["y"]))
    proto.training_info.add().algorithm.initializer.append(tensor)
    return proto


def in_a_lying_attribute(tensor: TensorProto) -> onnx.ModelProto:
    """The attribute says that it is a number, and holds a tensor all the same."""
    proto = constant(tensor)
    proto.graph.node[0].attribute[0].type = onnx.AttributeProto.FLOAT
    return proto


HIDING_PLACES: dict[str, Callable[[TensorProto], onnx.ModelProto]] = {
    "weight": adds,
    "constant": constant,
    "branch": in_branch,
    "nested branch": in_nested_branch,
    "function": in_function,
    "default of a function": in_function_default,
    "training": in_training,
    "lying attribute": in_a_lying_attribute,
    "sparse weight": sparse_weight,
    "sparse constant": sparse_constant,
}


def nested(depth: int) -> onnx.ModelProto:
    """An If within an If, and so on."""
    graph = branch([helper.make_node("Identity", ["x"], ["o"])], "o")
    for at in range(depth - 1):
        other = branch([helper.make_node("Identity", ["x"], [f"e{at}"])], f"e{at}")
        inner = helper.make_node("If", ["yes"], [f"o{at}"], then_branch=graph, else_branch=other)
        graph = branch([inner], f"o{at}")
    return chosen(graph)


def laughs(depth: int) -> onnx.ModelProto:
    """Functions that each call the one before four times."""
    functions = [function("F0", helper.make_node("Abs", ["v"], ["out"]))]
    for at in range(1, depth):
        names = pairwise(["v", "a", "b", "c", "out"])
        functions.append(function(f"F{at}", *(helper.make_node(f"F{at - 1}", [x], [y], domain="ours") for x, y in names)))
    return calls(f"F{depth - 1}", *functions)


def deep_calls(depth: int) -> onnx.ModelProto:
    functions = [function("F0", helper.make_node("Abs", ["v"], ["out"]))]
    functions += [function(f"F{at}", helper.make_node(f"F{at - 1}", ["v"], ["out"], domain="ours")) for at in range(1, depth)]
    return calls(f"F{depth - 1}", *functions)


def mutual_calls() -> onnx.ModelProto:
    ping = function("Ping", helper.make_node("Pong", ["v"], ["out"], domain="ours"))
    return calls("Ping", ping, function("Pong", helper.make_node("Ping", ["v"], ["out"], domain="ours")))


def many_nodes(count: int) -> onnx.ModelProto:
    names = ["x", *(f"t{at}" for at in range(count - 1)), "y"]
    return chained(*(onnx.NodeProto(op_type="Abs", input=[a], output=[b]) for a, b in pairwise(names)))


def many_branches(count: int) -> onnx.ModelProto:
    """Ifs side by side."""

    def choice(at: int) -> onnx.NodeProto:
        then, other = (branch([helper.make_node("Identity", ["x"], [f"{name}{at}"])], f"{name}{at}") for name in "te")
        return helper.make_node("If", ["yes"], [f"c{at}"], then_branch=then, else_branch=other)

    yes = numpy_helper.from_array(np.array(True), "yes")
    return chained(*map(choice, range(count)), helper.make_node("Abs", ["c0"], ["y"]), weights=[yes])


def cycle() -> onnx.ModelProto:
    return chained(
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("Abs", ["b"], ["y"]),
    )


def loop(turns: str, condition: str, still: Sequence[onnx.NodeProto], weights: Sequence[TensorProto] = ()) -> onnx.ModelProto:
    """A Loop that doubles v; `still` makes its condition, named co, of ci."""
    body = helper.make_graph(
        [*still, helper.make_node("Add", ["v", "v"], ["vo"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("ci", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [helper.make_tensor_value_info("co", TensorProto.BOOL, None), helper.make_tensor_value_info("vo", FLOAT, None)],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("Loop", [turns, condition, "x"], ["y"], name="spin", body=body)
    return chained(node, weights=[yes, *weights])


SAME = (helper.make_node("Identity", ["ci"], ["co"]),)
TRUE = (helper.make_node("Constant", [], ["co"], value=numpy_helper.from_array(np.array(True), "")),)
ENDLESS: dict[str, Callable[[], onnx.ModelProto]] = {
    "condition handed on": lambda: loop("", "yes", SAME),
    "no condition": lambda: loop("", "", SAME),
    "condition made true": lambda: loop("", "yes", TRUE),
    "condition from outside": lambda: loop("", "yes", [helper.make_node("Identity", ["yes"], ["co"])]),
    "turns without end": lambda: loop("many", "yes", SAME, [numpy_helper.from_array(np.array(2**63 - 1, np.int64), "many")]),
    "in a branch": lambda: chosen(
        branch([helper.make_node("Identity", ["x"], ["v0"]), *loop("", "yes", SAME).graph.node], "y")
    ),
}


def _small(node: onnx.NodeProto, *more: onnx.NodeProto, weights: Sequence[TensorProto] = ()) -> onnx.ModelProto:
    """A node that makes `big` of x, and the sum of it."""
    total = helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0)
    return chained(*more, node, total, helper.make_node("Add", ["x", "total"], ["y"]), weights=weights)


def computed(name: str, *values: int) -> list[onnx.NodeProto]:
    """A shape that is computed, so that inference may not tell it: twice the half."""
    half = helper.make_node("Constant", [], [f"{name}/half"], value=numbers("", *(value // 2 for value in values)))
    return [half, helper.make_node("Add", [f"{name}/half", f"{name}/half"], [name])]


def _one_hot() -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["x"], ["places"], to=TensorProto.INT64)
    node = helper.make_node("OneHot", ["places", "depth", "values"], ["big"], name="bomb")
    values = numpy_helper.from_array(np.array([0, 1], np.float32), "values")
    return _small(node, cast, weights=[numbers("depth", 1 << 30), values])


def _from_rank(op: str, *inputs: str, weights: Sequence[TensorProto] = ()) -> onnx.ModelProto:
    image = helper.make_node("Reshape", ["x", "image"], ["pixels"])
    node = helper.make_node(op, ["pixels", *inputs], ["big"], name="bomb")
    return _small(node, image, weights=[numbers("image", 1, 1, 2, 2), *weights])


BOMBS: dict[str, Callable[[], onnx.ModelProto]] = {
    "Expand": lambda: _small(helper.make_node("Expand", ["x", "s"], ["big"], name="bomb"), weights=[numbers("s", 1 << 28, 4)]),
    "Expand of a computed shape": lambda: _small(
        helper.make_node("Expand", ["x", "s"], ["big"], name="bomb"), *computed("s", 1 << 28, 4)
    ),
    "ConstantOfShape": lambda: _small(
        helper.make_node("ConstantOfShape", ["s"], ["big"], name="bomb"), weights=[numbers("s", 1 << 20, 1 << 16)]
    ),
    "ConstantOfShape of a computed shape": lambda: _small(
        helper.make_node("ConstantOfShape", ["s"], ["big"], name="bomb"), *computed("s", 1 << 20, 1 << 16)
    ),
    "Tile": lambda: _small(helper.make_node("Tile", ["x", "s"], ["big"], name="bomb"), weights=[numbers("s", 1 << 28)]),
    "Tile by a computed number": lambda: _small(
        helper.make_node("Tile", ["x", "s"], ["big"], name="bomb"), *computed("s", 1 << 28)
    ),
    "Pad": lambda: _small(helper.make_node("Pad", ["x", "s"], ["big"], name="bomb"), weights=[numbers("s", 0, 1 << 30)]),
    "Pad by a computed number": lambda: _small(
        helper.make_node("Pad", ["x", "s"], ["big"], name="bomb"), *computed("s", 0, 1 << 30)
    ),
    "OneHot": _one_hot,
    "Resize to sizes": lambda: _from_rank("Resize", "", "", "s", weights=[numbers("s", 1, 1, 1 << 15, 1 << 15)]),
    "Resize by scales": lambda: _from_rank(
        "Resize", "", "s", weights=[numpy_helper.from_array(np.array([1, 1, 1e5, 1e5], np.float32), "s")]
    ),
    "matrix product": lambda: chained(
        helper.make_node("Tile", ["x", "n"], ["long"]),
        helper.make_node("Unsqueeze", ["long", "one"], ["column"]),
        helper.make_node("Unsqueeze", ["long", "zero"], ["row"]),
        helper.make_node("MatMul", ["column", "row"], ["big"], name="bomb"),
        helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0),
        helper.make_node("Add", ["x", "total"], ["y"]),
        weights=[numbers("n", 1 << 14), numbers("one", 1), numbers("zero", 0)],
    ),
    "in a branch": lambda: chosen(
        branch(
            [
                *computed("s", 1 << 28, 4),
                helper.make_node("Expand", ["x", "s"], ["big"], name="bomb"),
                helper.make_node("ReduceSum", ["big"], ["t"], keepdims=0),
            ],
            "t",
        )
    ),
    "in a function": lambda: calls(
        "F",
        function(
            "F",
            *computed("s", 1 << 28, 4),
            helper.make_node("Expand", ["v", "s"], ["big"], name="bomb"),
            helper.make_node("ReduceSum", ["big"], ["out"], keepdims=0),
        ),
    ),
}


def in_range() -> onnx.ModelProto:
    """A Range as long as computed integers say."""
    nodes = computed("end", 1 << 30)
    nodes += [
        helper.make_node("Squeeze", ["end"], ["limit"]),
        helper.make_node("Range", ["zero", "limit", "one"], ["big"], name="bomb"),
    ]
    nodes += [
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["total"], to=FLOAT),
    ]
    scalars = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in (("zero", 0), ("one", 1))]
    return chained(*nodes, helper.make_node("Add", ["x", "total"], ["y"]), weights=scalars)


BOMBS["Range"] = in_range


def with_files(folder: Path) -> Path:
    """A model folder with weights, beside a file that is none of its business, and links of both kinds to that.

    Returns:
        The folder.
    """
    (folder / "secret.bin").write_bytes(SECRET)
    home = folder / "model"
    (home / "sub").mkdir(parents=True)
    (home / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    (home / "sub" / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    (home / "sym.bin").symlink_to(folder / "secret.bin")
    (home / "symsub").symlink_to(folder)
    (home / "inner.bin").symlink_to(home / "w.bin")
    os.link(folder / "secret.bin", home / "hard.bin")
    os.mkfifo(home / "pipe.bin")
    return home
