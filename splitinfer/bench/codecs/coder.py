"""The entropy coder of `klt` alone: its bytes beside the static entropy of its own symbols, and beside Zstandard on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import zstandard

from splitinfer.bench.codecs import klt, places
from splitinfer.bench.codecs.split import CUT
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.codec import table_key
from splitinfer.codec.klt import Klt, KltCoder
from splitinfer.codec.klt.quantiser import Levels, Run
from splitinfer.codec.klt.rows import ESCAPE
from splitinfer.model import Cut

OVER_ENTROPY, OVER_ZSTD = 1.02, 0.82
_LEVEL = 19


def measure(subject: Subject) -> list[Row]:
    """Two rows for each of two steps, at the cut of the middle, over all photos that report."""
    place = places.middle(subject.places)
    split = subject.split(place)
    tables = split.tables(subject.calibrating.pixels)
    packer, sent = split.packer(tables), split.crossing(subject.reporting.pixels)
    rows = []
    for id in klt.TIMED:
        coded = np.array([packer.pack(CUT, id, tensors).nbytes for tensors in sent], np.float64)
        coders = _coders(split.bundle.model.cuts[CUT], tables, id)
        seen = [[run for name, coder in coders.items() for run in coder.symbols(item[name][0])] for item in sent]
        ideal = np.array([sum(_ideal_bits(run, levels) for run, levels in item) / 8 for item in seen])
        rival = np.array([_deflated(np.concatenate([levels for _, levels in item])) for item in seen], np.float64)
        where = f"{subject.name} at {place}, {id}"
        rows.append(_row(f"{where}: coded bytes over the static entropy of the symbols", coded, ideal, OVER_ENTROPY))
        rows.append(_row(f"{where}: coded bytes over zstd level {_LEVEL} on the symbols", coded, rival, OVER_ZSTD))
    return rows


def _coders(cut: Cut, tables: Mapping[str, bytes], id: str) -> dict[str, KltCoder]:
    """Of the tensors that cross; where one has no table, the codec raises what says so."""
    return {
        spec.name: Klt(id.removeprefix("klt:")).bind(spec, tables.get(table_key(CUT, spec.name, id))) for spec in cut.tensors
    }


def _ideal_bits(run: Run, levels: Levels) -> float:
    """What levels cost under the frequencies of their row: -log2 of each one's probability. What an escape adds is free."""
    high = levels >> run.low_bits
    symbols = np.where(np.abs(high) > run.row.largest, ESCAPE, high + run.row.zero)
    return float(run.row.bits[symbols].sum()) + run.low_bits * levels.size


def _row(what: str, coded: npt.NDArray[np.float64], other: npt.NDArray[np.float64], most: float) -> Row:
    """The ratio of the sums; the spread is of the items' own ratios."""
    ratio = float(coded.sum() / other.sum())
    rival = f"{other.mean():.0f} bytes"
    return Row(what, ratio, "ratio", at_most(most), rival, ratio, len(coded), spread_of(coded / other))


def _deflated(symbols: npt.NDArray[np.int32]) -> int:
    """Bytes of the narrowest integers that hold the symbols of an item."""
    narrow = np.int8 if np.abs(symbols).max(initial=0) < 128 else np.int16
    return len(zstandard.ZstdCompressor(level=_LEVEL).compress(symbols.astype(narrow).tobytes()))
