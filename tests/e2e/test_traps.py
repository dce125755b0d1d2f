"""Every trap is cut right at every boundary, or refused where refusing is right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splitinfer.bench.traps import TRAPS
from splitinfer.bench.traps.judge import judge
from splitinfer.bench.traps.parts import ROWS, node, relu, row_net, weight
from splitinfer.bench.traps.trap import cut, refused

PENDING = {
    "branches_of_other_rank": "the rank seen in one run is taken for the rank",
    "open_sides": "a picture crosses for its shape",
    "shape_read_late": "a tensor crosses for its shape",
    "lengths_of_one_name": "a named dimension gets two sizes on trial",
    "key_value_cache": "a dimension called 'P + S' is not the sum of P and S on trial",
    "half_inside": "float16 is rounded where the runtime would not",
    "half_ends": "float16 is rounded where the runtime would not",
    "four_bits_inside": "four bits do not cross",
    "sparse_weight": "not supported",
    "sparse_coordinates": "not supported",
    "weights_by_nodes": "a node that is computed on both sides has the same name twice when segments are joined",
    "weights_given_out": "an output that is a weight is refused",
    "input_is_output": "an output that is an input is refused",
    "qdq_uint8": "floats behind a DequantizeLinear cross",
    "qdq_int8_per_channel": "floats behind a DequantizeLinear cross",
    "rounding_at_ties": "floats inside a quantised unit cross",
    "qdq_int4_weights": "the runtime takes another kernel for four-bit weights when neighbours change",
    "dequantised_twice": "floats behind a DequantizeLinear cross",
    "qdq_of_the_runtime": "floats behind a DequantizeLinear cross",
    "integer_input": "floats inside a quantised unit cross",
    "annotated": "floats behind a DequantizeLinear cross",
    "function_of_everything": "functions are not opened",
    "names_repeated": "the runtime does not take them, and nobody renames them",
    "names_that_are_odd": "a tensor called 'end' makes a cut called as the last one",
    "names_that_collide": "two cuts are called 'p+q+x'",
    "declared_scarcely": "the checker wants a shape of the output",
    "counted": "an open axis 0 is taken for the batch, and what was empty on trial is offered",
    "data_behind_linked_folder": "the message does not name the file",
    "data_too_short": "the message does not name the file",
    "normalisation_in_training": "nobody looks at training_mode",
    "input_without_shape": "the message does not name the input",
    "unknown_operator": "the message does not name the node",
    "unknown_in_branch": "the message does not name the node",
    "functions_without_end": "hangs",
    "bomb_of_a_fill": "depends on how much memory there is",
    "bomb_of_an_expand": "depends on how much memory there is",
    "bomb_of_doublings": "takes the memory first",
    "endless_loop": "hangs",
}
"""Traps that the cutter falls into, and why. None may stay here."""

SLOW = {"long_chain"}
"""Hundreds of cuts."""


def _marks(trap):
    if trap.name in SLOW:
        return pytest.mark.slow
    if trap.name not in PENDING:
        return ()
    return pytest.mark.skip(PENDING[trap.name]) if trap.hostile else pytest.mark.xfail(reason=PENDING[trap.name])


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
