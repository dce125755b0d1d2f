"""How sure a scorecard is of the plans that changed nothing, and how many samples it takes to be as sure as somebody wishes.

Of shares only: no number of samples makes one sure of whatever metric somebody brings. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.build.bounds import samples_needed, upper_bound
from splitinfer.plan import Scorecard

OF_SHARES = ("agreement", "accuracy")
"""Metrics that are shares of answers."""


@dataclass(frozen=True)
class Certainty:
    """What can be said of plans that changed no answer.

    Attributes:
        unchanged: how many there are, lossless ones left out.
        draws: what each was measured on: groups where samples belong to groups, else samples; those that report.
        grouped: whether these are groups.
        bound: share of the answers that each of them, by itself, loses at most; 95 %, one-sided.
        wished: the bound that somebody would like.
        needed: draws that a build must be given for it, one half to choose and one half to report, if again nothing changes.
    """

    unchanged: int
    draws: int
    grouped: bool
    bound: float
    wished: float
    needed: int


def certainty(card: Scorecard, wished: float) -> Certainty | None:
    """None where no answers were compared, or with a metric of one's own.

    Args:
        card: of a bundle.
        wished: a bound of the accuracy loss, between 0 and 1.
    """
    measured = [score for score in card.scores.values() if score.n]
    if not measured or card.metric not in OF_SHARES:
        return None
    grouped = measured[0].groups > 0
    draws = min(score.groups or score.n for score in measured)
    sure = [score for score in measured if score.accuracy_loss == 0 and score.accuracy_loss_bound]
    bound = upper_bound(0, draws)
    unchanged = [score for score in sure if (score.accuracy_loss_bound or 1.0) <= bound + 1e-9]
    return Certainty(len(unchanged), draws, grouped, bound, wished, 2 * samples_needed(wished))
