"""The scorecard: what each plan does to bytes and answers, measured on samples.

Every second sample calibrates the codecs, the others report: no plan is judged on what it was tuned to. Heads are run
segment by segment, so that each sample passes through the model once for all cuts; tails are run in batches where the model
allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite

import numpy as np

from splitinfer.build.answers import Judge, stacked
from splitinfer.build.check import difference
from splitinfer.build.walk import MANY_CUTS, Progress, along, to_end
from splitinfer.codec import Codec, codecs_for, table_key
from splitinfer.engine import Engine, Held
from splitinfer.model import Array, Cut, Model, Tensors
from splitinfer.payload import Packer
from splitinfer.plan import Plan, PlanScore, Scorecard

BATCH = 8

Halves = tuple[Mapping[str, Array], Mapping[str, Array], Array | None]
"""Samples to calibrate with, samples to report with, and the labels of these."""


@dataclass(frozen=True)
class Offered:
    """The plans of a model that are to be measured.

    Attributes:
        model: what was cut.
        codecs: ids to keep; None = all that fit.
    """

    model: Model
    codecs: tuple[str, ...] | None = None

    def at(self, cut: Cut) -> tuple[Codec, ...]:
        """The codecs of a cut."""
        found = codecs_for(cut, image=self.model.image_input if cut.index == 0 else None)
        return tuple(codec for codec in found if self.codecs is None or codec.id in self.codecs)

    def count(self) -> int:
        """How many plans there are, the one that sends nothing left out."""
        return sum(len(self.at(cut)) for cut in self.model.cuts)


def calibrate(engine: Engine, offered: Offered, feeds: Sequence[Tensors]) -> dict[str, bytes]:
    """The codec tables of a model, from samples.

    Args:
        engine: runs the model.
        offered: the plans to be.
        feeds: inputs, any batch.
    """
    tables: dict[str, bytes] = {}
    for cut, helds in along(engine, feeds):
        plain = [held.plain() for held in helds]
        for codec in offered.at(cut):
            for spec in cut.tensors:
                key = table_key(cut.index, spec.name, codec.id)
                if key in tables or not codec.accepts(spec):
                    continue
                table = codec.calibrate(spec, [tensors[spec.name] for tensors in plain])
                if table is not None:
                    tables[key] = table
    return tables


def score(
    engine: Engine, packer: Packer, offered: Offered, feeds: Sequence[Tensors], judge: Judge, progress: Progress
) -> Scorecard:
    """Measures every plan on samples that no codec was calibrated with.

    Args:
        engine: runs the model.
        packer: of the finished bundle.
        offered: the plans.
        feeds: inputs.
        judge: knows the right answers, in the same order.
        progress: hears how many plans of how many are done.
    """
    scores: dict[Plan, PlanScore] = {}
    total = offered.count()
    for cut, helds in along(engine, feeds):
        tails = _Tails(engine, cut.index)
        for codec in offered.at(cut):
            scores[Plan(cut.index, codec.id)] = _score(tails, packer, codec, cut, helds, judge)
            progress(len(scores), total)
    return Scorecard(engine.model.digest, scores, judge.name)


def score_without_samples(engine: Engine, packer: Packer, offered: Offered, feed: Tensors) -> Scorecard:
    """Bytes of the plans that are safe without samples: lossless ones, and `half`, whose loss stays unknown."""
    scores: dict[Plan, PlanScore] = {}
    for cut, helds in along(engine, [feed]):
        for codec in offered.at(cut):
            if codec.lossless or codec.id == "half":
                nbytes = packer.pack(cut.index, codec.id, helds[0].plain()).nbytes
                exact = 0.0 if codec.lossless else None
                scores[Plan(cut.index, codec.id)] = PlanScore(nbytes, nbytes, exact, exact, 0, exact)
    return Scorecard(engine.model.digest, scores)


def batchable(model: Model) -> bool:
    """Whether axis 0 of everything that goes in, crosses or comes out is open, so that items can be stacked."""
    specs = (*model.outputs, *(spec for cut in model.cuts for spec in cut.tensors))
    return all(spec.shape and spec.shape[0] is None for spec in specs)


def _score(tails: _Tails, packer: Packer, codec: Codec, cut: Cut, helds: Sequence[Held], judge: Judge) -> PlanScore:
    sizes: list[int] = []
    got: list[Tensors] = []
    for held, samples in zip(helds, judge.samples, strict=True):
        received, nbytes = _cross(packer, codec, cut, held.plain(), samples)
        sizes += nbytes
        if not (codec.lossless and tails.are_chains):
            got.append({**held.outputs(), **tails.run(received)})
    low, high = np.quantile(sizes or [0], [0.5, 0.95], method="higher")
    if not got:  # nothing was lost; to run all tails of so many cuts would only repeat what the check has found
        return PlanScore(int(low), int(high), 0.0, 0.0, judge.n)
    loss, bound = judge.loss(got)
    if codec.lossless:
        loss = bound = 0.0
    error = max(difference(one, want)[1] for one, want in zip(got, judge.wanted, strict=True))
    return PlanScore(int(low), int(high), loss, bound, judge.n, error if isfinite(error) else None)


def _cross(packer: Packer, codec: Codec, cut: Cut, sent: Tensors, samples: int) -> tuple[Tensors, list[int]]:
    """Codes and decodes each item on its own, as a request would. Returns what arrives and the bytes of each.

    Nothing empty crosses (a detector found nothing): the device goes on by itself.
    """
    if not all(array.size for array in sent.values()):
        return sent, []
    payloads = [packer.pack(cut.index, codec.id, item) for item in _items(cut, sent, samples)]
    return stacked([packer.unpack(payload) for payload in payloads]), [payload.nbytes for payload in payloads]


def _items(cut: Cut, tensors: Tensors, samples: int) -> Iterator[Tensors]:
    """The samples one by one, where axis 0 of all that crosses is theirs."""
    if samples == 1 or any(spec.shape[:1] != (None,) or len(tensors[spec.name]) != samples for spec in cut.tensors):
        yield tensors
        return
    for at in range(samples):
        yield {name: array[at : at + 1] for name, array in tensors.items()}


class _Tails:
    """The tail of one cut. What arrives twice (a byte compressor changes no tensor) is answered once."""

    def __init__(self, engine: Engine, at: int) -> None:
        self._engine = engine
        self._at = at
        self._answered: dict[bytes, Tensors] = {}

    @property
    def are_chains(self) -> bool:
        """Whether there are so many cuts that each tail is run segment by segment."""
        return self._engine.model.n > MANY_CUTS

    def run(self, received: Tensors) -> Tensors:
        """The outputs that the tail makes of plain tensors."""
        seen = blake2b()
        for name in sorted(received):
            seen.update(repr(received[name].shape).encode())
            seen.update(np.ascontiguousarray(received[name]).tobytes())
        key = seen.digest()
        if key not in self._answered:
            self._answered[key] = to_end(self._engine, self._engine.hold(self._at, received)).outputs()
        return self._answered[key]


def halves(samples: Mapping[str, Array], labels: Array | None, together: int = 1) -> Halves:
    """Every second sample to calibrate with, the others to report with, and the labels of the latter.

    Args:
        samples: input name -> samples along axis 0.
        labels: one a sample.
        together: samples that the model takes at once and that stay together.
    """
    reports = np.arange(len(next(iter(samples.values())))) // together % 2 == 1
    choosing = {name: array[~reports] for name, array in samples.items()}
    reporting = {name: array[reports] for name, array in samples.items()}
    return choosing, reporting, None if labels is None else labels[reports]
