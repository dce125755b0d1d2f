"""Every trap is cut right at every boundary, or refused where refusing is right."""

from __future__ import annotations

import pytest

from splitinfer.bench.traps import TRAPS
from splitinfer.bench.traps.judge import judge

PENDING = {
    "branches_of_other_rank": "the rank seen in one run is taken for the rank",
    "open_sides": "a picture crosses for its shape",
    "shape_read_late": "a tensor crosses for its shape",
    "qdq_uint8": "floats behind a DequantizeLinear cross",
    "qdq_int8_per_channel": "floats behind a DequantizeLinear cross",
    "qdq_int4_weights": "a product whose weight is dequantised is another kernel when its result crosses",
    "dequantised_twice": "floats behind a DequantizeLinear cross",
    "qdq_of_the_runtime": "floats behind a DequantizeLinear cross",
    "integer_input": "floats behind a DequantizeLinear cross",
    "annotated": "floats behind a DequantizeLinear cross",
}
"""Traps that the cutter falls into, and why. None may stay here."""


def _marks(trap):
    if trap.name not in PENDING:
        return ()
    return pytest.mark.skip(PENDING[trap.name]) if trap.hostile else pytest.mark.xfail(reason=PENDING[trap.name])


@pytest.mark.parametrize("trap", [pytest.param(trap, id=trap.name, marks=_marks(trap)) for trap in TRAPS])
def test_a_trap_is_cut_right_or_refused(trap, tmp_path):
    verdict = judge(trap, tmp_path)
    assert verdict.right, verdict.reason
