"""The guard: what a scorecard keeps a device from choosing. Small models with the traits of those that taught it.

Each is asked on links from slow to fast for the plan that it would send, with 1 % of accuracy to spend.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from splitinfer.build import BuildOptions, ImageInput, build
from splitinfer.build.states import states
from splitinfer.bundle import Bundle
from splitinfer.codec import codec
from splitinfer.errors import InvalidInput
from splitinfer.plan import Budget, Conditions, Offer, Plan, Uplink, objection, offers
from splitinfer.policy import Table, policy
from tests import models

RATES_BPS = (0.05e6, 1e6, 50e6)
BUDGET = Budget(accuracy_loss_max=0.01)
WORDS, WIDTH = 64, 48


def sent(bundle: Bundle, among: Callable[[Offer], bool] = lambda offer: True) -> set[Plan]:
    """The plans that would be chosen of those that send something."""
    remote = tuple(offer for offer in offered(bundle) if not offer.local and among(offer))
    links = [Conditions(link_up=True, uplink=Uplink(rate, 0.3, 20.0)) for rate in RATES_BPS]
    return {policy("robust").decide(Table(remote), link, BUDGET).plan for link in links}


def offered(bundle: Bundle) -> tuple[Offer, ...]:
    return offers(bundle.model, bundle.profile, bundle.scorecard)


def weight(name: str, *shape: int, scale: float = 1.0) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape) * scale / np.sqrt(shape[0])
    return numpy_helper.from_array(values.astype(np.float32), name)


def built(folder, proto: onnx.ModelProto, **options) -> Bundle:
    return build(models.save(proto, folder), folder / "bundle", BuildOptions(**options))


def sentences() -> onnx.ModelProto:
    """Token ids -> embeddings of which a few dimensions are far larger than the rest and say nothing, as in transformers."""
    table = np.random.default_rng(8).standard_normal((WORDS, WIDTH)).astype(np.float32)
    table[:, :2] *= 15
    mixing = np.random.default_rng(9).standard_normal((WIDTH, 24)).astype(np.float32)
    mixing[:2] = 0
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(mixing, "mixing")]
    nodes = [helper.make_node("Gather", ["table", "ids"], ["a"], axis=0), helper.make_node("MatMul", ["a", "mixing"], ["b"])]
    nodes += [helper.make_node("ReduceMean", ["b"], ["y"], axes=[1], keepdims=0)]
    ends = {"ids": (onnx.TensorProto.INT64, ["N", 12])}, {"y": (models.FLOAT, ["N", 24])}
    return models.model(nodes, *ends, weights)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    ids = np.random.default_rng(1).integers(0, WORDS, (120, 12))
    return built(tmp_path_factory.mktemp("text"), sentences(), samples={"ids": ids}, cuts=("a",))


def is_int4(plan: Plan) -> bool:
    return plan.codec.partition("+")[0] == "int4"


def test_four_bits_for_a_tensor_with_outlying_dimensions_are_refused(text):
    assert not any(map(is_int4, sent(text, lambda offer: offer.plan.cut > 0)))
    assert all(objection(offer, BUDGET) for offer in offered(text) if is_int4(offer.plan))


def test_what_four_bits_lose_there_was_measured(tmp_path):
    ids = np.random.default_rng(1).integers(0, WORDS, (120, 12))
    codecs = ("int4+zstd1", "int4d+zstd1", "int8+zstd1")
    scores = built(tmp_path, sentences(), samples={"ids": ids}, cuts=("a",), codecs=codecs).scorecard.scores
    assert scores[Plan(1, "int4+zstd1")].accuracy_loss > 0.3
    assert scores[Plan(1, "int8+zstd1")].accuracy_loss < 0.1
    assert scores[Plan(1, "int4d+zstd1")].accuracy_loss < 0.3 * scores[Plan(1, "int4+zstd1")].accuracy_loss


def test_token_ids_are_sent_as_they_are(text):
    chosen = sent(text)
    assert {plan.cut for plan in chosen} == {0}
    assert all(codec(plan.codec).lossless for plan in chosen)


def test_a_coded_picture_is_sent_where_every_cut_is_larger(tmp_path):
    """A reader of lines: channels multiply before anything shrinks, every column counts, and a line is mostly paper."""
    random = np.random.default_rng(2)
    lines = np.full((40, 32, 96, 3), 250, np.uint8)
    for line in lines:
        for at in range(6, 90, 12):
            line[8:24, at : at + int(random.integers(2, 8))] = random.integers(0, 60)
    kernel = numpy_helper.from_array(random.standard_normal((48, 3, 3, 3)).astype(np.float32) / 500, "w")
    nodes = [models.conv("x", "a", "w"), helper.make_node("Tanh", ["a"], ["b"])]
    nodes += [helper.make_node("ReduceMean", ["b"], ["y"], axes=[2], keepdims=0)]
    proto = models.model(nodes, {"x": (models.FLOAT, ["N", 3, 32, 96])}, {"y": (models.FLOAT, ["N", 48, 96])}, [kernel])
    bundle = built(tmp_path, proto, samples={"x": lines}, image_input=ImageInput("x"), cuts=("b",))
    chosen = sent(bundle)
    assert {plan.cut for plan in chosen} == {0}
    assert {plan.codec.partition(":")[0] for plan in chosen} <= {"png", "webp", "jpeg", "avif"}


def listener() -> onnx.ModelProto:
    """Hears a frame, and remembers: the state leaks slowly, so what a codec adds to it at each step adds up."""
    weights = [weight("win", 16, 8), numpy_helper.from_array(np.array(0.999, np.float32), "keep"), weight("out", 8, 1)]
    nodes = [helper.make_node("MatMul", ["frame", "win"], ["a"]), helper.make_node("Tanh", ["a"], ["b"])]
    nodes += [helper.make_node("Mul", ["state", "keep"], ["kept"]), helper.make_node("Add", ["kept", "b"], ["stateN"])]
    nodes += [helper.make_node("MatMul", ["stateN", "out"], ["y"])]
    ins = {"frame": (models.FLOAT, ["N", 16]), "state": (models.FLOAT, ["N", 8])}
    return models.model(nodes, ins, {"y": (models.FLOAT, ["N", 1]), "stateN": (models.FLOAT, ["N", 8])}, weights)


def heard() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    return {name: random.standard_normal((40, size)).astype(np.float32) for name, size in (("frame", 16), ("state", 8))}


def test_a_state_that_comes_back_is_not_sent_in_few_bits(tmp_path):
    bundle = built(tmp_path, listener(), samples=heard(), cuts=("b",))
    assert "state" in {spec.name for spec in bundle.model.cuts[1].tensors}
    ids = {plan.codec for plan in bundle.scorecard.scores}
    assert all(codec(id).lossless or id.startswith("half") for id in ids)
    assert all(codec(plan.codec).lossless or plan.codec.startswith("half") for plan in sent(bundle))


def test_who_knows_better_says_which_inputs_are_states(tmp_path):
    bundle = built(tmp_path, listener(), samples=heard(), cuts=("b",), states=())
    assert any(plan.codec.startswith("int") for plan in bundle.scorecard.scores)


ONES = {"x": np.ones((1, 4), np.float32), "h": np.ones((2, 3), np.float32), "n": np.ones((1, 3), np.int64)}


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        (ONES, {"y": np.ones((1, 1), np.float32), "hN": np.ones((2, 3), np.float32)}, {"h"}),
        (ONES, {"y": np.ones((1, 1), np.float32), "nN": np.ones((1, 3), np.int64)}, set()),
        (ONES, {"hN": np.ones((2, 3), np.float32)}, set()),
        ({"h": ONES["h"]}, {"y": np.ones((1, 1), np.float32), "hN": np.ones((2, 3), np.float32)}, set()),
        (ONES, {"y": np.ones((1, 1), np.float32), "hN": np.ones((2, 3), np.float16)}, set()),
    ],
    ids=["floats of the same shape", "integers", "an only output", "an only input", "another type"],
)
def test_a_state_is_told_from_a_run(inputs, outputs, found):
    assert states(inputs, outputs) == found


def test_a_state_that_is_no_input_is_refused():
    assert states(ONES, ONES, told=("x",)) == {"x"}
    with pytest.raises(InvalidInput, match="no input 'q'"):
        states(ONES, ONES, told=("q",))
