"""`splitinfer bench policies`: the goals of the scheduler. What is simulated says so; the rest ran on real sockets.

regret      ours beside the rivals and the one who knows the future, over recorded links
estimates   how long the next upload will take, told beforehand
lifetime    a battery that should last, with an energy model that is wrong
outages     how soon a device that went local is remote again
idle        what a client sends on a metered link when nobody asks
speed       of the simulation and of a decision
shaped      predicted against measured latency over a shaped link
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from splitinfer.bench.rows import Row
from splitinfer.errors import SimulationError
from splitinfer.sim.study import Link, links_in

Tell = Callable[[str], None]
"""Hears what is going on, for people."""
FAMILIES_NEEDED = "bench policies needs recorded links: give --traces DIR, a folder of *.csv with columns t_s,up_mbps"


def parts(traces: Path | None = None, tell: Tell = lambda _text: None) -> dict[str, Callable[[], list[Row]]]:
    """The parts of the benchmark by name, in order; each measures when it is called.

    Args:
        traces: a folder of recorded links; those of one family weigh as much as those of another.
        tell: progress.
    """

    def over_links(module: str) -> Callable[[], list[Row]]:
        return lambda: _rows(module, _links(traces), tell)

    def alone(module: str) -> Callable[[], list[Row]]:
        return lambda: _rows(module)

    return {
        "regret": over_links("regret"),
        "estimate": over_links("estimates"),
        "battery": alone("lifetime"),
        "outages": alone("outages"),
        "idle": alone("idle"),
        "speed": over_links("speed"),
        "shaped": alone("shaped"),
    }


def _links(traces: Path | None) -> tuple[Link, ...]:
    if traces is None:
        raise SimulationError(FAMILIES_NEEDED)
    return links_in([traces])


def _rows(module: str, *arguments: object) -> list[Row]:
    """Imports its module when it is called: one needs a server, another must not be slowed by it."""
    rows: list[Row] = import_module(f"{__name__}.{module}").measure(*arguments)
    return rows
