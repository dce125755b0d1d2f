"""The scorecard: what each plan does to bytes and answers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.build.score import SHORT_LADDER
from splitinfer.build.walk import MANY_CUTS
from splitinfer.codec import codec
from splitinfer.plan import Plan
from tests import models

N = 12
SAMPLES = {"x": np.random.default_rng(1).standard_normal((N, 3, 16, 16)).astype(np.float32)}


LADDER = ("raw", "half", "int8", "int8+zstd1", "int4+zstd1")


def scored(folder, proto=None, **options):
    path = models.save(proto or models.chain(), folder)
    return build(path, folder / "bundle", BuildOptions(**{"cuts": ("b", "d"), "samples": SAMPLES, **options}))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("scored"))


def test_every_plan_is_scored_on_the_half_that_did_not_calibrate(bundle):
    assert bundle.scorecard.metric == "agreement"
    assert {plan.cut for plan in bundle.scorecard.scores} == {0, 1, 2}
    assert {score.n for score in bundle.scorecard.scores.values()} == {N // 2}


def test_lossless_plans_lose_nothing_for_sure(bundle):
    score = bundle.scorecard.scores[Plan(1, "raw")]
    assert (score.accuracy_loss, score.accuracy_loss_bound) == (0, 0)
    assert score.bytes_p50 == score.bytes_p95 == bundle.model.cuts[1].nbytes
    assert score.output_error < 1e-5


def test_fewer_bits_are_fewer_bytes_and_larger_errors(tmp_path):
    scores = scored(tmp_path, codecs=LADDER).scorecard.scores
    rows = [scores[Plan(1, codec)] for codec in ("raw", "half", "int8", "int4+zstd1")]
    assert [row.bytes_p50 for row in rows] == sorted((row.bytes_p50 for row in rows), reverse=True)
    assert [row.output_error for row in rows] == sorted(row.output_error for row in rows)
    assert [row.divergence for row in rows] == sorted(row.divergence for row in rows)
    assert rows[0].divergence == 0 < rows[1].divergence


def test_a_bound_is_above_its_estimate(bundle):
    for plan, score in bundle.scorecard.scores.items():
        assert 0 <= score.accuracy_loss <= score.accuracy_loss_bound <= 1, plan


def test_codecs_are_calibrated_into_the_identity(bundle, tmp_path):
    assert "1/b/int4" in bundle.tables
    plain = scored(tmp_path, samples=None)
    assert not plain.tables
    assert plain.digest != bundle.digest


def test_without_samples_only_bytes_are_known(tmp_path):
    scores = scored(tmp_path, samples=None).scorecard.scores
    assert {plan.codec for plan in scores} == {"raw", "shuffle+zstd1", "half"}
    assert all(score.n == 0 for score in scores.values())
    assert scores[Plan(1, "half")].accuracy_loss is None
    assert scores[Plan(1, "raw")].accuracy_loss == 0


def test_with_labels_the_drop_of_the_right_answers_counts(tmp_path):
    bundle = scored(tmp_path, labels=np.full(N, 99))  # always wrong: nothing can be lost
    assert bundle.scorecard.metric == "accuracy"
    assert {score.accuracy_loss for score in bundle.scorecard.scores.values()} == {0}


def test_a_metric_of_ones_own_is_used(tmp_path):
    seen = []

    def spread(outputs, labels):
        seen.append(len(labels) == len(outputs["y"]))
        return float(np.abs(outputs["y"]).mean())

    bundle = scored(tmp_path, labels=np.zeros(N), metric=spread, codecs=("int4+zstd1",))
    assert bundle.scorecard.metric == "spread"
    assert set(bundle.scorecard.scores) == {Plan(cut, "int4+zstd1") for cut in range(3)}
    assert all(seen)


def test_a_model_with_a_fixed_batch_is_scored_one_by_one(tmp_path):
    for name in ("fixed", "open"):
        (tmp_path / name).mkdir()
    fixed = scored(tmp_path / "fixed", models.chain(batch=1), codecs=LADDER).scorecard.scores
    free = scored(tmp_path / "open", codecs=LADDER).scorecard.scores
    assert {plan: score.bytes_p50 for plan, score in fixed.items()} == {plan: score.bytes_p50 for plan, score in free.items()}


def test_a_batch_that_is_fixed_stays_together(tmp_path):
    card = scored(tmp_path, models.chain(batch=3), labels=np.arange(N)).scorecard
    assert {score.n for score in card.scores.values()} == {N // 2}
    assert card.scores[Plan(1, "raw")].bytes_p50 == 3 * models.CHANNELS * 16 * 16 * 4


def detector() -> onnx.ModelProto:
    """What is found has another size for each sample, a scalar crosses beside it, and one output is a scalar."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["a"], keepdims=0), helper.make_node("Sub", ["x", "a"], ["b"])]
    nodes += [models.relu("b", "c"), helper.make_node("NonZero", ["c"], ["at"]), helper.make_node("Transpose", ["at"], ["d"])]
    nodes += [helper.make_node("GatherND", ["c", "d"], ["found"]), helper.make_node("Add", ["found", "a"], ["y"])]
    nodes += [helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0)]
    ends = {"x": (models.FLOAT, ["N", 6])}, {"y": (models.FLOAT, ["K"]), "sum": (models.FLOAT, [])}
    return models.model(nodes, *ends)


