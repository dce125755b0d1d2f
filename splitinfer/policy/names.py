"""From a name to a policy, and to the estimate of the link that goes with it."""

from __future__ import annotations

from collections.abc import Callable

from splitinfer.estimate import Belief, Estimate, Harmonic
from splitinfer.plan import Plan
from splitinfer.policy.linucb import LinUCB
from splitinfer.policy.neurosurgeon import Neurosurgeon
from splitinfer.policy.robust import Robust
from splitinfer.policy.rule import Policy
from splitinfer.policy.static import Static
from splitinfer.policy.thompson import Thompson

NAMED: dict[str, Callable[[], Policy]] = {
    "thompson": Thompson,
    "robust": Robust,
    "neurosurgeon": Neurosurgeon,
    "neurosurgeon+kalman": lambda: Neurosurgeon("neurosurgeon+kalman"),
    "linucb": LinUCB,
}
"""Those without an argument."""


def policy(text: str) -> Policy:
    """Reads the name of a policy: one of `NAMED`, or "static:CUT/CODEC".

    Raises:
        ValueError: there is none of that name.
    """
    if text in NAMED:
        return NAMED[text]()
    kind, _, rest = text.partition(":")
    if kind == "static" and rest:
        return Static(Plan.parse(rest))
    raise ValueError(f"unknown policy {text!r}: use {', '.join(NAMED)} or static:CUT/CODEC, for example static:2/int8+zstd1")


def belief(name: str) -> Belief:
    """The estimate of the link that a policy of this name was published with; ours where it was with none."""
    return Harmonic() if name == "neurosurgeon" else Estimate()
