"""The leak of every plan of a scorecard. Knows no attack.

The attacker sees what arrives: coded and decoded. What arrives is the same for all plans without loss of a cut, and with or
without a byte compressor: such plans are attacked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from splitinfer.build.leak.attack import at_least
from splitinfer.build.leak.planes import drawn
from splitinfer.build.leak.secret import HIDDEN, KNOWN, Secret, secret_of
from splitinfer.build.walk import Progress, along
from splitinfer.codec import codec
from splitinfer.engine import Engine
from splitinfer.model import Tensors
from splitinfer.payload import Packer
from splitinfer.plan import Leak, Plan, Scorecard

Halves = tuple[Sequence[Tensors], Sequence[Tensors]]
"""What is known to the attacker, what is hidden from him; one sample each."""


def with_leaks(engine: Engine, packer: Packer, card: Scorecard, halves: Halves, progress: Progress) -> Scorecard:
    """A scorecard whose plans say how well the input can be rebuilt.

    Args:
        engine: runs the model.
        packer: of the finished bundle.
        card: the plans.
        halves: inputs that calibrated the codecs, inputs that did not.
        progress: hears how many plans of how many are done.
    """
    known, hidden = ([half[i] for i in drawn(len(half), most)] for half, most in zip(halves, (KNOWN, HIDDEN), strict=True))
    secret = secret_of(engine.model, known, hidden)
    if secret is None:
        return card
    scores = dict(card.scores)
    for done, (plan, leak) in enumerate(_leaks(engine, packer, sorted(scores), secret, [*known, *hidden]), start=1):
        scores[plan] = replace(scores[plan], leak_at_least=leak)
        progress(done, len(scores))
    return replace(card, scores=scores)


def _leaks(
    engine: Engine, packer: Packer, plans: Sequence[Plan], secret: Secret, feeds: Sequence[Tensors]
) -> Iterator[tuple[Plan, Leak]]:
    for cut, helds in along(engine, feeds):
        sent = [held.plain() for held in helds]
        found: dict[str, Leak] = {}
        for plan in plans:
            if plan.cut != cut.index or not all(array.size for tensors in sent for array in tensors.values()):
                continue
            what = "" if codec(plan.codec).lossless else plan.codec.removesuffix("+zstd1")
            if what not in found:
                found[what] = _leak(packer, plan, secret, sent)
            yield plan, found[what]


def _leak(packer: Packer, plan: Plan, secret: Secret, sent: Sequence[Tensors]) -> Leak:
    def arrived(tensors: Sequence[Tensors]) -> Sequence[Tensors]:
        if codec(plan.codec).lossless:
            return tensors
        return [packer.unpack(packer.pack(plan.cut, plan.codec, one)) for one in tensors]

    known, hidden = sent[: len(secret.known)], sent[len(secret.known) :]
    learns = secret.name not in sent[0]
    return at_least(secret, arrived(known) if learns else known, arrived(hidden))
