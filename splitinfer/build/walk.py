"""Going through a cut model: cut by cut, and from a cut to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from splitinfer.engine import Engine, Held
from splitinfer.model import Cut, Tensors

Progress = Callable[[int, int], None]
"""Hears how many of how many are done."""

MANY_CUTS = 16
"""With more, tails are run segment by segment: one session for each would hold the weights as often as there are cuts."""


def along(engine: Engine, feeds: Sequence[Tensors]) -> Iterator[tuple[Cut, list[Held]]]:
    """What is held at each cut where something crosses, for all feeds."""
    helds = [engine.hold(0, feed) for feed in feeds]
    for cut in engine.model.cuts[:-1]:
        yield cut, helds
        helds = [engine.run(cut.index, cut.index + 1, held) for held in helds]


def to_end(engine: Engine, held: Held) -> Held:
    """Runs the rest: as one range, as the cloud does, or segment by segment where there are many cuts."""
    n = engine.model.n
    if n <= MANY_CUTS:
        return engine.run(held.at, n, held)
    while held.at < n:
        held = engine.run(held.at, held.at + 1, held)
    return held
