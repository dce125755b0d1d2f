"""A network over time: piecewise constant rates, and when bytes sent into it come out.

Pure: time is an argument, in milliseconds from the start of the trace. Knows no socket and no clock. The link is a fluid FIFO:
bits leave at exactly the traced rate, in order, and nothing else is modelled here (no loss, no slow start).

File form: a header line `#: key=value; ...; piecewise constant, wraps`, a line of column names, then numbers. Columns are
`t_s,up_mbps` and optionally `down_mbps,rtt_ms`; `t_s` is where a piece starts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from math import ceil, inf, isfinite, nextafter
from pathlib import Path
from statistics import median

from splitinfer.errors import SimulationError

NUMBER_MAX = 1e9
"""In a file: thirty years, or a petabit a second."""
_COLUMNS = ("t_s", "up_mbps", "down_mbps", "rtt_ms")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time in which nothing changes.

    Attributes:
        duration_ms: above 0.
        up_bps: uplink; 0 = outage.
        down_bps: downlink; None = not recorded.
        rtt_ms: round trip of a tiny message on the idle link; None = not recorded.
    """

    duration_ms: float
    up_bps: float
    down_bps: float | None = None
    rtt_ms: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.duration_ms) and self.duration_ms > 0):
            raise SimulationError(f"a piece of a trace must last longer than 0 ms, got {self.duration_ms}")
        for name in ("up_bps", "down_bps", "rtt_ms"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value >= 0):
                raise SimulationError(f"{name} must be a finite number of at least 0, got {value}")


