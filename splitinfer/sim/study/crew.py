"""Runs a study on all cores. The order of the results does not depend on how many there are."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.connection import Connection

from splitinfer.errors import SimulationError
from splitinfer.sim.study.asked import Link, Study, Way
from splitinfer.sim.study.course import Course
from splitinfer.sim.world import simulate

Advance = Callable[[int, int], None]
"""Is told how many runs are done, and of how many."""
_RunKey = tuple[int, int, int]


@dataclass(frozen=True)
class Results:
    """A study and its courses, in the order of `Study.runs`."""

    study: Study
    courses: tuple[Course, ...]

    @cached_property
    def _by_run(self) -> dict[_RunKey, Course]:
        return dict(zip(self.study.runs(), self.courses, strict=True))

    def of(self, way: Way, link: Link) -> tuple[Course, ...]:
        """One for each seed."""
        at = self.study.ways.index(way), self.study.links.index(link)
        return tuple(self._by_run[(*at, seed)] for seed in self.study.seeds)


def conduct(study: Study, workers: int | None = None, advance: Advance = lambda _done, _of: None) -> Results:
    """Runs everything. When this ends, in whatever way, its processes have ended or are about to.

    Args:
        study: what.
        workers: processes; 1 = everything in this one; None = one for each core.
        advance: progress.

    Raises:
        SimulationError: a run cannot go on, or a process died.
    """
    runs = study.runs()
    crew = min(workers or _cores(), len(runs))
    done: list[Course] = []
    for course in _courses(study, runs, crew) if crew > 1 else (_course(study, run) for run in runs):
        done.append(course)
        advance(len(done), len(runs))
    return Results(study, tuple(done))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _course(study: Study, run: _RunKey) -> Course:
    way, link, seed = run
    return Course.of(simulate(study.setting(way, link), seed))


def _courses(study: Study, runs: list[_RunKey], workers: int) -> Iterator[Course]:
    spawn = get_context("spawn")
    theirs, ours = spawn.Pipe(duplex=False)
    try:
        # `ours` is closed first, whatever happens: that ends the others, so that nobody waits for a run that nobody wants.
        with theirs, ProcessPoolExecutor(workers, spawn, _begin, (study, theirs)) as pool, ours:
            yield from pool.map(_worked, runs, chunksize=max(len(runs) // (workers * 32), 1))
    except BrokenProcessPool as error:
        raise SimulationError("a process of the simulation died, perhaps for want of memory: use --workers 1") from error


_study: Study


def _begin(study: Study, alive: Connection) -> None:
    """In a new process: it stops at once when the first one closes the other end, or is no more."""
    global _study
    _study = study
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(alive,), daemon=True).start()


def _watch(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _worked(run: _RunKey) -> Course:
    return _course(_study, run)
