"""Functions written out: the runtime gives the answers of the model with functions, and the graph inside can be seen."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from splitinfer.build.functions import inline
from splitinfer.errors import UnsupportedModel

X = np.random.default_rng(5).standard_normal((2, 4)).astype(np.float32)


def answers(proto: onnx.ModelProto, **more: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"x": X, **more})]


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    new = onnx.ModelProto()
    new.CopyFrom(proto)
    inline(new)
    return new


def assert_same_when_inlined(proto: onnx.ModelProto, **more: Any) -> onnx.ModelProto:
    new = inlined(proto)
    onnx.checker.check_model(new, full_check=True)
    for ours, theirs in zip(answers(new, **more), answers(proto, **more), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert inlined(proto) == new
    return new


def one(function: str, call: str = "y = a.F(x)", imports: str = '"" : 17, "a" : 1') -> onnx.ModelProto:
    """A model with one call, and the functions it needs."""
    return parser.parse_model(
        f"<ir_version: 10, opset_import: [{imports}]> net (float[2,4] x) => (float[a,b] y) {{ {call} }} {function}"
    )


def kinds(graph: onnx.GraphProto) -> list[str]:
    return [node.op_type for node in graph.node]


SWISH = '<domain: "a", opset_import: ["" : 17]> F (v) => (o) { s = Sigmoid(v) o = Mul(v, s) }'


def test_two_calls_do_not_share_names() -> None:
    new = assert_same_when_inlined(one(SWISH, "t = a.F(x) y = a.F(t)"))
    assert [list(node.output) for node in new.graph.node] == [["t/s"], ["t"], ["y/s"], ["y"]]
    assert not new.functions


def test_a_name_that_is_taken_gets_a_number() -> None:
    proto = one(SWISH, "n = Neg(x) t = a.F(n) y = Add(t, n)")
    for node in proto.graph.node:
        for field in (node.input, node.output):
            field[:] = ["t/s" if name == "n" else name for name in field]
    new = assert_same_when_inlined(proto)
    assert new.graph.node[1].output[0] == "t/s_2"


NESTED = """
<domain: "a", opset_import: ["" : 17, "b" : 1]>
F <alpha: float = 0.5> (v) => (o) { u = b.G <alpha: float = @alpha> (v)  o = Add(u, v) }
<domain: "b", opset_import: ["" : 17]>
G <alpha> (v) => (o) { o = LeakyRelu <alpha: float = @alpha> (v) }
"""


@pytest.mark.parametrize("call", ["y = a.F(x)", "y = a.F<alpha = 0.25>(x)", "y = b.G<alpha = 0.125>(x)", "y = b.G(x)"])
def test_attributes_reach_nested_functions_and_so_do_their_defaults(call: str) -> None:
    new = assert_same_when_inlined(one(NESTED, call, '"" : 17, "a" : 1, "b" : 1'))
    assert "LeakyRelu" in kinds(new.graph)


BRANCHES = """
<domain: "a", opset_import: ["" : 17, "b" : 1]>
F (v, c) => (o) {
  u = Exp(v)
  o = If (c) <then_branch = yes () => (q) { k = Neg(u) q = Add(k, v) }, else_branch = no () => (r) { r = b.G(u) }>
}
<domain: "b", opset_import: ["" : 17]>
G (v) => (o) { k = Sqrt(v) o = Mul(k, k) }
"""


@pytest.mark.parametrize("choice", [True, False])
def test_bodies_in_functions_and_calls_in_bodies(choice: bool) -> None:
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 17, "a" : 1, "b" : 1]> '
        "net (float[2,4] x, bool c) => (float[p,q] y) { t = a.F(x, c) y = a.F(t, c) }" + BRANCHES
    )
    new = assert_same_when_inlined(proto, c=np.array(choice))
    assert kinds(new.graph) == ["Exp", "If", "Exp", "If"]
    assert not new.functions


def test_what_a_call_leaves_out_is_left_out_inside() -> None:
    clip = '<domain: "a", opset_import: ["" : 17]> F (v, low, high) => (o) { o = Clip(v, low, high) }'
    assert_same_when_inlined(one(clip))
    two = '<domain: "a", opset_import: ["" : 17]> F (v) => (o, w) { o = Neg(v) w = Neg(o) }'
    np.testing.assert_array_equal(answers(inlined(one(two)))[0], -X)


def test_an_output_that_is_an_input() -> None:
    passes = '<domain: "a", opset_import: ["" : 17]> F (v) => (v, o) { o = Neg(v) }'
    new = inlined(one(passes, "p, n = a.F(x) y = Add(p, n)"))
    np.testing.assert_array_equal(answers(new)[0], np.zeros_like(X))


def test_a_domain_that_only_a_function_imports_is_imported_by_the_model() -> None:
    contrib = '<domain: "a", opset_import: ["" : 17, "com.microsoft" : 1]> F (v) => (o) { o = com.microsoft.Gelu(v) }'
    new = assert_same_when_inlined(one(contrib))
    assert {opset.domain for opset in new.opset_import} == {"", "a", "com.microsoft"}


def test_a_function_beside_an_operator_of_the_runtime_stays() -> None:
    shadow = '<domain: "com.microsoft", opset_import: ["" : 17]> Gelu (v) => (o) { o = Neg(v) }'
    proto = one(shadow, "y = com.microsoft.Gelu(x)", '"" : 17, "com.microsoft" : 1')
    assert assert_same_when_inlined(proto) == proto
    assert not np.allclose(answers(proto)[0], -X)  # the runtime does not use the function


def test_a_function_that_calls_a_kept_one_is_written_out_and_keeps_it() -> None:
    both = """
    <domain: "a", opset_import: ["" : 17, "com.microsoft" : 1]> F (v) => (o) { u = com.microsoft.Gelu(v) o = Exp(u) }
    <domain: "com.microsoft", opset_import: ["" : 17]> Gelu (v) => (o) { o = Neg(v) }
    """
    new = assert_same_when_inlined(one(both, imports='"" : 17, "a" : 1, "com.microsoft" : 1'))
    assert kinds(new.graph) == ["Gelu", "Exp"]
    assert [function.name for function in new.functions] == ["Gelu"]


def test_a_function_of_another_opset_is_written_out_where_that_means_the_same() -> None:
    relu = '<domain: "a", opset_import: ["" : 13]> F (v) => (o) { r = Relu(v) o = Add(r, v) }'
    assert kinds(assert_same_when_inlined(one(relu)).graph) == ["Relu", "Add"]


def test_a_function_of_another_opset_stays_where_that_would_mean_something_else() -> None:
    softmax = '<domain: "a", opset_import: ["" : 11]> F (v) => (o) { o = Softmax <axis = 0> (v) }'
    assert inlined(one(softmax)) == one(softmax)


def test_a_function_that_calls_itself_is_refused() -> None:
    endless = '<domain: "a", opset_import: ["" : 17, "a" : 1]> F (v) => (o) { u = a.F(v) o = Exp(u) }'
    with pytest.raises(UnsupportedModel, match="calls itself"):
        inlined(one(endless))


def test_functions_of_one_name_are_told_apart_by_overload() -> None:
    proto = one(SWISH, "t = a.F(x) y = a.F(t)")
    second = proto.functions.add()
    second.CopyFrom(proto.functions[0])
    second.overload = "second"
    second.node[0].op_type = "Tanh"
    proto.graph.node[1].overload = "second"
    assert kinds(inlined(proto).graph) == ["Sigmoid", "Mul", "Tanh", "Mul"]


def test_weights_are_not_touched(tmp_path: Path) -> None:
    proto = one('<domain: "a", opset_import: ["" : 17]> F (v, w) => (o) { m = MatMul(v, w) o = Relu(m) }', "y = a.F(x, w)")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3), np.float32), "w"))
    expected = answers(proto)
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    outside = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    before = outside.graph.initializer[0].SerializeToString()
    inline(outside)
    assert outside.graph.initializer[0].SerializeToString() == before
    onnx.load_external_data_for_model(outside, str(tmp_path))
    np.testing.assert_array_equal(answers(outside)[0], expected[0])


def test_a_model_without_functions_keeps_its_bytes() -> None:
    proto = one("", "y = Exp(x)", '"" : 17')
    assert inlined(proto).SerializeToString() == proto.SerializeToString()