@dataclass(frozen=True)
class LinkTrace:
    """A recorded or scripted link.

    Attributes:
        name: label.
        pieces: in order, at least one.
        wraps: whether it starts again at its end; otherwise the last piece holds for ever.
        source: where it comes from, for people.
        licence: under which it may be passed on.
        resolution_s: of the recording; None = not a recording.
        radio: kind of link, as `energy.RADIOS` names it; None = not told.
        family: of recordings made in the same way; None = not told.
    """

    name: str
    pieces: tuple[Piece, ...]
    wraps: bool = True
    source: str = "scripted"
    licence: str = "none needed"
    resolution_s: float | None = None
    radio: str | None = None
    family: str | None = None

    def __post_init__(self) -> None:
        if not self.pieces:
            raise SimulationError("a trace needs at least one piece")
        words = (self.name, self.source, self.licence, self.radio or "", self.family or "")
        if any(mark in text for text in words for mark in ";\r\n"):
            raise SimulationError("name, source, licence, radio and family of a trace must not contain ';' or line breaks")

    @classmethod
    def steps(cls, steps: Iterable[tuple[float, float, float]], *, name: str = "steps", wraps: bool = False) -> LinkTrace:
        """A scripted trace.

        Args:
            steps: (duration_s, up_mbps, rtt_ms) of each phase; up_mbps 0 = outage.
            name: label.
            wraps: whether it starts again.
        """
        return cls(name, tuple(Piece(s * 1e3, mbps * 1e6, rtt_ms=rtt) for s, mbps, rtt in steps), wraps)

    @cached_property
    def duration_ms(self) -> float:
        """Length of one pass."""
        return self._ends_ms[-1]

    @cached_property
    def _ends_ms(self) -> tuple[float, ...]:
        return tuple(accumulate(piece.duration_ms for piece in self.pieces))

    @cached_property
    def _bits(self) -> tuple[float, ...]:
        """Bits carried from the start to the end of each piece."""
        return tuple(accumulate(piece.up_bps * piece.duration_ms / 1e3 for piece in self.pieces))

    def _place(self, at_ms: float) -> tuple[float, float, int]:
        """Passes completed by a moment, the time into this one, and the index of its piece."""
        if at_ms < 0:
            raise ValueError(f"a trace starts at 0 ms, got {at_ms}")
        passes, into_ms = divmod(at_ms, self.duration_ms) if self.wraps else (0.0, at_ms)
        return passes, into_ms, min(bisect_right(self._ends_ms, into_ms), len(self.pieces) - 1)

    def at(self, at_ms: float) -> Piece:
        """The piece that holds at a moment."""
        return self.pieces[self._place(at_ms)[-1]]

    def rate_bps(self, at_ms: float) -> float:
        """Uplink rate at a moment."""
        return self.at(at_ms).up_bps

    def next_change_ms(self, at_ms: float) -> float:
        """When the piece that holds at a moment ends, always later than `at_ms`; infinity where the last one holds for ever."""
        passes, _, index = self._place(at_ms)
        if not self.wraps and index == len(self.pieces) - 1:
            return inf
        return max(passes * self.duration_ms + self._ends_ms[index], nextafter(at_ms, inf))

    def bits(self, at_ms: float) -> float:
        """Bits that the uplink can have carried from 0 to `at_ms`."""
        passes, into_ms, index = self._place(at_ms)
        left_ms = self._ends_ms[index] - into_ms  # below 0 where the last piece holds for ever
        return passes * self._bits[-1] + self._bits[index] - self.pieces[index].up_bps * left_ms / 1e3

    def finish_ms(self, start_ms: float, nbytes: float) -> float:
        """When the last of `nbytes` has left an idle uplink that got them at `start_ms`.

        Bytes sent behind others start at the time that this gave for those. Infinity where the link never carries them.
        """
        if nbytes <= 0 or start_ms == inf:
            return start_ms
        passes, into_ms, _ = self._place(start_ms)  # counted from this pass on, floats stay exact in a long run
        return max(start_ms, passes * self.duration_ms + self._time_of(self.bits(into_ms) + 8 * nbytes))

    def _time_of(self, bits: float) -> float:
        """The earliest moment by which `bits` > 0 can have been carried."""
        total = self._bits[-1]
        if bits > total and not self.wraps:
            last = self.pieces[-1].up_bps
            return self.duration_ms + (bits - total) / last * 1e3 if last else inf
        if not total:
            return inf
        passes = ceil(bits / total) - 1
        rest = min(max(bits - passes * total, 0.0), total)
        index = bisect_left(self._bits, rest)
        left = (self._bits[index] - rest) / self.pieces[index].up_bps * 1e3 if self._bits[index] > rest else 0.0
        return passes * self.duration_ms + self._ends_ms[index] - left

    def scaled(self, factor: float) -> LinkTrace:
        """The same course at `factor` times the rates, both ways."""
        return replace(
            self,
            name=f"{self.name}-x{factor:g}",
            pieces=tuple(
                replace(p, up_bps=p.up_bps * factor, down_bps=None if p.down_bps is None else p.down_bps * factor)
                for p in self.pieces
            ),
        )

    @classmethod
    def read(cls, path: str | Path) -> LinkTrace:
        """Reads a trace file.

        Raises:
            SimulationError: it cannot be read or is not a trace; says which line.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SimulationError(f"cannot read the trace {path}: give a CSV file with columns t_s,up_mbps") from error
        return cls.parse(text, name=Path(path).stem)

    @classmethod
    def parse(cls, text: str, *, name: str = "trace") -> LinkTrace:
        """Reads the text of a trace file; `name` is used where the header gives none.

        Without `duration_s` in the header the last piece lasts `resolution_s`, or else as long as the median piece. Of lines
        with the same `t_s` (recordings round their times) the last holds.

        Raises:
            SimulationError: it is not a trace; says which line.
        """
        keys, words, rows = _split(text)
        times = [row[0] for row in rows]
        resolution_s = _number(keys["resolution_s"], "the header") if "resolution_s" in keys else None
        if "duration_s" in keys:
            end = _number(keys["duration_s"], "the header")
        else:
            end = times[-1] + (resolution_s or (median(b - a for a, b in pairwise(times)) if len(times) > 1 else 1.0))
        lengths = [(b - a) * 1e3 for a, b in pairwise([*times, end])]
        return cls(
            name=keys.get("name", name),
            pieces=tuple(_piece(ms, row) for ms, row in zip(lengths, rows, strict=True) if ms),
            wraps="wraps" in words,
            source=keys.get("source", "unknown"),
            licence=keys.get("licence", "unknown"),
            resolution_s=resolution_s,
            radio=keys.get("radio") or None,
            family=keys.get("family") or None,
        )

    def text(self) -> str:
        """The trace as a file; `parse` gives it back (times to a microsecond, rates to a bit/s)."""
        header = [f"name={self.name}", f"source={self.source}", f"licence={self.licence}"]
        header += [f"{key}={value}" for key, value in (("radio", self.radio), ("family", self.family)) if value]
        if self.resolution_s is not None:
            header.append(f"resolution_s={self.resolution_s:g}")
        header += [f"duration_s={_shown(self.duration_ms / 1e3)}", "piecewise constant" + (", wraps" if self.wraps else "")]
        wide = any(p.down_bps is not None or p.rtt_ms is not None for p in self.pieces)
        starts_ms = (0.0, *self._ends_ms[:-1])
        lines = [_line(start_ms, piece, wide) for start_ms, piece in zip(starts_ms, self.pieces, strict=True)]
        return "\n".join(["#: " + "; ".join(header), ",".join(_COLUMNS if wide else _COLUMNS[:2]), *lines, ""])


Row = tuple[float, float, float | None, float | None]


def _split(text: str) -> tuple[dict[str, str], set[str], list[Row]]:
    """Header keys, header words, rows in the order of `_COLUMNS`."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    fields = [field.strip() for _, line in lines if line.startswith("#:") for field in line[2:].split(";")]
    keys = {key.strip(): value.strip() for key, eq, value in (f.partition("=") for f in fields) if eq}
    words = {word.strip() for field in fields if "=" not in field for word in field.split(",")}
    table = [(number, line.split(",")) for number, line in lines if not line.startswith("#")]
    if len(table) < 2 or [c.strip() for c in table[0][1]][:2] != list(_COLUMNS[:2]):
        raise SimulationError("not a trace: expected a line 't_s,up_mbps[,down_mbps,rtt_ms]' and numbers below it")
    columns = [c.strip() for c in table[0][1]]
    rows = [_row(number, columns, cells) for number, cells in table[1:]]
    for (number, _), before_s, row in zip(table[1:], (None, *(row[0] for row in rows)), rows, strict=False):
        if row[0] != 0 if before_s is None else row[0] < before_s:
            raise SimulationError(f"line {number} of the trace: t_s must start at 0 and never go back")
    return keys, words, rows