def test_finds_of_any_number_and_scalars_are_scored(tmp_path):
    samples = {"x": np.random.default_rng(5).standard_normal((N, 6)).astype(np.float32)}
    samples["x"][1] = 2.0  # as flat as that, nothing is found
    bundle = scored(tmp_path, detector(), samples=samples, cuts="all")
    names = [cut.name for cut in bundle.model.cuts]
    assert "a+x" in names
    assert "a+found" in names
    raw = bundle.scorecard.scores[Plan(names.index("a+found"), "raw")]
    assert (raw.accuracy_loss, raw.n) == (0, N // 2)
    assert raw.bytes_p50 > 2 * 4  # more than one find and the mean: finds are not samples
    assert raw.output_error < 1e-5


@pytest.mark.parametrize("shape", [(), (4, 3), (None, 3)], ids=["scalar", "fixed", "open"])
def test_a_sample_may_be_all_that_goes_in(shape, tmp_path):
    nodes = [helper.make_node("Tanh", ["x"], ["a"]), models.relu("a", "y")]
    model = models.model(nodes, {"x": (models.FLOAT, [*shape])}, {"y": (models.FLOAT, [*shape])})
    samples = np.random.default_rng(7).standard_normal((N, 4, 3) if shape else N).astype(np.float32)
    bundle = scored(tmp_path, model, samples={"x": samples}, labels=np.zeros(N), cuts="all")
    assert {score.n for score in bundle.scorecard.scores.values()} == {N // 2}


def test_an_error_without_a_scale_is_unknown(tmp_path):
    """Where all that is wanted is 0, no share of it says how wrong a plan is."""
    nodes = [helper.make_node("Round", ["x"], ["a"]), helper.make_node("Sub", ["x", "a"], ["y"])]
    ends = {"x": (models.FLOAT, ["N", 6])}, {"y": (models.FLOAT, ["N", 6])}
    samples = {"x": np.random.default_rng(6).integers(0, 99, (N, 6)).astype(np.float32)}
    proto, codecs = models.model(nodes, *ends), ("raw", "int4+zstd1")
    scores = scored(tmp_path, proto, samples=samples, cuts="all", codecs=codecs).scorecard.scores
    assert scores[Plan(0, "raw")].output_error == 0
    assert scores[Plan(0, "int4+zstd1")].output_error is None


def test_a_model_that_cannot_stack_is_scored_one_by_one(tmp_path):
    assert {score.n for score in scored(tmp_path, models.literal_one()).scorecard.scores.values()} == {N // 2}


def test_an_image_has_codecs_of_its_own(tmp_path):
    photos = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    bundle = scored(tmp_path, samples={"x": photos}, image_input=ImageInput("x", (127,), (128,)))
    scores = {plan.codec: score for plan, score in bundle.scorecard.scores.items() if plan.cut == 0}
    assert {"raw", "png"} < scores.keys()
    assert scores["png"].accuracy_loss == 0
    assert any(
        score.bytes_p50 < scores["png"].bytes_p50 for codec, score in scores.items() if codec.startswith(("jpeg", "webp"))
    )


def test_the_reference_profile_covers_segments_tails_and_plans(bundle):
    profile = bundle.profile
    assert profile.source == "reference"
    assert profile.digest == bundle.digest
    assert len(profile.segment_ms) == bundle.model.n
    assert len(profile.tail_ms) == bundle.model.n + 1
    assert profile.tail_ms[-1] == 0
    assert profile.encode_ms.keys() == profile.decode_ms.keys() == bundle.scorecard.scores.keys()


def test_progress_is_told_stage_by_stage(tmp_path):
    told: dict[str, tuple[int, int]] = {}
    scored(tmp_path, progress=lambda stage, done, total: told.update({stage: (done, total)}))
    assert list(told) == ["load", "cut", "check", "calibrate", "profile", "score"]
    assert all(done == total for done, total in told.values())


def test_groups_are_not_divided_and_count_as_one(tmp_path):
    groups = np.repeat(["dawn", "noon", "dusk"], 4)
    scores = scored(tmp_path, groups=groups, codecs=("raw", "int8")).scorecard.scores
    assert {(score.n, score.groups) for score in scores.values()} == {(4, 1)}
    assert scores[Plan(1, "int8")].accuracy_loss_bound >= 0.95  # one photo, however many crops


def test_no_plan_is_kept_that_another_makes_superfluous(bundle):
    scores = {plan: score for plan, score in bundle.scorecard.scores.items() if not codec(plan.codec).lossless}
    assert bundle.scorecard.dropped > 0

    def figures(plan):
        score = scores[plan]
        coding_ms = bundle.profile.encode_ms[plan] + bundle.profile.decode_ms[plan]
        return score.bytes_p50, score.accuracy_loss, score.accuracy_loss_bound, coding_ms

    for plan in scores:
        rivals = [figures(other) for other in scores if other.cut == plan.cut and other != plan]
        assert not any(all(a <= b for a, b in zip(rival, figures(plan), strict=True)) for rival in rivals), plan


def test_codecs_that_are_asked_for_are_kept_wherever_they_code_something(bundle, tmp_path):
    card = scored(tmp_path, codecs=("int8+zstd1", "int8")).scorecard
    assert card.scores.keys() == {Plan(cut, name) for cut in range(3) for name in ("int8", "int8+zstd1")}
    assert card.dropped == 0


def told_by_row(row: np.ndarray) -> onnx.ModelProto:
    """Says which of 32 pixels of a photo is the largest, in one row of it."""
    rows = [
        numpy_helper.from_array(np.array(row, np.int64), "row"),
        numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
    ]
    nodes = [helper.make_node("Gather", ["x", "row"], ["a"], axis=2), models.relu("a", "b")]
    nodes += [
        helper.make_node("ReduceMean", ["b"], ["c"], axes=[1], keepdims=0),
        helper.make_node("Reshape", ["c", "flat"], ["y"]),
    ]
    return models.model(nodes, {"x": (models.FLOAT, ["N", 3, 32, 32])}, {"y": (models.FLOAT, ["N", 32])}, rows)


def test_coarser_steps_are_not_measured_where_one_changes_far_too_much(tmp_path):
    photos = np.random.default_rng(3).integers(100, 130, (16, 32, 32, 3), dtype=np.uint8)
    options = {"samples": {"x": photos}, "image_input": ImageInput("x"), "cuts": ("b",)}
    card = scored(tmp_path, told_by_row([7]), **options).scorecard
    jpegs = {plan.codec: score.accuracy_loss for plan, score in card.scores.items() if plan.codec.startswith("jpeg")}
    assert "jpeg:75" not in jpegs
    assert sum(loss > 0.2 for loss in jpegs.values()) <= 1
    (tmp_path / "asked").mkdir()
    asked = scored(tmp_path / "asked", told_by_row([7]), codecs=("jpeg:95", "jpeg:75"), **options).scorecard
    assert asked.scores[Plan(0, "jpeg:75")].accuracy_loss > 0.2


def test_inner_cuts_of_a_model_with_many_have_a_short_ladder(tmp_path):
    names = ["x", *(f"t{i}" for i in range(1, 20)), "y"]
    nodes = [helper.make_node("Tanh", [names[i]], [names[i + 1]]) for i in range(20)]
    ends = {"x": (models.FLOAT, ["N", 6])}, {"y": (models.FLOAT, ["N", 6])}
    samples = {"x": np.random.default_rng(6).standard_normal((N, 6)).astype(np.float32)}
    bundle = scored(tmp_path, models.model(nodes, *ends), samples=samples, cuts="all")
    ids = {plan.codec for plan in bundle.scorecard.scores if plan.cut > 0}
    assert bundle.model.n > MANY_CUTS
    assert {id for id in ids if not codec(id).lossless} <= set(SHORT_LADDER)


@pytest.mark.parametrize("metric", [None, lambda outputs, wanted: float((outputs["y"] == wanted["y"]).mean())])
def test_several_tails_at_once_give_what_one_gives(tmp_path, monkeypatch, metric):
    cards = []
    for workers in (1, 4):
        monkeypatch.setattr("splitinfer.build.score.WORKERS", workers)
        (tmp_path / str(workers)).mkdir()
        cards.append(scored(tmp_path / str(workers), codecs=LADDER, metric=metric).scorecard)
    assert cards[0] == cards[1]
