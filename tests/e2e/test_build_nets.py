"""Every boundary of every net is cut, and gives the answer of the uncut file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import BuildOptions, build, random_feeds, verify
from splitinfer.bundle import Bundle
from tests import models

NETS = [
    models.chain,
    models.nhwc_chain,
    models.residual,
    models.branching,
    models.skip_from_input,
    models.early_output,
    models.shared_weight,
    models.constants,
    models.weights_as_inputs,
    models.two_inputs,
    models.captured,
    models.shape_arithmetic,
    models.contrib_operator,
    models.local_function,
    models.literal_one,
    models.sequence_and_half_types,
    models.quantised,
    models.loop,
    models.constant_output,
]


def cut_everywhere(proto: onnx.ModelProto, folder, **options) -> Bundle:
    return build(models.save(proto, folder), folder / "bundle", BuildOptions(cuts="all", **options))


def original(folder, name: str = "net"):
    session = ort.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))


@pytest.mark.parametrize("net", NETS)
def test_every_cut_gives_the_answer_of_the_uncut_file(net, tmp_path):
    bundle = cut_everywhere(net(), tmp_path)
    batches = (1, 3) if bundle.model.batches else (1,)
    feeds = [random_feeds(bundle.model, batch, seed=7 + batch) for batch in batches]
    checks = verify(bundle, feeds, original(tmp_path))
    assert len(checks) == bundle.model.n + 1 >= 4
    assert all(check.ok for check in checks)
    assert all(check.ok for check in verify(bundle, feeds))


@pytest.mark.parametrize("net", [models.branching, models.constants, models.captured])
def test_a_bundle_is_the_same_each_time(net, tmp_path):
    path = models.save(net(), tmp_path)
    digests = {build(path, tmp_path / name, BuildOptions(cuts="all")).digest for name in "ab"}
    assert len(digests) == 1


def test_a_copy_of_what_weights_make_gets_a_name_that_is_free(tmp_path):
    nodes = [onnx.helper.make_node("Relu", ["w"], ["k"]), onnx.helper.make_node("MatMul", ["x", "k"], ["k/1"])]
    nodes += [onnx.helper.make_node("MatMul", ["k/1", "k"], ["y"])]
    ends = {"x": (models.FLOAT, ["N", 8])}, {"y": (models.FLOAT, ["N", 8])}
    path = models.save(models.model(nodes, *ends, [models.weight("w", 8, 8)]), tmp_path)
    assert build(path, tmp_path / "bundle", BuildOptions(cuts="all")).model.n == 2


def test_a_negative_dimension_is_an_open_one(tmp_path):
    path = models.save(models.chain(batch=-1), tmp_path)
    bundle = build(path, tmp_path / "bundle")
    assert bundle.model.inputs[0].shape == (None, 3, 16, 16)
    assert bundle.model.batches


def test_many_cuts_are_crossed_one_after_the_other(tmp_path):
    names = ["x", *(f"t{i}" for i in range(20)), "y"]
    nodes = [onnx.helper.make_node("Tanh", [a], [b]) for a, b in pairwise(names)]
    vector = (models.FLOAT, ["N", 4])
    bundle = cut_everywhere(models.model(nodes, {"x": vector}, {"y": vector}), tmp_path)
    assert bundle.model.n == 21
    assert all(check.ok for check in verify(bundle, [random_feeds(bundle.model, 2)], original(tmp_path)))
    assert len(bundle.profile.tail_ms) == 22


def test_nothing_is_cut_where_no_array_can_cross(tmp_path):
    bundle = cut_everywhere(models.sequence_and_half_types(), tmp_path)
    assert [cut.name for cut in bundle.model.cuts] == ["x", "a", "b", "c", "narrow", "d", "y_pooled", "y_flat", "end"]


def test_a_quantised_tensor_crosses_as_it_is(tmp_path):
    bundle = cut_everywhere(models.quantised(), tmp_path)
    assert {cut.name: cut.tensors[0].dtype for cut in bundle.model.cuts if cut.name in ("bq", "eq")} == {
        "bq": "uint8",
        "eq": "uint8",
    }
    assert max(check.max_rel_error for check in verify(bundle, [random_feeds(bundle.model)], original(tmp_path))) < 1e-6


def test_a_fixed_batch_stays_fixed(tmp_path):
    bundle = cut_everywhere(models.chain(batch=1), tmp_path)
    assert {spec.shape[0] for cut in bundle.model.cuts for spec in cut.tensors} == {1}
    assert bundle.model.batches is False


def test_whether_two_items_can_be_run_at_once_is_tried(tmp_path):
    assert cut_everywhere(models.chain(), tmp_path).model.batches is True
    (tmp_path / "b").mkdir()
    assert cut_everywhere(models.literal_one(), tmp_path / "b").model.batches is False


def test_open_sizes_stay_open(tmp_path):
    bundle = cut_everywhere(models.shape_arithmetic(), tmp_path)
    feed = {"x": np.random.default_rng(0).standard_normal((2, 3, 5, 9)).astype(np.float32)}
    assert all(check.ok for check in verify(bundle, [feed], original(tmp_path)))


def test_a_weight_of_two_segments_is_stored_once(tmp_path):
    bundle = cut_everywhere(models.shared_weight(), tmp_path)
    weights = [bundle.weights(index) for index in range(bundle.model.n)]
    nbytes = 4 * models.CHANNELS * models.CHANNELS * 9
    assert [list(segment.values()) for segment in weights].count([nbytes]) == 2
    assert len({blob for segment in weights for blob in segment}) == 1


def test_the_head_returns_outputs_that_it_has_made(tmp_path):
    bundle = cut_everywhere(models.early_output(), tmp_path)
    engine = OrtEngine(bundle)
    cut = next(cut for cut in bundle.model.cuts if cut.name == "e")
    head = engine.run(0, cut.index, engine.hold(0, random_feeds(bundle.model)))
    assert set(head.outputs()) == {"exit", "d"}
    tail = engine.run(cut.index, bundle.model.n, engine.hold(cut.index, head.plain()))
    assert set(tail.outputs()) == {"y"}


def test_small_weights_stay_in_the_graph(tmp_path):
    bundle = cut_everywhere(models.chain(), tmp_path)
    sizes = [size for index in range(bundle.model.n) for size in bundle.weights(index).values()]
    assert sizes
    assert min(sizes) > 1024


def test_weights_beside_the_file_are_read(tmp_path):
    proto = models.chain()
    onnx.save(proto, str(tmp_path / "net.onnx"), save_as_external_data=True, location="net.data", size_threshold=0)
    outside = build(tmp_path / "net.onnx", tmp_path / "outside", BuildOptions(cuts="all"))
    inside = build(models.save(models.chain(), tmp_path, "inside"), tmp_path / "inside", BuildOptions(cuts="all"))
    assert [cut.id for cut in outside.model.cuts] == [cut.id for cut in inside.model.cuts]
    assert outside.digest == inside.digest
