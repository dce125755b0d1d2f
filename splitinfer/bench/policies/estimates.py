"""How long the next upload will take, told beforehand: our estimate beside the usual one.

The links are recorded, the uploads are simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp, log

import numpy as np

from splitinfer.bench.rows import Row, at_least, at_most
from splitinfer.draw import exponential, uniform
from splitinfer.errors import SimulationError
from splitinfer.estimate import Belief, Estimate, Harmonic
from splitinfer.events import Transferred
from splitinfer.plan import ASSUMED_UPLINK
from splitinfer.sim.study import Link
from splitinfer.sim.study.figures import weights
from splitinfer.sim.world.link import OVERHEAD

Tell = Callable[[str], None]
ONE_WAY_MS = 25.0
JITTER_MS = 3.0
UPLOADS = 250
IGNORED = 8
"""At the start, while nothing is known."""
BYTES = (1e4, 1e6)
GIVEN_UP_MS = 20_000.0
Z90 = 1.2816
_START, _SIZE, _NOISE, _GAP = 31, 32, 33, 34


@dataclass(slots=True)
class Told:
    """What was told of each upload of one link, and what it took; nothing where no upload ended."""

    errors: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)


def measure(links: Sequence[Link], _tell: Tell) -> list[Row]:
    """Two pauses between uploads."""
    rows: list[Row] = []
    for gap_s, median_goal, p95_goal in ((0.2, 0.075, 0.65), (2.0, 0.135, 0.85)):
        ours = [_told(link, Estimate(), gap_s, seed) for seed, link in enumerate(links)]
        usual = [_told(link, Harmonic(), gap_s, seed) for seed, link in enumerate(links)]
        rows += _rows(gap_s, (median_goal, p95_goal), links, ours, usual)
    return rows


def _rows(gap_s: float, goals: tuple[float, float], links: Sequence[Link], ours: list[Told], usual: list[Told]) -> list[Row]:
    share = np.concatenate(
        [np.full(len(told.errors), w / max(len(told.errors), 1)) for w, told in zip(weights(links), ours, strict=True)]
    )
    n = len(share)
    if not n:
        raise SimulationError("no upload of 1 MB or less ended within 20 s on any of these links: give others")
    rows = []
    for name, quantile, goal in (("median", 0.5, goals[0]), ("p95", 0.95, goals[1])):
        mine, theirs = _quantile(ours, share, quantile), _quantile(usual, share, quantile)
        about = f"estimate, {gap_s:g} s between uploads of 10 KB to 1 MB: {name} error, simulated uploads"
        rows.append(Row(about, mine, "share", at_most(goal), f"harmonic mean {theirs:.3f}", mine / theirs, n))
    covered = float((np.concatenate([told.covered for told in ours]) * share).sum() / share.sum())
    about = f"estimate, {gap_s:g} s between uploads: share within the 90 % quantile"
    rows.append(Row(f"{about}, from below", covered, "share", at_least(0.88), n=n))
    rows.append(Row(f"{about}, from above", covered, "share", at_most(0.93), n=n))
    return rows


def _quantile(told: list[Told], share: np.ndarray[tuple[int], np.dtype[np.float64]], quantile: float) -> float:
    errors = np.concatenate([one.errors for one in told])
    order = np.argsort(errors, kind="stable")
    return float(errors[order][min(int(np.searchsorted(np.cumsum(share[order]), quantile * share.sum())), len(order) - 1)])


def _told(link: Link, belief: Belief, gap_s: float, seed: int) -> Told:
    """Uploads one after the other, on a warm connection."""
    told, trace = Told(), link.trace
    now_ms = uniform(seed, _START) * trace.duration_ms
    free_ms, count = 0.0, 0
    for index in range(UPLOADS):
        nbytes = int(exp(log(BYTES[0]) + uniform(seed, _SIZE, index) * log(BYTES[1] / BYTES[0])))
        departs_ms = trace.finish_ms(max(now_ms, free_ms), nbytes * OVERHEAD)
        took_ms = departs_ms - now_ms + ONE_WAY_MS + JITTER_MS * (0.5 + uniform(seed, _NOISE, index))
        if took_ms > GIVEN_UP_MS:
            now_ms += GIVEN_UP_MS
            continue
        free_ms, count = departs_ms, count + 1
        if count > IGNORED:
            uplink = belief.uplink(now_ms) or ASSUMED_UPLINK
            sending_ms = 8e3 * nbytes / uplink.rate_bps
            told.errors.append(abs((uplink.rtt_ms / 2 + sending_ms) / took_ms - 1))
            told.covered.append(took_ms <= uplink.rtt_ms / 2 + sending_ms * exp(Z90 * uplink.spread))
        belief = belief.observe(Transferred(nbytes, took_ms + ONE_WAY_MS), now_ms + took_ms + ONE_WAY_MS)
        now_ms += took_ms + 1e3 * gap_s * exponential(seed, _GAP, index)
    return told
