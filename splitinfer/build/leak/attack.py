"""How far the better of two attackers gets. Knows no codec and no engine."""

from __future__ import annotations

from collections.abc import Sequence

from splitinfer.build.leak.local import local
from splitinfer.build.leak.secret import Secret
from splitinfer.build.leak.whole import whole
from splitinfer.model import Tensors
from splitinfer.plan import Leak


def at_least(secret: Secret, known: Sequence[Tensors], hidden: Sequence[Tensors]) -> Leak:
    """How well the hidden inputs can be rebuilt from what crossed for them. A lower bound.

    Args:
        secret: the inputs.
        known: what arrived for each of its known inputs, in their order.
        hidden: what arrived for each of its hidden ones.
    """
    if secret.name in hidden[0]:
        return secret.leak(secret.seen(hidden))
    crossed = [*known, *hidden]
    attempts = [attempt for attack in (local, whole) if (attempt := attack(secret, crossed)) is not None]
    if not attempts:
        return secret.leak(secret.guess())
    return secret.leak(min(attempts, key=lambda attempt: attempt.error).rebuild())
