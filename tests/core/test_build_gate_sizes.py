"""What a model would make of small inputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from splitinfer.build import gate
from splitinfer.errors import UnsupportedModel
from tests import hostile_models as hostile
from tests import models
from tests.models import FLOAT


@pytest.mark.parametrize("which", hostile.BOMBS)
def test_a_bomb_is_refused_and_named(which: str) -> None:
    with pytest.raises(UnsupportedModel, match="bomb") as caught:
        gate.check_bytes(hostile.BOMBS[which]())
    assert "GiB" in str(caught.value)
    assert "shape [" in str(caught.value)


@pytest.mark.parametrize("which", hostile.BOMBS)
def test_what_is_below_the_limit_passes(which: str) -> None:
    gate.check_bytes(hostile.BOMBS[which](), limit_bytes=1 << 50)


def test_the_message_tells_shape_and_bytes() -> None:
    with pytest.raises(UnsupportedModel, match=r"Expand 'bomb' makes a tensor of the shape \[268435456, 4\], 4 GiB, and 2 GiB"):
        gate.check_bytes(hostile.BOMBS["Expand"]())


def test_open_dimensions_count_one() -> None:
    expand = helper.make_node("Expand", ["x", "shape"], ["y"])
    shape = numpy_helper.from_array(np.array([1, 1 << 20]), "shape")
    gate.check_bytes(models.model([expand], {"x": (FLOAT, ["N", 1])}, {"y": (FLOAT, None)}, [shape]), limit_bytes=1 << 22)


def test_many_tensors_that_are_alive_together_are_refused() -> None:
    shape = hostile.numbers("s", 1 << 18)
    parts = [helper.make_node("Expand", [f"x{at}", "s"], [f"t{at}"]) for at in range(6)]
    inputs = {f"x{at}": (FLOAT, [1]) for at in range(6)}
    together = models.model(
        [*parts, helper.make_node("Sum", [f"t{at}" for at in range(6)], ["y"])], inputs, {"y": (FLOAT, None)}, [shape]
    )
    with pytest.raises(UnsupportedModel, match="alive"):
        gate.check_bytes(together, limit_bytes=1 << 20)
    gate.check_bytes(together, limit_bytes=2 << 20)


def test_a_model_that_inference_cannot_follow_is_refused() -> None:
    proto = models.chain()
    del proto.opset_import[:]
    with pytest.raises(UnsupportedModel, match="contradict each other"):
        gate.check_bytes(proto)


def test_weights_are_no_activations() -> None:
    proto = models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (FLOAT, ["N", 256])},
        {"y": (FLOAT, None)},
        [models.weight("w", 256, 256)],
    )
    gate.check_bytes(proto, limit_bytes=4096)


def test_the_gate_reads_no_weights() -> None:
    tensor = hostile.outside("absent.bin", dims=(4, 1 << 40))
    proto = models.model(
        [helper.make_node("Gather", ["w", "i"], ["y"], axis=1)],
        {"i": (onnx.TensorProto.INT64, [])},
        {"y": (FLOAT, [4])},
        [tensor],
    )
    gate.check_bytes(proto)


@pytest.mark.parametrize("where", ["input", "body"])
def test_long_vectors_do_not_hang_inference(where: str) -> None:
    """Following values, onnx would allocate an object for each element of a vector."""
    count = 1 << 30
    cast = helper.make_node("Cast", ["big"], ["t"], to=FLOAT)
    if where == "input":
        proto = models.model([cast], {"big": (FLOAT, [count])}, {"t": (FLOAT, None)})
    else:
        make = helper.make_node("ConstantOfShape", ["s"], ["big"])
        proto = hostile.chosen(hostile.branch([*hostile.computed("s", count), make, cast], "t"))
    with pytest.raises(UnsupportedModel, match="4 GiB"):
        gate.check_bytes(proto)
