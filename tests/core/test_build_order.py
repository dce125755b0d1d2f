"""Every order is topological, and each does what it is for."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.bench.traps.parts import constant, net, node, relu, row_net, value
from splitinfer.build.graph import Graph, Step
from splitinfer.build.order import topological_orders
from tests import models
from tests.cutting import graph_of

OPERATORS = ["Relu", "Shape", "Sum", "Split"]


@st.composite
def random_models(draw: st.DrawFn) -> onnx.ModelProto:
    """Nodes that read one to three earlier tensors; some look at shapes, some make two tensors."""
    made, nodes = ["x", "z"], []
    for at in range(draw(st.integers(1, 20))):
        op = draw(st.sampled_from(OPERATORS))
        rows = [name for name in made if not name.startswith("s")]
        many = 3 if op == "Sum" else 1
        reads = draw(st.lists(st.sampled_from(rows), min_size=1, max_size=many))
        makes = [f"{'s' if op == 'Shape' else 't'}{at}{end}" for end in ("ab" if op == "Split" else "a")]
        nodes.append(node(op, reads, makes))
        made += makes
    ends = [value(name, None) for name in made if name not in "xz"]
    return net(nodes, [value("x", "N 8"), value("z", "N 8")], ends)


def bare(proto: onnx.ModelProto) -> Graph:
    """The graph of a model of which no rule of ONNX is checked."""
    return Graph.of(proto)


def assert_topological(graph: Graph, order: tuple[Step, ...]) -> None:
    made = set(graph.inputs)
    for step in order:
        assert made.issuperset(step.reads)
        made.update(step.makes)
    assert len(order) == len(graph.steps)
    assert set(order) == set(graph.steps)


def names(order: tuple[Step, ...]) -> str:
    return " ".join(step.makes[0] for step in order)


def orders(graph: Graph, *reached: str) -> list[str]:
    return [names(order) for order in topological_orders(graph, reached)]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(random_models(), st.data())
def test_every_order_is_topological_whatever_is_to_be_reached_first(proto, data):
    graph = bare(proto)
    tensors = [name for step in graph.steps for name in step.makes]
    reached = data.draw(st.lists(st.sampled_from(tensors), max_size=3, unique=True))
    found = topological_orders(graph, reached)
    for order in found:
        assert_topological(graph, order)
    assert len(set(found)) == len(found) <= 4


@settings(derandomize=True, deadline=None, max_examples=30)
@given(random_models())
def test_the_same_model_has_the_same_orders(proto):
    again = onnx.ModelProto.FromString(proto.SerializeToString())
    assert orders(bare(proto)) == orders(bare(again))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(random_models())
def test_a_shape_stands_directly_behind_its_tensor(proto):
    """Between a tensor and the steps that look at it is nothing but what was made with it and others that look."""
    graph = bare(proto)
    for order in topological_orders(graph):
        looks = [step.node.op_type == "Shape" for step in order]
        place = {name: at for at, step in enumerate(order) for name in step.makes}
        for at, step in enumerate(order):
            if looks[at]:
                assert all(looks[place.get(step.reads[0], -1) + 1 : at])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(random_models(), st.data())
def test_a_tensor_is_reached_with_nothing_done_that_it_does_not_need(proto, data):
    """But a Shape that looks at what was made for it."""
    graph = bare(proto)
    wanted = data.draw(st.sampled_from([name for step in graph.steps for name in step.makes]))
    needed = needs(graph, wanted)
    for order in topological_orders(graph, [wanted]):
        head = order[: next(at for at, step in enumerate(order) if wanted in step.makes) + 1]
        assert all(step in needed or step.node.op_type == "Shape" for step in head)


def needs(graph: Graph, wanted: str) -> set[Step]:
    tensors, found = {wanted}, set()
    for step in reversed(graph.steps):
        if not tensors.isdisjoint(step.makes):
            tensors.update(step.reads)
            found.add(step)
    return found


def two_rivers() -> Graph:
    """Two chains that are written in turns and meet."""
    nodes = [node(op, x, y) for op, x, y in zip(["Relu", "Tanh"] * 3, ["x", "z", "a", "p", "b", "q"], "apbqcr", strict=True)]
    return graph_of(net([*nodes, node("Add", "c r", "y")], [value("x", "N 8"), value("z", "N 8")], [value("y", "N 8")]))


def test_the_first_order_is_that_of_the_file():
    assert orders(two_rivers())[0] == "a p b q c r y"


def test_breadth_first_takes_what_was_ready_first():
    nodes = [relu("x", "a"), relu("a", "b"), relu("b", "c"), relu("x", "p"), relu("p", "q"), node("Sum", "c q", "y")]
    found = orders(graph_of(row_net(nodes)))
    assert found[0] == "a b c p q y"
    assert found[-1] == "a p b q c y"


def test_depth_first_follows_the_newest_tensor_and_few_bytes_what_is_small():
    wide = [node("Concat", ["x"] * 9, "w", axis=1), node("ReduceMax", "w", "q", axes=[1])]
    nodes = [wide[0], relu("x", "p"), wide[1], node("Exp", "p", "r"), node("Sum", "x q r", "y")]
    assert orders(graph_of(row_net(nodes))) == ["w p q r y", "p r w q y", "w q p r y"]


def test_what_nobody_reads_takes_no_room():
    proto = row_net([relu("x", "p"), node("Concat", ["x"] * 9, "e", axis=1), node("Tanh", "p", "y")])
    proto.graph.output.append(value("e", "N 72"))
    assert orders(graph_of(proto))[1] == "e p y"


def test_a_tensor_takes_room_until_its_last_reader_is_done():
    nodes = [relu("x", "a"), node("Tanh", "x", "b"), node("ReduceMax", "a", "c", axes=[1]), node("Exp", "b", "d")]
    assert orders(graph_of(row_net([*nodes, node("Sum", "a c d", "y")])))[1] == "a b d c y"


def test_ties_go_to_the_newest_tensor():
    nodes = [relu("x", "a"), node("Exp", "x", "p"), relu("a", "b"), node("Exp", "p", "q"), node("Sum", "x b q", "y")]
    assert orders(graph_of(row_net(nodes)))[1] == "a b p q y"


def test_several_tensors_are_reached_one_after_the_other():
    found = orders(two_rivers(), "q", "c")
    assert all(order.startswith("p q a b c") for order in found)


def test_a_chain_has_one_order():
    assert orders(graph_of(models.chain())) == ["a b c d y_pooled y_flat y"]


def wide(branches: int) -> Graph:
    """Branches of two steps each; the first steps stand in front of all second ones."""
    heads = [node("Concat", ["x"] * 3, f"a{at}", axis=1) for at in range(branches)]
    ends = [node("ReduceMax", f"a{at}", f"b{at}", axes=[1], keepdims=0) for at in range(branches)]
    last = node("Sum", [f"b{at}" for at in range(branches)], "s")
    proto = row_net([*heads, *ends, last, node("Mul", "s half", "h"), node("Unsqueeze", "h one", "u"), node("Mul", "x u", "y")])
    proto.graph.initializer.extend([constant("half", 0.5), constant("one", [1])])
    return graph_of(proto)


@pytest.mark.parametrize("reached", [[], ["b50"]])
def test_a_graph_wider_than_the_look_ahead_is_put_in_order(reached):
    graph = wide(200)
    for order in topological_orders(graph, reached):
        assert_topological(graph, order)
    few = topological_orders(graph, reached)[1]
    place = {step.makes[0]: at for at, step in enumerate(few)}
    assert all(place[f"b{at}"] == place[f"a{at}"] + 1 for at in range(200))
    if reached:
        assert names(few).startswith("a50 b50")
