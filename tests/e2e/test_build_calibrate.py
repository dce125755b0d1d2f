"""Tables of the transform codec from a build: where they come from, and what they serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from splitinfer.backends.ort import OrtEngine
from splitinfer.build import BuildOptions, build
from splitinfer.build.calibrate import calibrate
from splitinfer.build.score import Offered
from splitinfer.bundle import Bundle
from splitinfer.codec import codec, table_key
from splitinfer.codec.klt.table import Table, read
from splitinfer.model import Array, Tensors
from splitinfer.payload import Packer
from tests import models

KLT = ("klt:0.3", "klt:1")
SAMPLES = np.random.default_rng(1).standard_normal((24, 3, 16, 16)).astype(np.float32)


def built(folder: Path, samples: Array = SAMPLES, **options: object) -> Bundle:
    """A chain whose answer is the mean over the plane, of channels of which only some are read."""
    proto = models.chain()
    weights = np.zeros((10, models.CHANNELS), np.float32)
    weights[:, :2] = np.random.default_rng(0).normal(size=(10, 2))
    proto.graph.initializer[-1].raw_data = weights.tobytes()
    chosen = BuildOptions(**{"cuts": ("b", "d"), "samples": {"x": samples}, "codecs": KLT, **options})
    return build(models.save(proto, folder), folder / "bundle", chosen)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return built(tmp_path_factory.mktemp("calibrated"))


def table_at(bundle: Bundle, cut: int) -> Table:
    (spec,) = bundle.model.cuts[cut].tensors
    return read(spec, bundle.tables[table_key(cut, spec.name, "klt:1")])


def test_each_cut_has_one_table_for_all_steps(bundle: Bundle) -> None:
    assert set(bundle.tables) == {"0/x/klt", "1/b/klt", "2/d/klt"}
    assert {plan.codec for plan in bundle.scorecard.scores} == set(KLT)
    assert {plan.cut for plan in bundle.scorecard.scores} == {0, 1, 2}


def test_what_the_answers_depend_on_decides(bundle: Bundle) -> None:
    """The tail averages the plane, so that the constant needs the finest steps, and reads two channels of eight."""
    weight = table_at(bundle, 2).basis.weight
    assert weight[0, 0] > 2 * np.delete(weight.ravel(), 0).max()
    sensitivity = np.square(table_at(bundle, 2).basis.mixing).sum(axis=0)
    assert sensitivity[:2].min() > 3 * sensitivity[2:].max()


def test_what_crosses_comes_back(bundle: Bundle) -> None:
    engine = OrtEngine(bundle)
    packer = Packer(bundle.model, bundle.tables)
    feed: Tensors = {"x": np.random.default_rng(9).standard_normal((2, 3, 16, 16)).astype(np.float32)}
    wanted = engine.run(0, bundle.model.n, engine.hold(0, feed)).outputs()["y"]
    held = engine.run(0, 2, engine.hold(0, feed))
    payload = packer.pack(2, "klt:0.3", held.plain())
    assert payload.departed == ()
    found = engine.run(2, bundle.model.n, engine.hold(2, packer.unpack(payload))).outputs()["y"]
    assert np.abs(found - wanted).max() < 0.2 * wanted.std()
    assert payload.nbytes < bundle.model.cuts[2].nbytes / 8


def test_the_same_samples_give_the_same_tables(bundle: Bundle, tmp_path: Path) -> None:
    assert built(tmp_path).tables == bundle.tables


def test_batches_and_single_samples_give_the_same_tables(bundle: Bundle) -> None:
    engine = OrtEngine(bundle)
    offered = Offered(bundle.model, KLT)
    told: list[tuple[int, int]] = []
    together = calibrate(engine, offered, [{"x": SAMPLES}], lambda *done: told.append(done))
    alone = calibrate(engine, offered, [{"x": SAMPLES[i : i + 1]} for i in range(len(SAMPLES))], lambda *_: None)
    assert told == [(1, 3), (2, 3), (3, 3)]
    for key in ("0/x/klt", "1/b/klt", "2/d/klt"):
        assert len(together[key]) == pytest.approx(len(alone[key]), rel=0.05)
    assert together["0/x/klt"] == alone["0/x/klt"]


def test_other_codecs_get_theirs_beside(bundle: Bundle) -> None:
    found = calibrate(OrtEngine(bundle), Offered(bundle.model, ("int4", "raw", "klt:1")), [{"x": SAMPLES}], lambda *_: None)
    assert set(found) == {f"{at}/{family}" for at in ("0/x", "1/b", "2/d") for family in ("int4", "klt")}
    assert found["1/b/int4"] == codec("int4").calibrate(bundle.model.cuts[1].tensors[0], [activations(bundle)])


def activations(bundle: Bundle) -> Array:
    engine = OrtEngine(bundle)
    return engine.run(0, 1, engine.hold(0, {"x": SAMPLES})).plain()["b"]


def test_samples_that_are_not_finite_leave_no_table(bundle: Bundle) -> None:
    feeds = [{"x": np.full_like(SAMPLES[:2], np.nan)}]
    assert calibrate(OrtEngine(bundle), Offered(bundle.model, ("klt:1",)), feeds, lambda *_: None) == {}


def test_answers_that_are_integers_weigh_all_values_alike(tmp_path: Path) -> None:
    nodes = [models.conv("x", "a", "w0"), models.relu("a", "b"), *models.classifier("b", "s")]
    nodes += [helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0)]
    proto = models.model(nodes, models.IMAGE, {"y": (models.TensorProto.INT64, ["N"])}, [models.W0, models.FC])
    options = BuildOptions(cuts=("b",), samples={"x": SAMPLES}, codecs=KLT)
    made = build(models.save(proto, tmp_path), tmp_path / "bundle", options)
    basis = table_at(made, 1).basis
    assert (basis.weight == basis.weight[0, 0]).all()
    scale = np.square(basis.mixing.astype(np.float64))
    assert np.allclose(scale.sum(axis=0), scale.sum(axis=1), rtol=0.02)  # a rotation


def test_samples_of_other_lengths_are_asked_one_by_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "u"], ["a"]), helper.make_node("Tanh", ["a"], ["b"])]
    nodes += [helper.make_node("MatMul", ["b", "v"], ["c"]), helper.make_node("ReduceMean", ["c"], ["y"], axes=[1], keepdims=0)]
    inputs = {"x": (models.FLOAT, ["N", "T", 6])}
    weights = [models.weight("u", 6, 12), models.weight("v", 12, 4)]
    proto = models.model(nodes, inputs, {"y": (models.FLOAT, ["N", 4])}, weights)
    options = BuildOptions(cuts=("b",), samples={"x": np.zeros((4, 9, 6), np.float32) + SAMPLES[0, 0, 0, :6]})
    made = build(models.save(proto, tmp_path), tmp_path / "bundle", options)
    random = np.random.default_rng(0)
    feeds: list[Tensors] = [{"x": random.normal(size=(1, length, 6)).astype(np.float32)} for length in range(3, 20)]
    found = calibrate(OrtEngine(made), Offered(made.model, ("klt:0.3",)), feeds, lambda *_: None)
    (spec,) = made.model.cuts[1].tensors
    coder = codec("klt:0.3").bind(spec, found["1/b/klt"])
    engine = OrtEngine(made)
    array = engine.run(0, 1, engine.hold(0, {"x": random.normal(size=(1, 31, 6)).astype(np.float32)})).plain()["b"]
    assert np.abs(coder.decode(coder.encode(array), array.shape) - array).max() < 1
