"""What is best where, in words: an honest sentence for each family of traces, also where the answer is "no cut at all"."""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.sim.study.asked import DEVICE, UPLOAD, Way
from splitinfer.sim.study.crew import Results
from splitinfer.sim.study.figures import figures

NEAR = 0.01
"""Means that are closer than this share count as the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On some links.

    Attributes:
        best: name of the way with the lowest mean latency, the oracle apart; a fixed plan if it is as good as the best.
        text: a sentence or two.
    """

    best: str
    text: str


def verdict(results: Results, family: str | None = None) -> Verdict:
    """Over a family of traces, or over all of them."""
    study = results.study
    means = {way: figures(results, way, family).mean_ms for way in study.ways}
    oracle_ms = means.pop(study.oracle)
    if not means:
        return Verdict(study.oracle.name, "Nothing was compared with the oracle.")
    best = min(means, key=means.__getitem__)
    fixed = min((way for way in means if way.fixed), key=means.__getitem__, default=None)
    if fixed is None:
        rest = _above(means[best], oracle_ms, "the oracle")
        return Verdict(best.name, _sentence(f"{_words(best)} has the lowest mean latency, {means[best]:.1f} ms, {rest}."))
    if means[fixed] <= means[best] * (1 + NEAR):
        return Verdict(fixed.name, _nothing_won(means, fixed, oracle_ms))
    below = f"{100 * (1 - means[best] / means[fixed]):.1f} % below {_words(fixed)}"
    oracle = _above(means[best], oracle_ms, "the oracle")
    return Verdict(best.name, _sentence(f"{_words(best)} is best, {means[best]:.1f} ms on average: {below}, {oracle}."))


def _nothing_won(means: dict[Way, float], fixed: Way, oracle_ms: float) -> str:
    said = _sentence(f"{_words(fixed)} is the best plan, {means[fixed]:.1f} ms on average")
    adaptive = min((way for way in means if not way.fixed), key=means.__getitem__, default=None)
    if adaptive is not None:
        said += f"; {_words(adaptive)} is {_above(means[adaptive], means[fixed], 'it')}"
    gain = 1 - oracle_ms / means[fixed]
    return f"{said}. The oracle would be {100 * gain:.1f} % faster." if gain > NEAR else f"{said}. The oracle is no faster."


def _above(mine_ms: float, theirs_ms: float, name: str) -> str:
    above = mine_ms / theirs_ms - 1
    if abs(above) < NEAR / 10:
        return f"no slower than {name}"
    return f"{100 * abs(above):.1f} % {'above' if above > 0 else 'below'} {name}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _words(way: Way) -> str:
    if way.name == DEVICE:
        return "the device alone"
    plan = way.policy.removeprefix("static:")
    return f"the upload of the input ({plan})" if way.name == UPLOAD else way.name
