"""What a scheduler was made of: all that decides what it says, besides what it is told. Knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import splitinfer
from splitinfer.energy import Power
from splitinfer.errors import RecordingError
from splitinfer.estimate import Prior
from splitinfer.plan import Budget
from splitinfer.policy import Policy, policy
from splitinfer.scheduler import Scheduler


@dataclass(frozen=True)
class Start:
    """Where a recording starts.

    Attributes:
        policy: name of the rule.
        seed: of its draws.
        budget: what might be spent at the start.
        power: energy model of the device.
        priors: what was remembered of networks.
        began_at_ms: on the scheduler's clock; the times of events count from here. A whole number costs none of their digits.
        splitinfer: version of what was recorded.
    """

    policy: str
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    power: Power = field(default_factory=Power)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    began_at_ms: float = 0.0
    splitinfer: str = splitinfer.__version__

    def scheduler(self, rule: Policy | None = None) -> Scheduler:
        """A new one, made of the same, with this policy or another.

        Raises:
            RecordingError: the policy is not one of ours.
        """
        try:
            rule = policy(self.policy) if rule is None else rule
        except ValueError as error:
            raise RecordingError(f"it was recorded with a policy that is not known here: {error}") from error
        return Scheduler(rule, self.budget, self.power, seed=self.seed, priors=self.priors)
