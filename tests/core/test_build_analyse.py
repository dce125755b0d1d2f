"""From a file to all that is known of a model, and from that to the bundle to be. Models are run in this process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from splitinfer.backends.ort import Uncut
from splitinfer.bench.traps.parts import FLOAT, FLOAT16, STRING, constant, net, node, normal, relu, row_net, value, weight
from splitinfer.build import cuts
from splitinfer.build.analyse import Analysis, analyse
from splitinfer.build.draft import draft
from splitinfer.build.image import ImageInput
from splitinfer.build.options import BuildOptions
from splitinfer.errors import UnsupportedModel
from splitinfer.model import Tensors
from tests import models


def load(model: bytes, folder: Path | None) -> Callable[[Tensors], Tensors]:
    return Uncut(model, folder).run


def analysed(proto: onnx.ModelProto, folder: Path, **options: object) -> Analysis:
    return analyse(models.save(proto, folder), BuildOptions(**options), load)


def test_what_is_known_of_a_chain(tmp_path):
    found = analysed(models.chain(), tmp_path)
    assert found.file == "net.onnx"
    assert found.batches
    assert [feed["x"].shape for feed in found.feeds] == [(1, 3, 16, 16), (2, 3, 16, 16)]
    assert [boundary.live for boundary in found.orders[0].boundaries][1:3] == [("a",), ("b",)]
    assert found.hidden == frozenset()
    wanted = load(models.chain().SerializeToString(), None)(found.feeds[0])
    np.testing.assert_array_equal(found.uncut(found.feeds[0])["y"], wanted["y"])


def test_stages_are_told(tmp_path):
    heard = []
    analysed(models.chain(), tmp_path, progress=lambda *stage: heard.append(stage))
    assert heard == [("load", done, 3) for done in range(4)]


def test_a_preprocessing_is_hidden_and_gives_cuts_no_other_ids(tmp_path):
    plain = analysed(models.chain(), tmp_path)
    image = analysed(models.chain(), tmp_path, image_input=ImageInput("x"))
    assert image.model_hash == plain.model_hash
    assert image.hidden
    assert image.feeds[0]["x"].dtype == np.uint8
    assert image.feeds[0]["x"].shape == (1, 16, 16, 3)
    hidden = [
        boundary.why_not for boundary in image.orders[0].boundaries if set(boundary.live) <= image.hidden and boundary.live
    ]
    assert all(reason and "preprocessing" in reason for reason in hidden[1:])
    assert image.uncut(image.feeds[0])["y"].shape == (1, 10)


def test_what_nobody_computes_from_the_inputs_is_refused(tmp_path):
    proto = row_net([node("Neg", "w", "y")], [weight("w", 8, 8)])
    with pytest.raises(UnsupportedModel, match="no output depends on an input"):
        analysed(proto, tmp_path)


def test_text_as_an_output_is_refused_before_anything_is_run(tmp_path):
    proto = net([node("Cast", "x", "y", to=STRING)], [value("x", "N 8")], [value("y", "N 8", STRING)])
    with pytest.raises(UnsupportedModel, match="output 'y' has no type that an array can carry: put a Cast before it"):
        analysed(proto, tmp_path)


@pytest.mark.parametrize(("opset", "hint"), [(6, "its opset is 6, export it with 7 or newer"), (17, "")])
def test_a_model_that_the_runtime_does_not_load_is_refused_with_what_may_help(opset, hint, tmp_path):
    proto = net([node("Add", "x x", "y")], [value("x", "N 8")], [value("y", "N 8")], opset=opset)
    path = models.save(proto, tmp_path)
    with pytest.raises(UnsupportedModel) as refused:
        analyse(path, BuildOptions(), lambda model, _: load(model[:-1], None) if not hint else load(model, None))
    assert hint in str(refused.value)
    assert ("opset" in str(refused.value)) is bool(hint)


def in_halves() -> onnx.ModelProto:
    return row_net([node("Cast", "x", "h", to=FLOAT16), node("Exp", "h", "e"), node("Cast", "e", "y", to=FLOAT)])


@pytest.mark.parametrize(("make", "fragile"), [(models.chain, False), (models.quantised, True), (in_halves, True)])
def test_quantised_and_half_precision_nodes_are_fragile(make, fragile, tmp_path):
    assert analysed(make(), tmp_path).fragile is fragile


def test_what_was_wrong_is_kept_out_of_every_order(tmp_path):
    found = analysed(models.branching(), tmp_path)
    other = found.without({("a",): "another answer"})
    reasons = [boundary.why_not for order in other.orders for boundary in order.boundaries if boundary.live == ("a",)]
    assert reasons == ["another answer"] * len(found.orders)


# --- the bundle to be --------------------------------------------------------------------------------------------------------


def drafted(proto: onnx.ModelProto, folder: Path, **options: object):
    found = analysed(proto, folder, **options)
    return draft(found, cuts.everything(found.orders), BuildOptions(**options))


def test_a_draft_says_what_the_model_is(tmp_path):
    made = drafted(models.two_inputs(), tmp_path, version="7")
    assert (made.name, made.version, made.batches, made.image_input) == ("net", "7", True, None)
    assert [spec.name for spec in made.inputs] == ["x", "z"]
    assert [(spec.name, spec.dtype) for spec in made.outputs] == [("best", "int64"), ("y", "float32")]
    assert drafted(models.chain(), tmp_path, name="mine").name == "mine"


def test_a_draft_says_how_it_was_made(tmp_path):
    made = drafted(models.chain(), tmp_path)
    assert made.build_info["model_file"] == "net.onnx"
    assert made.build_info["opset"] == {"ai.onnx": 17}
    assert made.build_info["boundaries"] == 8
    assert "frontier" not in made.build_info
    assert drafted(models.sequence_and_half_types(), tmp_path).build_info["boundaries"] == 9
    found = analysed(models.chain(), tmp_path)
    few = draft(found, cuts.frontier(found.orders, 2, image=False), BuildOptions())
    assert few.build_info["frontier"].keys() == {"loss_mean", "loss_worst"}


def chained(*names: str) -> onnx.ModelProto:
    """Tensors of these names, one made of the other."""
    nodes = [node("Tanh", [x], [y], name="") for x, y in zip(("x", *names), (*names, "y"), strict=True)]
    return row_net(nodes)


def test_cuts_are_called_after_their_tensors_and_the_last_is_the_end(tmp_path):
    assert [cut.name for cut in drafted(chained("a", "b"), tmp_path).cuts] == ["x", "a", "b", "end"]


def test_a_tensor_called_end_does_not_take_the_name_of_the_end(tmp_path):
    made = drafted(chained("a", "end", "b"), tmp_path).cuts
    assert len(made) == 5
    assert [cut.name for cut in made] == ["x", "a", "end", "b", f"end ({made[-1].id})"]


def test_two_live_sets_that_read_alike_have_two_names(tmp_path):
    nodes = [relu("x", "a"), node("Exp", "x", "b"), node("Add", "a b", "a+b"), node("Tanh", "a+b", "y")]
    made = drafted(row_net(nodes), tmp_path).cuts
    assert len({cut.name for cut in made}) == len(made) == 5
    assert {cut.name for cut in made} >= {"a+b"}


# --- digests -----------------------------------------------------------------------------------------------------------------


def identity(path: Path) -> list[bytes]:
    """What the digest of a bundle is made of."""
    found = analyse(path, BuildOptions(), load)
    made = draft(found, cuts.everything(found.orders), BuildOptions())
    return [segment.graph for segment in made.segments] + [repr((made.cuts, sorted(made.weights))).encode()]


def wide() -> onnx.ModelProto:
    """Weights large and small, one that several segments compute for themselves, branches."""
    nodes = [node("Neg", "w", "k"), node("MatMul", "x k", "a"), *(node("MatMul", "a v", name) for name in "bcd")]
    nodes += [node("Mul", f"{name} small", f"{name}1") for name in "bcd"]
    nodes += [node("Sum", "b1 c1 d1", "s"), node("MatMul", "s k", "y")]
    weights = [weight("w", 32, 32), weight("v", 32, 32), constant("small", normal(32))]
    return net(nodes, [value("x", "N 32")], [value("y", "N 32")], weights)


def test_a_model_is_cut_into_the_same_bytes_however_its_weights_are_stored(tmp_path):
    (tmp_path / "outside").mkdir()
    beside = tmp_path / "outside" / "net.onnx"
    onnx.save(wide(), beside, save_as_external_data=True, location="net.data", size_threshold=0)
    typed = wide()
    for tensor in typed.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, FLOAT, array.shape, array.ravel().tolist()))
    (tmp_path / "typed").mkdir()
    inside = identity(models.save(wide(), tmp_path))
    assert identity(beside) == inside
    assert identity(models.save(typed, tmp_path / "typed"))[-1] == inside[-1]


def test_two_processes_cut_a_model_into_the_same_bytes(tmp_path):
    """A set of names is walked through in another order in each."""
    path = models.save(wide(), tmp_path)
    program = f"""
        import hashlib
        from pathlib import Path
        from tests.core.test_build_analyse import identity
        print(hashlib.sha256(b"".join(identity(Path({str(path)!r})))).hexdigest())
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in "12"
    ]
    answers = [child.communicate(timeout=60)[0] for child in started]
    assert len(answers[0]) == 65
    assert answers[0] == answers[1]
