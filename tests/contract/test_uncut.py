"""What the runtime is asked about a model as it is, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.backends.ort import Uncut
from splitinfer.errors import EngineError
from tests import models

IMAGE = {"x": np.ones((1, 3, 16, 16), np.float32)}
TABLE = {"x": np.ones((2, 3), np.float32)}


def single(op: str, *integers: int, **attributes: object) -> bytes:
    """One node with a name like a path, and integers as its second input where there are some."""
    constants = [numpy_helper.from_array(np.array(integers, np.int64), "k")] if integers else []
    node = helper.make_node(op, ["x", *(tensor.name for tensor in constants)], ["y"], name="/net/node", **attributes)
    free = (TensorProto.FLOAT, None)
    return models.model([node], {"x": free}, {"y": free}, constants).SerializeToString()  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("op", "integers", "words"),
    [
        ("Reshape", (4, 2), "onnxruntime failed to run the model: Reshape '/net/node': .*cannot be reshaped"),
        ("Gather", (9,), "onnxruntime failed to run the model: Gather '/net/node': indices element out of data bounds"),
        ("MatMul", (), "onnxruntime cannot load the model: .*/net/node"),
        ("Pad", (1, 1), "onnxruntime failed to run the model: Pad '/net/node': pads_data"),
        ("NoSuch", (), "onnxruntime cannot load the model: .*/net/node.* No Op registered for NoSuch"),
    ],
)
def test_a_refusal_names_the_node_and_nothing_of_the_inside(op: str, integers: tuple[int, ...], words: str) -> None:
    with pytest.raises(EngineError, match=f"^{words}") as refused:
        Uncut(single(op, *integers)).run(TABLE)
    assert not any(
        inside in str(refused.value) for inside in ("ONNXRuntimeError", "onnxruntime_src", ".cc", ".h:", "onnxruntime::", "\n")
    )


def test_a_refusal_on_several_lines_is_told_on_one() -> None:
    with pytest.raises(EngineError, match=r"invalid dimensions for input: x .* index: 2 Got: 9 Expected: 16"):
        Uncut(models.chain().SerializeToString()).run({"x": np.ones((1, 3, 9, 16), np.float32)})


def test_weights_are_found_beside_the_model_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(models.chain(), folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=16)
    model = (folder / "net.onnx").read_bytes()
    (got,) = Uncut(model, folder).run(IMAGE).values()
    (want,) = Uncut(models.chain().SerializeToString()).run(IMAGE).values()
    assert np.array_equal(got, want)
    (folder / "net.data").unlink()
    with pytest.raises(EngineError, match=r"cannot load the model: .*\Wnet\.data") as refused:
        Uncut(model, folder)
    assert str(tmp_path) not in str(refused.value)
