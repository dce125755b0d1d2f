"""Trying a model: inputs it takes, whether it takes two items at once, and what a run tells of its tensors.

What stands for the runtime here is a function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from splitinfer.bench.traps.parts import FLOAT, INT64, STRING, net, node, relu, row_net, value
from splitinfer.build.feeds import GUESSES
from splitinfer.build.graph import Graph
from splitinfer.build.options import BuildOptions
from splitinfer.build.tryout import SAMPLES_LEARNT_FROM, feeds, learn, specs
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Tensors, TensorSpec
from tests import models
from tests.cutting import graph_of

ROWS = graph_of(row_net([relu("x", "a"), relu("a", "y")]))
RANDOM = BuildOptions()


def sampled(count: int = 4, **more: object) -> BuildOptions:
    return BuildOptions(samples={"x": np.arange(count * 8, dtype=np.float32).reshape(count, 8)}, **more)


def double(feed: Tensors) -> Tensors:
    return {"y": feed["x"] * 2}


def images(dims: str = "N 3 H W") -> Graph:
    return graph_of(net([relu("x", "y")], [value("x", dims)], [value("y", None)]))


# --- inputs that the model takes ---------------------------------------------------------------------------------------------


def refusing(unless: Callable[[tuple[int, ...]], bool]) -> Callable[[Tensors], Tensors]:
    def run(feed: Tensors) -> Tensors:
        shape = feed["x"].shape
        if not unless(shape):
            raise EngineError(f"it does not take {shape}")
        return {"y": feed["x"]}

    return run


def test_sizes_are_guessed_until_the_model_runs():
    (first, second), _ = feeds(images(), RANDOM, refusing(lambda shape: shape[2] % 7 == 0))
    assert first["x"].shape == (1, 3, 224, 224)
    assert second["x"].shape == (2, 3, 224, 224)


def test_a_model_that_takes_no_guess_is_refused_in_the_words_of_the_first():
    with pytest.raises(UnsupportedModel, match=r"it does not take \(1, 3, 64, 64\); if that is because .* give samples"):
        feeds(images(), RANDOM, refusing(lambda shape: False))


def test_nothing_is_guessed_where_all_sizes_are_known():
    tried = []

    def run(feed: Tensors) -> Tensors:
        tried.append(feed["x"].shape)
        raise EngineError("no")

    with pytest.raises(UnsupportedModel):
        feeds(images("N 3 16 16"), RANDOM, run)
    assert tried == [(1, 3, 16, 16)]
    with pytest.raises(UnsupportedModel):
        feeds(images(), RANDOM, run)
    assert len(tried) == 1 + len(GUESSES)


def test_the_first_sample_is_tried():
    (first, _), _ = feeds(ROWS, sampled(), double)
    np.testing.assert_array_equal(first["x"], np.arange(8, dtype=np.float32).reshape(1, 8))


def test_a_sample_that_the_model_does_not_take_is_refused():
    with pytest.raises(UnsupportedModel, match=r"it does not take.*; use other samples"):
        feeds(ROWS, sampled(), refusing(lambda shape: False))


@pytest.mark.parametrize(("options", "hint"), [(RANDOM, "give samples"), (sampled(), "use other samples")])
def test_an_answer_without_a_finite_value_is_no_answer(options, hint):
    def run(feed: Tensors) -> Tensors:
        return {"y": np.full_like(feed["x"], np.nan)}

    with pytest.raises(UnsupportedModel, match=f"output 'y' has no finite value on trial, so no cut can be checked: .*{hint}"):
        feeds(ROWS, options, run)


@pytest.mark.parametrize("given", [np.float32([np.inf, 1]), np.zeros(0, np.float32), np.array([7])])
def test_one_finite_value_or_none_at_all_is_an_answer(given):
    assert feeds(ROWS, RANDOM, lambda feed: {"y": given})


def test_one_sample_is_too_few():
    with pytest.raises(InvalidInput, match="at least two samples"):
        feeds(ROWS, sampled(1), double)


def test_there_is_one_label_a_sample():
    assert feeds(ROWS, sampled(4, labels=np.zeros(4, np.int64)), double)
    with pytest.raises(InvalidInput, match="4 samples"):
        feeds(ROWS, sampled(4, labels=np.zeros(3, np.int64)), double)


# --- two at once -------------------------------------------------------------------------------------------------------------


def batches(run: Callable[[np.ndarray], np.ndarray], graph: Graph = ROWS, options: BuildOptions = RANDOM) -> bool:
    found, together = feeds(graph, options, lambda feed: {"y": run(feed["x"])})
    assert len(found[0]["x"]) == 1
    assert len(found) == 2 or not together
    return together


def two_refused(x: np.ndarray) -> np.ndarray:
    if len(x) > 1:
        raise EngineError("one at a time")
    return x


@pytest.mark.parametrize("options", [RANDOM, sampled()])
def test_two_items_may_be_run_at_once_where_each_gets_its_own_answer(options):
    assert batches(lambda x: x * 2, options=options)
    two = feeds(ROWS, options, double)[0][1]["x"]
    assert two.shape == (2, 8)
    assert not np.array_equal(two[0], two[1])


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda x: x - x.mean(axis=0), id="the batch is mixed"),
        pytest.param(lambda x: x[::-1], id="the items change places"),
        pytest.param(lambda x: x.sum(), id="one number for all"),
        pytest.param(lambda x: x.reshape(1, -1), id="a literal 1"),
        pytest.param(two_refused, id="two are refused"),
        pytest.param(lambda x: x[x > 0], id="as many as were found"),
        pytest.param(lambda x: np.concatenate([x, x], axis=1)[:, : 8 * len(x)], id="another width"),
    ],
)
def test_otherwise_they_are_run_one_by_one(run):
    assert not batches(run)


def test_two_are_checked_wherever_they_run():
    assert len(feeds(ROWS, RANDOM, lambda feed: {"y": feed["x"].sum()})[0]) == 2
    assert len(feeds(ROWS, RANDOM, lambda feed: {"y": two_refused(feed["x"])})[0]) == 1


def test_an_error_of_rounding_is_no_mixture():
    assert batches(lambda x: x * (1 + 1e-6 * (len(x) - 1)))
    assert not batches(lambda x: x * (1 + 1e-3 * (len(x) - 1)))


def test_one_output_that_mixes_is_enough():
    def run(feed: Tensors) -> Tensors:
        return {"y": feed["x"], "m": feed["x"] - feed["x"].mean(axis=0)}

    assert not feeds(ROWS, RANDOM, run)[1]


def test_a_fixed_batch_is_never_tried():
    assert not batches(lambda x: x, images("1 3 16 16"))


def test_a_second_input_without_a_batch_is_never_tried():
    proto = net([node("Add", "x b", "y")], [value("x", "N 8"), value("b", "1 8")], [value("y", "N 8")])
    found, together = feeds(graph_of(proto), RANDOM, double)
    assert (len(found), together) == (1, False)


def test_samples_that_are_whole_inputs_are_tried_one_by_one():
    graph = graph_of(net([node("Add", "x s", "y")], [value("x", "N 8"), value("s", "")], [value("y", "N 8")]))
    options = BuildOptions(samples={"x": np.ones((3, 8), np.float32), "s": np.arange(3, dtype=np.float32)})
    [first], _ = feeds(graph, options, lambda feed: {"y": feed["x"] + feed["s"]})
    assert (first["x"].shape, first["s"].shape) == ((1, 8), ())


# --- what a run tells --------------------------------------------------------------------------------------------------------


class Runtime:
    """Loads whatever it is given, and answers with arrays of set shapes, one set after the other."""

    def __init__(self, *answers: Tensors) -> None:
        self.answers = list(answers)
        self.outputs: list[str] = []
        self.fed: list[Tensors] = []

    def load(self, model: bytes, _folder: object) -> Callable[[Tensors], Tensors]:
        self.outputs = [output.name for output in onnx.ModelProto.FromString(model).graph.output]
        return self.run

    def run(self, feed: Tensors) -> Tensors:
        self.fed.append(feed)
        return self.answers[(len(self.fed) - 1) % len(self.answers)]


def found(*counts: int) -> list[Tensors]:
    """What a detector finds: so many rows of two."""
    return [{"at": np.zeros((2, count), np.int64), "y": np.zeros((2, count), np.float32)} for count in counts]


def detector() -> Graph:
    nodes = [relu("x", "a"), node("NonZero", "a", "at"), node("Cast", "at", "y", to=FLOAT)]
    return graph_of(net(nodes, [value("x", "N 8")], [value("y", "2 M")]))


def one_row() -> list[Tensors]:
    return [{"x": np.ones((1, 8), np.float32)}]


def test_only_what_is_open_is_asked_and_taken_over():
    runtime = Runtime(*found(5))
    graph = learn(detector(), RANDOM, one_row(), runtime.load)
    assert runtime.outputs == ["y", "at"]
    assert graph.shape("at") == (2, 5)
    assert graph.nbytes("at") == 80
    assert graph.spec("at") == TensorSpec("at", "int64", (2, None))
    assert graph.shape("a") == (1, 8)


def test_the_model_keeps_its_outputs():
    graph = detector()
    before = graph.model.SerializeToString()
    learn(graph, RANDOM, one_row(), Runtime(*found(5)).load)
    assert graph.model.SerializeToString() == before


def test_types_that_inference_does_not_know_are_learnt():
    graph = graph_of(models.contrib_operator())
    answer = {name: np.zeros((1, 8, 16, 16), np.float32) for name in graph.open_questions()}
    learnt = learn(graph, RANDOM, [{"x": np.ones((1, 3, 16, 16), np.float32)}], Runtime(answer).load)
    assert learnt.spec("b") == TensorSpec("b", "float32", (None,) * 4)


def test_sizes_are_the_median_over_samples():
    runtime = Runtime(*found(1, 2, 90, 3, 4))
    assert learn(detector(), sampled(5), [], runtime.load).shape("at") == (2, 3)
    assert len(runtime.fed) == 5


def test_of_an_even_number_of_samples_the_larger_middle_counts():
    assert learn(detector(), sampled(4), [], Runtime(*found(1, 9, 2, 8)).load).shape("at") == (2, 8)


def test_not_all_samples_are_run():
    runtime = Runtime(*found(1))
    learn(detector(), sampled(40), [], runtime.load)
    assert len(runtime.fed) == SAMPLES_LEARNT_FROM
    assert all(feed["x"].shape == (1, 8) for feed in runtime.fed)


def test_random_inputs_are_run_once_at_batch_1():
    runtime = Runtime(*found(1))
    one, two = np.ones((1, 8), np.float32), np.ones((2, 8), np.float32)
    learn(detector(), RANDOM, [{"x": one}, {"x": two}], runtime.load)
    assert [feed["x"].shape for feed in runtime.fed] == [(1, 8)]


def test_what_no_array_carries_teaches_nothing():
    answer = {**found(2)[0], "words": np.array(["a"], object)}
    assert learn(detector(), RANDOM, one_row(), Runtime(answer).load).sizes.keys() == {"x", "at", "y"}


def test_a_model_that_cannot_be_looked_into_is_refused():
    def load(_model: bytes, _folder: object) -> Callable[[Tensors], Tensors]:
        raise EngineError("a node has no kernel")

    with pytest.raises(UnsupportedModel, match="a node has no kernel"):
        learn(detector(), RANDOM, one_row(), load)


# --- specs -------------------------------------------------------------------------------------------------------------------


def test_tensors_are_written_down_in_the_order_asked():
    assert specs(ROWS, ["y", "x"]) == (TensorSpec("y", "float32", (None, 8)), TensorSpec("x", "float32", (None, 8)))


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(net([node("Identity", "x", "t")], [value("x", "N", STRING)], [value("t", "N", STRING)])),
        graph_of(
            net([node("Gelu", "x", "t", domain="com.microsoft")], [value("x", "N 8")], [value("t", None)], com_microsoft=1)
        ),
    ],
    ids=["text", "unknown shape"],
)
def test_a_tensor_that_no_array_carries_is_refused(graph):
    with pytest.raises(UnsupportedModel, match="'t' has no type that an array can carry, or its shape is unknown"):
        specs(graph, ["t"])


def test_integers_are_written_down_as_such():
    graph = graph_of(net([node("ArgMax", "x", "y", axis=1)], [value("x", "N 8")], [value("y", "N 1", INT64)]))
    assert specs(graph, ["y"]) == (TensorSpec("y", "int64", (None, 1)),)
