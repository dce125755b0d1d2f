"""Every trap is cut right at every boundary, or refused where refusing is right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splitinfer.bench.traps import TRAPS
from splitinfer.bench.traps.judge import judge
from splitinfer.bench.traps.parts import ROWS, node, relu, row_net, weight
from splitinfer.bench.traps.trap import cut, refused
from tests.cutting import one_child

SLOW = {"long_chain"}
"""Hundreds of cuts."""


def _marks(trap):
    return pytest.mark.slow if trap.name in SLOW else ()


@pytest.fixture(scope="module", autouse=True)
def _one_child():
    with one_child():
        yield


@pytest.mark.parametrize("trap", [pytest.param(trap, id=trap.name, marks=_marks(trap)) for trap in TRAPS])
def test_a_trap_is_cut_right_or_refused(trap, tmp_path):
    verdict = judge(trap, tmp_path)
    assert verdict.right, verdict.reason


def plain():
    """Two layers."""
    return row_net([node("MatMul", "x w", "a"), relu("a", "b"), node("MatMul", "b w", "y")], [weight("w", 8, 8)])


def other():
    """Two layers that give another answer."""
    return row_net([node("MatMul", "x w", "a"), relu("a", "b"), node("Tanh", "b", "y")], [weight("w", 8, 8)])


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        (cut(plain, ROWS, "a", "b"), ""),
        (cut(plain, ROWS, same_as=other), "error"),
        (cut(plain, ROWS, "nowhere"), "no cut at nowhere"),
        (cut(plain, ROWS, {"a", "b"}), "no cut at a+b"),
        (cut(plain, ROWS, never={"b"}), "b must not cross"),
        (cut(plain, ROWS, cuts_min=5), "fewer than 5 cuts"),
        (refused(plain, "a"), "it was cut"),
    ],
)
def test_the_judge_sees_what_is_wrong(trap, reason, tmp_path):
    verdict = judge(trap, tmp_path)
    assert verdict.right is not bool(reason)
    assert reason in verdict.reason


def folder(parent, name):
    (parent / name).mkdir()
    return parent / name


def test_the_judge_wants_the_node_in_a_message(tmp_path):
    trap = next(trap for trap in TRAPS if trap.name == "random_numbers")
    assert "noise" in judge(trap, folder(tmp_path, "a")).reason
    verdict = judge(replace(trap, says=("elsewhere",)), folder(tmp_path, "b"))
    assert not verdict.right
    assert "does not name elsewhere" in verdict.reason


def test_what_is_allowed_to_cross_beside_is_small(tmp_path):
    trap = next(trap for trap in TRAPS if trap.name == "input_of_the_tail")
    assert judge(replace(trap, must_cross=(frozenset({"seen"}),)), folder(tmp_path, "a")).right
    trap = next(trap for trap in TRAPS if trap.name == "input_in_the_middle")
    assert not judge(replace(trap, must_cross=(frozenset({"b"}),)), folder(tmp_path, "b")).right
