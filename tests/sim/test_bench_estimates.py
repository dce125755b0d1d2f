"""How long the next upload takes, told beforehand: over links of which some carry nothing."""

from __future__ import annotations

from math import isfinite

import pytest

from splitinfer.bench.policies.estimates import measure
from splitinfer.errors import SimulationError
from splitinfer.sim.study import Link
from splitinfer.sim.trace import LinkTrace

DEAD = Link.over(LinkTrace.steps([(10, 0, 30)], name="dead", wraps=True))
STEADY = Link.over(LinkTrace.steps([(10, 8, 30)], name="steady", wraps=True))


def test_a_link_that_carries_nothing_does_not_count() -> None:
    rows = measure([DEAD, STEADY], lambda _text: None)
    assert all(isfinite(row.value) for row in rows)
    assert all(row.value < 0.2 for row in rows if "median" in row.name)


def test_where_nothing_ever_ends_it_is_said() -> None:
    with pytest.raises(SimulationError, match="no upload"):
        measure([DEAD], lambda _text: None)
