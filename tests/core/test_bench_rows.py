"""Rows of benchmarks: a goal is computed, never typed, and what was not measured does not reach one."""

from __future__ import annotations

import json
from math import inf, nan

import pytest

from splitinfer.bench.rows import Row, as_object, at_least, at_most, spread_of

FIELDS = {"name", "value", "unit", "goal", "met", "rival", "ratio", "n", "spread"}


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (at_most(1.06), 1.06, True),
        (at_most(1.06), 1.0600001, False),
        (at_most(0), 0, True),
        (at_most(50), inf, False),
        (at_most(50), nan, False),
        (at_least(0.99), 0.99, True),
        (at_least(0.99), 0.98, False),
        (at_least(2), inf, True),
        (at_least(2), -3, False),
        (at_least(2), nan, False),
    ],
)
def test_whether_a_goal_is_reached(goal, value, met):
    assert goal.met(value) is met
    assert Row("x", value, "ms", goal).met is met


def test_a_row_without_a_goal_reaches_none():
    assert Row("x", 1.0, "ms").met is None


def test_met_follows_the_value_and_cannot_be_given():
    with pytest.raises(TypeError):
        Row("x", 1.0, "ms", at_most(0), met=True)


def test_a_row_as_an_object():
    row = Row("a thing", 1.5, "ms", at_most(2), rival="another", ratio=0.5, n=7, spread=0.25)
    assert row.as_object() == {
        "name": "a thing",
        "value": 1.5,
        "unit": "ms",
        "goal": "<= 2",
        "met": True,
        "rival": "another",
        "ratio": 0.5,
        "n": 7,
        "spread": 0.25,
    }
    assert Row("x", 1.0, "ms").as_object().keys() == FIELDS


@pytest.mark.parametrize(
    ("goal", "text"), [(at_most(1e-4), "<= 0.0001"), (at_least(0.99), ">= 0.99"), (at_most(210), "<= 210")]
)
def test_a_goal_for_people(goal, text):
    assert str(goal) == text


def test_the_spread_is_half_of_the_middle_eight_tenths():
    assert spread_of([float(value) for value in range(11)]) == pytest.approx(4.0)
    assert spread_of([3.0]) == 0.0
    assert spread_of([1.0, inf]) is None
    assert spread_of([1.0, nan]) is None


def test_a_benchmark_as_an_object():
    found = json.loads(json.dumps(as_object([Row("x", 1.0, "ms", at_least(2))])))
    assert found.keys() == {"machine", "versions", "rows"}
    assert found["machine"].keys() >= {"cpu", "cores", "system"}
    assert found["versions"].keys() >= {"python", "numpy", "onnxruntime", "grpcio"}
    assert [row["met"] for row in found["rows"]] == [False]
