"""Which of the plans that were measured are worth keeping: the Pareto front of each cut.

A plan is dropped where a plan of the same cut that is kept has no more bytes (median), no larger accuracy loss, no larger bound
of it, and takes no longer to code (encode and decode, reference profile). Of plans that are equal in that, the one that is
quickest to compute stays. The figures are those by which a policy chooses: what is dropped, it would never take. Lossless plans
stay, so that there is always one that is sure to change nothing; and so do plans that somebody asked for. Runs no model.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from splitinfer.codec import codec
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard

SAME_TIME = 1.1
"""Coding times within this factor count as equal, and so do those that differ by less than `SAME_MS`: they are measured."""
SAME_MS = 0.02

_Row = tuple[int, float, float, float, Plan]
"""Bytes, loss, bound, coding time, plan; in this order the best come first."""


def pareto(card: Scorecard, profile: Profile) -> Scorecard:
    """A scorecard without the plans that another one makes superfluous; `dropped` says how many.

    Args:
        card: of all plans that were measured.
        profile: how long they take to code.
    """
    cuts: dict[int, list[_Row]] = defaultdict(list)
    for plan, score in card.scores.items():
        cuts[plan.cut].append(_row(plan, score, profile))
    kept = {plan for rows in cuts.values() for plan in _front(rows)}
    scores = {plan: score for plan, score in card.scores.items() if plan in kept}
    return replace(card, scores=scores, dropped=card.dropped + len(card.scores) - len(scores))


def _row(plan: Plan, score: PlanScore, profile: Profile) -> _Row:
    loss, bound = (1.0 if value is None else value for value in (score.accuracy_loss, score.accuracy_loss_bound))
    coding_ms = profile.encode_ms.get(plan, 0.0) + profile.decode_ms.get(plan, 0.0)
    return score.bytes_p50, loss, bound, coding_ms, plan


def _front(rows: list[_Row]) -> list[Plan]:
    kept: list[_Row] = []
    for row in sorted(rows):  # whatever makes a row superfluous comes before it, as it has no more bytes
        if codec(row[-1].codec).lossless or not any(_no_worse(other, row) for other in kept):
            kept.append(row)
    return [row[-1] for row in kept]


def _no_worse(one: _Row, other: _Row) -> bool:
    quick = one[3] <= max(other[3] * SAME_TIME, other[3] + SAME_MS)
    return quick and all(a <= b for a, b in zip(one[:3], other[:3], strict=True))
