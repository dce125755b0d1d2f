"""Which boundaries are kept: the frontier, all, or named ones; and what they are called."""

from __future__ import annotations

import onnx
import pytest

from splitinfer.build import cuts
from splitinfer.build.boundaries import Order, orders
from splitinfer.build.graph import Graph
from splitinfer.build.load import content_hash, simplify
from splitinfer.errors import InvalidCut
from tests import models


def found(proto: onnx.ModelProto) -> tuple[tuple[Order, ...], str]:
    simplify(proto)
    return orders(Graph.of(proto)), content_hash(proto)


@pytest.mark.parametrize("name", ["b", "b_relu"])
def test_a_tensor_or_the_node_that_makes_it_names_a_cut(name):
    options, digest = found(models.chain())
    assert [boundary.live for boundary in cuts.named(options, [name], digest).boundaries] == [("x",), ("b",), ()]


def test_a_friendly_name_or_an_id_names_a_cut():
    options, digest = found(models.residual())
    for name in ("b+d", cuts.cut_id(digest, ("d", "b"))):
        assert cuts.named(options, [name], digest).boundaries[1].live == ("b", "d")


def test_a_tensor_inside_a_block_cuts_after_the_node_that_makes_it():
    options, digest = found(models.residual())
    assert cuts.named(options, ["d"], digest).boundaries[1].live == ("b", "d")


def test_cuts_come_in_the_order_of_the_graph():
    options, digest = found(models.chain())
    assert [boundary.live for boundary in cuts.named(options, ["d", "b", "b"], digest).boundaries[1:-1]] == [("b",), ("d",)]


def test_an_unknown_name_is_refused_with_those_that_are_close():
    options, digest = found(models.chain())
    with pytest.raises(InvalidCut, match=r"'b_rely'.*did you mean 'b_relu'"):
        cuts.named(options, ["b_rely"], digest)
    for end in (options[0].graph.inputs[0], options[0].graph.outputs[0]):
        with pytest.raises(InvalidCut, match=f"{end}.*are always there"):
            cuts.named(options, [end], digest)


def test_a_named_cut_that_cannot_be_offered_is_refused_with_the_reason():
    proto = models.chain()
    simplify(proto)
    options = orders(Graph.of(proto), hidden={"a"})
    with pytest.raises(InvalidCut, match="'a': it lies inside the image preprocessing"):
        cuts.named(options, ["a"], content_hash(proto), hidden={"a"})


def test_an_id_belongs_to_the_live_set_and_the_model():
    assert cuts.cut_id("m", ("a", "b")) == cuts.cut_id("m", ("b", "a"))
    assert len({cuts.cut_id("m", ("a",)), cuts.cut_id("n", ("a",)), cuts.cut_id("m", ("a", "b"))}) == 3


def test_all_keeps_what_can_be_offered():
    options, _ = found(models.chain())
    assert len(cuts.everything(options).boundaries) == len(options[0].boundaries)
