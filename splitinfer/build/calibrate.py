"""Codec tables from samples: what crosses at each cut, and how much the answers depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from splitinfer.build.score import WORKERS, Offered, batchable
from splitinfer.build.sensitivity import Probe
from splitinfer.build.walk import Progress, along, to_end
from splitinfer.codec import Codec, table_key
from splitinfer.codec.klt import SAMPLES_MAX, Klt, Sensitivity, layout_of
from splitinfer.engine import Engine
from splitinfer.model import Cut, Tensors, TensorSpec


def calibrate(engine: Engine, offered: Offered, feeds: Sequence[Tensors], progress: Progress) -> dict[str, bytes]:
    """The codec tables of a model.

    Args:
        engine: runs the model.
        offered: the plans to be.
        feeds: inputs, any batch.
        progress: hears how many cuts of how many are done.
    """
    tables: dict[str, bytes] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for cut, helds in along(engine, feeds):
            crossing = _Crossing(engine, cut, [held.plain() for held in helds], pool)
            for one, spec in _pairs(offered, cut):
                key = table_key(cut.index, spec.name, one.id)
                if key not in tables and (table := crossing.table(one, spec)) is not None:
                    tables[key] = table
            progress(cut.index + 1, engine.model.n)
    return tables


def _pairs(offered: Offered, cut: Cut) -> Iterator[tuple[Codec, TensorSpec]]:
    """What may be coded with what."""
    for one in offered.at(cut):
        for spec in cut.tensors:
            if one.accepts(spec):
                yield one, spec


@dataclass(frozen=True)
class _Crossing:
    """What crosses at one cut."""

    engine: Engine
    cut: Cut
    tensors: Sequence[Tensors]
    pool: Executor

    def table(self, one: Codec, spec: TensorSpec) -> bytes | None:
        """The table of a codec for a tensor."""
        arrays = [tensors[spec.name] for tensors in self.tensors]
        return one.calibrate(spec, arrays, self._sensitivity(spec) if isinstance(one, Klt) else None)

    def _sensitivity(self, spec: TensorSpec) -> Sensitivity | None:
        layout = layout_of(spec, [tensors[spec.name] for tensors in self.tensors])
        singles = [one for one in self._singles() if all(array.size for array in one.values())]
        if layout is None or not singles:
            return None
        model = self.engine.model
        operations = sum(segment.operations for segment in model.segments[self.cut.index :])
        return Probe(spec.name, layout, singles, self._tail, self._stacks, operations, self.pool).measure()

    def _singles(self) -> list[Tensors]:
        """Samples one by one, where axis 0 of all that crosses is theirs."""
        if any(spec.shape[:1] != (None,) for spec in self.cut.tensors):
            return list(self.tensors[:SAMPLES_MAX])
        each: list[Tensors] = [
            {name: array[at : at + 1] for name, array in tensors.items()}
            for tensors in self.tensors
            for at in range(min(map(len, tensors.values())))
        ]
        return each[:: -(-len(each) // SAMPLES_MAX)]

    @property
    def _stacks(self) -> bool:
        return bool(self.engine.model.batches) and batchable(self.engine.model)

    def _tail(self, tensors: Tensors) -> Tensors:
        return to_end(self.engine, self.engine.hold(self.cut.index, tensors)).outputs()
