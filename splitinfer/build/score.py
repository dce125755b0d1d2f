"""The scorecard: what each plan does to bytes and answers, measured on samples that no codec was calibrated with.

Heads are run segment by segment, so that each sample passes through the model once for all cuts; tails are run in batches where
the model allows it, several at once, and once only for what arrives twice. Of a codec with steps (`klt:0.5`, `jpeg:90`) the
finer ones are measured first, and where one changes far too much the coarser ones are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite

import numpy as np

from splitinfer.build.answers import Judge
from splitinfer.build.check import difference
from splitinfer.build.resample import stacked
from splitinfer.build.walk import MANY_CUTS, Progress, along, to_end
from splitinfer.codec import Codec, codecs_for, table_key
from splitinfer.codec import codec as codec_named
from splitinfer.engine import Engine
from splitinfer.model import Cut, Model, Tensors, TensorSpec
from splitinfer.payload import Packer
from splitinfer.plan import Plan, PlanScore, Scorecard

BATCH = 8
WORKERS = min(8, os.cpu_count() or 1)
"""Tails run at once, each in one thread."""
FAR_TOO_MUCH = 0.2
"""Accuracy loss beyond which no coarser step of a codec is measured."""
SHORT_LADDER = ("half", "int8+zstd1", "int6+zstd1", "int4+zstd1")
"""Of the codecs that lose something, those that are measured at the inner cuts of a model with more than `MANY_CUTS` cuts where
no others are asked for: the time for that grows with the square of the number of cuts."""


@dataclass(frozen=True)
class Offered:
    """The plans of a model that are to be measured.

    Attributes:
        model: what was cut.
        codecs: ids to measure wherever they code a tensor; None = those that fit.
        tables: of the bundle; without its table a codec that needs one is left out. None = not made yet.
        states: inputs that carry a state (`build.states`): of one that crosses only `half` may lose something.
    """

    model: Model
    codecs: tuple[str, ...] | None = None
    tables: Mapping[str, bytes] | None = None
    states: frozenset[str] = frozenset()

    def at(self, cut: Cut) -> tuple[Codec, ...]:
        """The codecs of a cut."""
        if self.codecs is not None:
            found = tuple(map(codec_named, self.codecs))
        else:
            fit = codecs_for(cut, image=self._image(cut))
            found = tuple(one for one in fit if one.lossless or self._is_worth_a_try(cut, one))
        return tuple(one for one in found if self._codes(cut, one))

    def count(self) -> int:
        """How many plans there are, the one that sends nothing left out."""
        return sum(len(self.at(cut)) for cut in self.model.cuts)

    def _is_worth_a_try(self, cut: Cut, one: Codec) -> bool:
        """Whether somebody who asked for nothing would like to know what it loses."""
        if any(spec.name in self.states and one.accepts(spec) for spec in cut.tensors):
            return one.id.startswith("half")
        return self.model.n <= MANY_CUTS or cut.index == 0 or one.id in SHORT_LADDER

    def _codes(self, cut: Cut, one: Codec) -> bool:
        """Whether it treats a tensor in a way of its own, and has the tables for that."""
        own = [spec for spec in cut.tensors if one.accepts(spec) and (one.lossless or self._may_lose(cut, spec))]
        if one.needs_table and self.tables is not None:
            return bool(own) and all(table_key(cut.index, spec.name, one.id) in self.tables for spec in own)
        return bool(own)

    def _may_lose(self, cut: Cut, spec: TensorSpec) -> bool:
        return not spec.lossless_only or spec.name == self._image(cut)

    def _image(self, cut: Cut) -> str | None:
        return self.model.image_input if cut.index == 0 else None


def score(
    engine: Engine, packer: Packer, offered: Offered, feeds: Sequence[Tensors], judge: Judge, progress: Progress
) -> Scorecard:
    """Measures plans, whether or not they are worth keeping (`build.front`).

    Args:
        engine: runs the model.
        packer: of the finished bundle.
        offered: the plans.
        feeds: inputs.
        judge: knows the right answers, in the same order.
        progress: hears how many plans of how many are done.
    """
    scores: dict[Plan, PlanScore] = {}
    done, total = 0, offered.count()
    with ThreadPoolExecutor(WORKERS) as pool:
        for cut, helds in along(engine, feeds):
            crossing = _Crossing(packer, cut, [(held.plain(), held.outputs()) for held in helds])
            tail = _Tail(engine, cut.index)
            beyond: set[str] = set()
            for one in offered.at(cut):
                if _without_step(one) not in beyond:
                    row = scores[Plan(cut.index, one.id)] = _score(one, crossing, tail, judge, pool)
                    if offered.codecs is None and _is_far_too_much(row, judge):
                        beyond.add(_without_step(one))
                done += 1
                progress(done, total)
    return Scorecard(engine.model.digest, scores, judge.name)


def score_without_samples(engine: Engine, packer: Packer, offered: Offered, feed: Tensors) -> Scorecard:
    """Bytes of the plans that are safe without samples: lossless ones, and `half`, whose loss stays unknown."""
    scores: dict[Plan, PlanScore] = {}
    for cut, helds in along(engine, [feed]):
        for one in offered.at(cut):
            if one.lossless or one.id == "half":
                nbytes = packer.pack(cut.index, one.id, helds[0].plain()).nbytes
                exact = 0.0 if one.lossless else None
                scores[Plan(cut.index, one.id)] = PlanScore(nbytes, nbytes, exact, exact, 0, exact, exact)
    return Scorecard(engine.model.digest, scores)


def batchable(model: Model) -> bool:
    """Whether axis 0 of everything that goes in, crosses or comes out is open, so that items can be stacked."""
    specs = (*model.outputs, *(spec for cut in model.cuts for spec in cut.tensors))
    return all(spec.shape and spec.shape[0] is None for spec in specs)


def _without_step(one: Codec) -> str:
    """What the steps of a codec have in common; its id where it has none."""
    name, colon, step = one.id.partition(":")
    return f"{name}:{step.partition('+')[2]}" if colon else one.id


def _is_far_too_much(row: PlanScore, judge: Judge) -> bool:
    """Of shares only: what is much in a metric of one's own, nobody knows."""
    return judge.metric is None and (row.accuracy_loss or 0.0) > FAR_TOO_MUCH


