"""Inputs to try a model with: sizes that are guessed, and samples as runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from splitinfer.bench.traps.parts import BFLOAT16, BOOL, FLOAT, FLOAT16, INT64, UINT8, net, node, value
from splitinfer.build.feeds import (
    GUESSES,
    Guess,
    has_batch,
    has_open_sizes,
    random_feed,
    random_feeds,
    sample_feeds,
    taken,
    together,
)
from splitinfer.build.graph import Graph
from splitinfer.errors import InvalidInput, UnsupportedModel
from splitinfer.model import Model, TensorSpec
from tests import models
from tests.cutting import graph_of


def taking(*inputs: str, kind: int = FLOAT) -> Graph:
    """A graph with inputs of these shapes: a, b, ..."""
    names = "abcdef"[: len(inputs)]
    nodes = [node("Cast", name, f"{name}f", to=FLOAT) for name in names]
    nodes += [node("ReduceSum", f"{name}f", f"{name}s", keepdims=0) for name in names]
    ends = [value(f"{name}s", "") for name in names]
    return graph_of(net(nodes, [value(name, dims, kind) for name, dims in zip(names, inputs, strict=True)], ends))


def shapes(feed: Mapping[str, np.ndarray]) -> list[list[int]]:
    return [list(array.shape) for array in feed.values()]


# --- random ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        ("N 3 H W", [5, 3, 64, 64]),
        ("N 3 16 16", [5, 3, 16, 16]),
        ("N T", [5, 16]),
        ("N T 80", [5, 16, 80]),
        ("N 1 80 T", [5, 1, 80, 16]),
        ("1 T", [1, 16]),
        ("N H W", [5, 16, 16]),
        ("2 N 64", [2, 5, 64]),
        ("2 M T", [2, 16, 16]),
        ("2 8 N 64", [2, 8, 16, 64]),
        ("", []),
    ],
)
def test_open_dimensions_are_the_batch_a_side_or_a_length(dims, expected):
    assert shapes(random_feed(taking(dims), batch=5)) == [expected]


def test_each_guess_has_its_own_sizes():
    graph = taking("N 3 H W", "N T")
    assert [shapes(random_feed(graph, 1, guess)) for guess in (GUESSES[0], Guess(7, 9))] == [
        [[1, 3, 64, 64], [1, 16]],
        [[1, 3, 7, 7], [1, 9]],
    ]
    assert len({(guess.plane, guess.length) for guess in GUESSES}) == len(GUESSES) >= 3


def test_one_name_is_one_size_in_all_inputs():
    assert shapes(random_feed(taking("N T", "N 3 T W"), 2)) == [[2, 16], [2, 3, 16, 64]]
    assert shapes(random_feed(taking("N T", "T 1"), 2)) == [
        [2, 2],
        [2, 1],
    ]  # a name that is the batch anywhere is so everywhere


@pytest.mark.parametrize(
    ("total", "expected"), [("P+S", 32), ("P + S", 32), ("P + 1", 17), ("1+P", 17), ("P + S + 2", 34), ("P + unknown", 32)]
)
def test_a_sum_of_names_is_the_sum_of_their_sizes(total, expected):
    proto = net([node("Add", "a b", "y")], [value("a", "N P"), value("b", "N S")], [value("y", None)])
    proto.graph.input.append(value("mask", "N T"))
    proto.graph.input[2].type.tensor_type.shape.dim[1].dim_param = total
    assert shapes(random_feed(Graph.of(proto), 1))[2] == [1, expected]


def test_values_are_drawn_for_their_type():
    kinds = {"a": FLOAT, "b": FLOAT16, "c": INT64, "d": BOOL, "e": UINT8}
    feed = {
        name: random_feed(taking(*["N 200"] * (at + 1), kind=kind), 2)[name] for at, (name, kind) in enumerate(kinds.items())
    }
    assert [array.dtype.name for array in feed.values()] == ["float32", "float16", "int64", "bool", "uint8"]
    assert abs(feed["a"].mean()) < 0.2
    assert 0.8 < feed["a"].std() < 1.2
    assert set(feed["c"].ravel()) == {0, 1}
    assert set(feed["d"].ravel()) == {False, True}
    assert feed["e"].max() > 200


def test_the_same_inputs_come_each_time_and_each_input_has_its_own():
    first, again = (random_feed(taking("N 8", "N 8"), 1) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in "ab")
    assert not np.array_equal(first["a"], first["b"])


def test_an_input_that_no_array_carries_is_refused():
    with pytest.raises(UnsupportedModel, match=r"input 'a' is of type bfloat16.*put a Cast in front of it"):
        random_feed(taking("N 8", kind=BFLOAT16), 1)


def test_an_input_larger_than_2_gb_is_refused():
    with pytest.raises(UnsupportedModel, match=r"input 'a' has the shape \[1, 600000000\], which is larger than 2 GB"):
        random_feed(taking("N 600000000"), 1)
    assert shapes(random_feed(taking("N 500000"), 1)) == [[1, 500000]]


def test_inputs_of_a_bundle_are_guessed_like_those_of_a_model():
    specs = (TensorSpec("a", "float32", (None, 3, None, None)), TensorSpec("b", "uint8", (1, None)))
    feed = random_feeds(Model("", "net", "1", specs, (), (), (), frozenset()), batch=2)
    assert shapes(feed) == [[2, 3, 64, 64], [1, 16]]
    assert feed["b"].dtype == np.uint8


@pytest.mark.parametrize(
    ("inputs", "batch", "open_sizes"),
    [
        (["N 8"], True, False),
        (["N 8", "N T"], True, True),
        (["N 8", "1 8"], False, False),
        (["1 T"], False, True),
        (["N 8", ""], False, False),
        (["2 N 64"], False, True),
    ],
)
def test_whether_there_is_a_batch_and_whether_sizes_are_open(inputs, batch, open_sizes):
    graph = taking(*inputs)
    assert (has_batch(graph), has_open_sizes(graph)) == (batch, open_sizes)


def test_an_axis_that_all_inputs_leave_open_is_a_batch():
    assert has_batch(graph_of(models.two_inputs()))


# --- samples -----------------------------------------------------------------------------------------------------------------

ROW = TensorSpec("a", "float32", (None, 4))
STATE = TensorSpec("h", "float32", (2, None, 3))
SCALAR = TensorSpec("s", "int64", ())
FIXED = TensorSpec("f", "float32", (2, 4))


def zeros(*shape: int, kind: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape), dtype=kind).reshape(shape)


def test_items_of_a_batch_are_put_together_and_the_rest_is_a_smaller_batch():
    runs = sample_feeds([ROW], {"a": zeros(5, 4)}, 2)
    assert [shapes(run) for run in runs] == [[[2, 4]], [[2, 4]], [[1, 4]]]
    np.testing.assert_array_equal(np.concatenate([run["a"] for run in runs]), zeros(5, 4))
    assert taken([ROW], {"a": zeros(5, 4)}, runs) == [2, 2, 1]
    assert together([ROW], {"a": zeros(5, 4)}) == 1


def test_a_fixed_batch_is_filled():
    samples = {"f": zeros(6, 4)}
    runs = sample_feeds([FIXED], samples, 1)
    assert [shapes(run) for run in runs] == [[[2, 4]]] * 3
    assert taken([FIXED], samples, runs) == [2, 2, 2]
    assert together([FIXED], samples) == 2
    with pytest.raises(InvalidInput, match="takes 2 items at once, 5 samples do not divide by that"):
        sample_feeds([FIXED], {"f": zeros(5, 4)}, 1)


def test_with_a_scalar_each_sample_is_a_run():
    samples = {"a": zeros(3, 4), "s": zeros(3, kind="int64")}
    runs = sample_feeds([ROW, SCALAR], samples, 2)
    assert [shapes(run) for run in runs] == [[[1, 4], []]] * 3
    assert [int(run["s"]) for run in runs] == [0, 1, 2]
    assert isinstance(runs[0]["s"], np.ndarray)
    np.testing.assert_array_equal(runs[1]["a"], zeros(3, 4)[1:2])
    assert taken([ROW, SCALAR], samples, runs) == [1, 1, 1]


def test_a_state_that_is_no_batch_is_given_whole():
    samples = {"a": zeros(2, 4), "h": zeros(2, 2, 1, 3)}
    runs = sample_feeds([ROW, STATE], samples, 8)
    assert [shapes(run) for run in runs] == [[[1, 4], [2, 1, 3]]] * 2
    np.testing.assert_array_equal(runs[1]["h"], samples["h"][1])


def test_a_whole_input_of_a_fixed_size_is_a_run():
    samples = {"f": zeros(3, 2, 4)}
    runs = sample_feeds([FIXED], samples, 1)
    assert [shapes(run) for run in runs] == [[[2, 4]]] * 3
    assert (together([FIXED], samples), taken([FIXED], samples, runs)) == (1, [1, 1, 1])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, r"need exactly the arrays \['a'\], there are \[\]"),
        ({"a": zeros(2, 4), "b": zeros(2, 4)}, r"there are \['a', 'b'\]"),
        ({"a": zeros(2, 5)}, r"samples 'a': expected float32 \['samples', 4\], got float32 \[2, 5\]"),
        ({"a": zeros(2, 4, kind="float64")}, "got float64"),
        ({"a": zeros(2, 1, 5)}, r"got float32 \[2, 1, 5\]"),
        ({"a": zeros(2)}, r"got float32 \[2\]"),
        ({"a": np.float32(1)}, r"got float32 \[\]"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, message):
    with pytest.raises(InvalidInput, match=message):
        sample_feeds([ROW], samples, 1)


def test_a_scalar_needs_one_value_a_sample():
    with pytest.raises(InvalidInput, match="samples 's': expected int64"):
        sample_feeds([SCALAR], {"s": np.array(3)}, 1)


def test_all_inputs_need_as_many_samples():
    other = TensorSpec("b", "float32", (None, 4))
    with pytest.raises(InvalidInput, match=r"different numbers of samples: \[2, 3\]"):
        sample_feeds([ROW, other], {"a": zeros(2, 4), "b": zeros(3, 4)}, 1)
