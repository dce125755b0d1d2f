"""Learns what a hand-over takes from what hand-overs took, without a model of the link: a linear bandit with forgetting.

    remote_ms ~ theta . (1, bytes, tail)      and the plan of the lowest confidence bound is taken

After Zhang et al., "Autodidactic Neurosurgeon: collaborative deep inference for mobile edge intelligence via online learning",
WWW 2021: every sixteenth choice is a remote one, since a device that stays local learns nothing. Here to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from splitinfer.plan import Budget, Conditions, Plan
from splitinfer.policy.robust import reason
from splitinfer.policy.rule import Decision, least
from splitinfer.policy.table import Floats, Table, prefer, usable

FORGETTING = 0.95
RIDGE = 0.01
WIDTH = 50.0
"""Milliseconds that one unit of uncertainty is worth."""
FORCED_EVERY = 16
REMOTE_MAX_MS = 3_000.0


def _start() -> tuple[Floats, Floats]:
    matrix = np.eye(3) * RIDGE
    return matrix, matrix @ np.array([50.0, 500.0, 0.0])


@dataclass(frozen=True, slots=True, eq=False)
class LinUCB:
    """Attributes: `moments` are the sums of x x^T and x y; `decided` counts hand-overs that were learnt from."""

    moments: tuple[Floats, Floats] = field(default_factory=_start)
    learnt_from: int = 0
    name: str = "linucb"

    def decide(
        self, table: Table, conditions: Conditions, budget: Budget, current: Plan | None = None, draw: float = 0.5
    ) -> Decision:
        """See `Policy`."""
        features = _features(table)
        inverse = np.linalg.inv(self.moments[0])
        expected = features @ (inverse @ self.moments[1])
        width = np.sqrt(np.einsum("ij,jk,ik->i", features, inverse, features))
        score = table.here_ms + table.remote * np.maximum(expected - WIDTH * width, 0.0)
        allowed = usable(table, conditions, budget)
        if draw < 1 / FORCED_EVERY:
            allowed = prefer(allowed, ~table.local)
        return least(table, score, allowed, None, lambda row: reason(table, row, conditions, budget))

    def learnt(self, table: Table, plan: Plan, remote_ms: float) -> LinUCB:
        """What it is after a hand-over that took so long, from the first byte sent to the answer. Nonsense changes nothing."""
        row = table.rows.get(plan)
        if row is None or table.local[row] or not 0.0 <= remote_ms < inf:
            return self
        x = _features(table)[row]
        matrix, vector = self.moments
        forgotten = FORGETTING * matrix + (1 - FORGETTING) * RIDGE * np.eye(3)
        moments = forgotten + np.outer(x, x), FORGETTING * vector + x * min(remote_ms, REMOTE_MAX_MS)
        return replace(self, moments=moments, learnt_from=self.learnt_from + 1)


def _features(table: Table) -> Floats:
    tail = table.tail_ms / max(float(table.tail_ms.max()), 1e-9)
    return np.stack([np.ones_like(tail), table.nbytes / 1e5, tail], axis=1)
