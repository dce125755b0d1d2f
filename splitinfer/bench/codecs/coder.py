"""The entropy coder of `klt` alone: its bytes beside the static entropy of its own symbols, and beside Zstandard on them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import zstandard

from splitinfer.bench.codecs import klt, places
from splitinfer.bench.codecs.split import CUT
from splitinfer.bench.codecs.subject import Subject
from splitinfer.bench.rows import Row, at_most, spread_of

OVER_ENTROPY, OVER_ZSTD = 1.02, 0.82
_LEVEL = 19


class Inspected(Protocol):
    """What the coder did to one item."""

    @property
    def symbols(self) -> npt.NDArray[np.int32]:
        """Quantised values, in the order in which they are coded."""
        ...

    @property
    def ideal_bits(self) -> float:
        """What they cost under the static tables: the sum of -log2 of their probabilities, escapes included."""
        ...


def measure(subject: Subject) -> list[Row]:
    """Two rows for each of two steps, at the cut of the middle, over all photos that report."""
    place = places.middle(subject.places)
    split = subject.split(place)
    tables = klt.tables(split, subject.calibrating.pixels, klt.TIMED[:1])
    packer, sent = split.packer(tables), split.crossing(subject.reporting.pixels)
    rows = []
    for id in klt.TIMED:
        coded = np.array([packer.pack(CUT, id, tensors).nbytes for tensors in sent], np.float64)
        seen = [klt.inspected(split, tables, id, tensors) for tensors in sent]
        ideal = np.array([sum(one.ideal_bits for one in item) / 8 for item in seen])
        rival = np.array([sum(_deflated(one.symbols) for one in item) for item in seen], np.float64)
        where = f"{subject.name} at {place}, {id}"
        rows.append(_row(f"{where}: coded bytes over the static entropy of the symbols", coded, ideal, OVER_ENTROPY))
        rows.append(_row(f"{where}: coded bytes over zstd level {_LEVEL} on the symbols", coded, rival, OVER_ZSTD))
    return rows


def _row(what: str, coded: npt.NDArray[np.float64], other: npt.NDArray[np.float64], most: float) -> Row:
    """The ratio of the sums; the spread is of the items' own ratios."""
    ratio = float(coded.sum() / other.sum())
    rival = f"{other.mean():.0f} bytes"
    return Row(what, ratio, "ratio", at_most(most), rival, ratio, len(coded), spread_of(coded / other))


def _deflated(symbols: npt.NDArray[np.int32]) -> int:
    """Bytes of the narrowest integers that hold the symbols of an item."""
    narrow = np.int8 if np.abs(symbols).max(initial=0) < 128 else np.int16
    return len(zstandard.ZstdCompressor(level=_LEVEL).compress(symbols.astype(narrow).tobytes()))