def _score(one: Codec, crossing: _Crossing, tail: _Tail, judge: Judge, pool: Executor) -> PlanScore:
    tail.next_codec()
    runs = not (one.lossless and tail.is_a_chain)

    def carry(index: int) -> tuple[Tensors, list[int]]:
        received, nbytes = crossing.cross(one, index, judge.samples[index])
        return ({**crossing.sent[index][1], **tail.run(received)} if runs else {}), nbytes

    carried = list(pool.map(carry, range(len(crossing.sent))))
    low, high = np.quantile([size for _, sizes in carried for size in sizes] or [0], [0.5, 0.95], method="higher")
    if not runs:  # nothing was lost; to run all tails of so many cuts would only repeat what the check has found
        return PlanScore(int(low), int(high), 0.0, 0.0, judge.n, divergence=0.0, groups=judge.groups)
    got = [outputs for outputs, _ in carried]
    loss, bound, divergence = (0.0, 0.0, 0.0) if one.lossless else (*judge.loss(got), judge.divergence(got))
    error = max(difference(after, before)[1] for after, before in zip(got, judge.wanted, strict=True))
    known = error if isfinite(error) else None
    return PlanScore(int(low), int(high), loss, bound, judge.n, known, divergence, judge.groups)


@dataclass(frozen=True)
class _Crossing:
    """What crosses at one cut.

    Attributes:
        packer: of the bundle.
        cut: where.
        sent: tensors, and the outputs that the head has made already, run by run.
    """

    packer: Packer
    cut: Cut
    sent: Sequence[tuple[Tensors, Tensors]]

    def cross(self, one: Codec, index: int, samples: int) -> tuple[Tensors, list[int]]:
        """Codes and decodes each item on its own, as a request would. Returns what arrives and the bytes of each.

        Nothing empty crosses (a detector found nothing): the device goes on by itself.
        """
        tensors = self.sent[index][0]
        if not all(array.size for array in tensors.values()):
            return tensors, []
        payloads = [self.packer.pack(self.cut.index, one.id, item) for item in self._items(tensors, samples)]
        return stacked([self.packer.unpack(payload) for payload in payloads]), [payload.nbytes for payload in payloads]

    def _items(self, tensors: Tensors, samples: int) -> Iterator[Tensors]:
        """The samples one by one, where axis 0 of all that crosses is theirs."""
        specs = self.cut.tensors
        if samples == 1 or any(spec.shape[:1] != (None,) or len(tensors[spec.name]) != samples for spec in specs):
            yield tensors
            return
        for at in range(samples):
            yield {name: array[at : at + 1] for name, array in tensors.items()}


class _Tail:
    """The tail of one cut. What arrives twice in a row (a byte compressor changes no tensor) is answered once."""

    def __init__(self, engine: Engine, at: int) -> None:
        self._engine = engine
        self._at = at
        self._answered: dict[bytes, Tensors] = {}
        self._before: dict[bytes, Tensors] = {}

    @property
    def is_a_chain(self) -> bool:
        """Whether there are so many cuts that each tail is run segment by segment."""
        return self._engine.model.n > MANY_CUTS

    def next_codec(self) -> None:
        """Forgets the answers that were not asked for again by the last codec: all of them would be too much to hold."""
        self._before, self._answered = self._answered, {}

    def run(self, received: Tensors) -> Tensors:
        """The outputs that the tail makes of plain tensors."""
        key = _fingerprint(received)
        found = self._before.get(key) or self._answered.get(key)
        if found is None:
            found = to_end(self._engine, self._engine.hold(self._at, received)).outputs()
        self._answered[key] = found
        return found


def _fingerprint(tensors: Tensors) -> bytes:
    seen = blake2b()
    for name in sorted(tensors):
        seen.update(repr(tensors[name].shape).encode())
        seen.update(np.ascontiguousarray(tensors[name]).tobytes())
    return seen.digest()