def _row(number: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        raise SimulationError(f"line {number} of the trace has {len(cells)} values for {len(columns)} columns")
    values = {c: _number(cell, f"line {number}") for c, cell in zip(columns, cells, strict=True) if cell.strip()}
    if not values.keys() >= {"t_s", "up_mbps"}:
        raise SimulationError(f"line {number} of the trace must give t_s and up_mbps")
    return values["t_s"], values["up_mbps"], values.get("down_mbps"), values.get("rtt_ms")


def _number(cell: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        raise SimulationError(f"{where} of the trace: {cell.strip()[:40]!r} is not a number") from None
    if not 0 <= number <= NUMBER_MAX:
        raise SimulationError(f"{where} of the trace: expected a number from 0 to {NUMBER_MAX:g}, got {cell.strip()[:40]!r}")
    return number


def _piece(duration_ms: float, row: Row) -> Piece:
    _, up_mbps, down_mbps, rtt_ms = row
    return Piece(duration_ms, up_mbps * 1e6, None if down_mbps is None else down_mbps * 1e6, rtt_ms)


def _line(start_ms: float, piece: Piece, wide: bool) -> str:
    down_mbps = None if piece.down_bps is None else piece.down_bps / 1e6
    values = [start_ms / 1e3, piece.up_bps / 1e6, *((down_mbps, piece.rtt_ms) if wide else ())]
    return ",".join("" if value is None else _shown(value) for value in values)


def _shown(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
