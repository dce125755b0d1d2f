"""The page of a report: who was faster, by how much, and what happened when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from splitinfer.events import Outcome
from splitinfer.picture.compared import means_plot, sweep_plot
from splitinfer.picture.markup import Markup, tag
from splitinfer.picture.numbers import UNKNOWN, brief, millis, share, size
from splitinfer.picture.page import facts, note, page, table
from splitinfer.picture.report import SURE, Leg, Report, Rival, Run
from splitinfer.picture.timeline import timeline

NEAR_BEST = 0.1
"""Ours should nowhere be above the best way by more than this share."""


def report_page(report: Report) -> str:
    """Draws a report.

    Returns:
        One HTML document that needs nothing else.
    """
    return page(report.title, _parts(report))


def _parts(report: Report) -> Iterator[Markup]:
    yield tag("h1", report.title)
    yield tag("p", report.about)
    yield facts(report.facts.items())
    for leg in report.legs:
        yield _verdict(leg)
    yield note(
        f"A difference counts from {SURE:g} standard errors on. They take requests as independent, which neighbours on a "
        "timeline are not, and all ways saw the same phases: read them as a scale, not as a test."
    )
    if len(report.legs) > 1:
        yield tag("h2", "Over the slowness of the device")
        yield sweep_plot(report)
    for leg in report.legs:
        yield from _leg(report, leg)


def _verdict(leg: Leg) -> Markup:
    rivals = leg.rivals()
    beaten = sum(rival.beaten for rival in rivals)
    won = "yes" if beaten == len(rivals) else f"no, only of {beaten} of {len(rivals)}"
    head = tag(
        "strong", f"× {leg.slowdown:g}: is {leg.ours} below every other way by more than {SURE:g} standard errors? {won}."
    )
    return tag("div", tag("p", head), tag("ul", *(tag("li", _against(leg, rival)) for rival in rivals)), class_="verdict")


def _against(leg: Leg, rival: Rival) -> str:
    figures = f"{millis(abs(rival.ahead_ms))} ± {millis(rival.se_ms)} (s.e.)"
    if rival.beaten:
        return f"{rival.name}: yes, {leg.ours} is lower by {figures}"
    if rival.ahead:
        return f"{rival.name}: no, {rival.name} is lower by {figures}"
    return f"{rival.name}: no, the difference of {figures} is within the error"


def _leg(report: Report, leg: Leg) -> Iterator[Markup]:
    yield tag("h2", f"Device {leg.slowdown:g} times slower than this machine")
    yield tag("p", _nearness(leg))
    yield _ways(leg)
    for twin in leg.drift():
        yield note(
            f"{twin.name} was run again under another name: the same plans gave a mean {millis(abs(twin.ahead_ms))} apart "
            f"(± {millis(twin.se_ms)}). So much is the machine, and no standard error knows of it."
        )
    yield note("± is the standard error of the mean. Energy is modelled from times and bytes, not measured.")
    yield means_plot(leg, report.budget_ms)
    yield tag("h3", "What happened when")
    yield timeline(report, leg)
    yield tag("h3", "Mean latency in each phase")
    yield _stretches(report, leg)
    yield tag("h3", "Who computed the answers")
    yield _outcomes(leg)
    yield tag("h3", f"Changes of the plan of {leg.ours}")
    yield _changes(leg.our_run)


def _nearness(leg: Leg) -> str:
    best = min(leg.runs, key=lambda run: run.figures.mean_ms)
    if best.name == leg.ours:
        return f"The lowest mean latency is that of {leg.ours}."
    above = leg.our_run.figures.mean_ms / best.figures.mean_ms - 1
    bound = "within" if above <= NEAR_BEST else "more than"
    return f"The lowest mean latency is that of {best.name}; {leg.ours} is {share(above)} above it, {bound} {share(NEAR_BEST)}."


def _ways(leg: Leg) -> Markup:
    columns = ("way", "policy", "answered", "mean", "±", "p99", "bytes up", "budget misses", "same answer", "energy, modelled")
    rows = []
    for run in leg.runs:
        f = run.figures
        sent = (size(f.uplink_bytes_mean), str(f.budget_misses), share(f.agreement), f"{brief(f.energy_mj)} mJ")
        times = (millis(f.mean_ms), millis(f.se_ms), millis(f.p99_ms))
        rows.append((run.name, run.policy, f"{f.answered} of {f.requests}", *times, *sent))
    return table(columns, rows, words=(0, 1), classes=_lead(leg))


def _stretches(report: Report, leg: Leg) -> Markup:
    columns = ("way", *(stretch.name for stretch in report.stretches))
    rows = [(run.name, *(millis(ms) for ms in run.stretch_ms)) for run in leg.runs]
    return table(columns, rows, classes=_lead(leg))


def _outcomes(leg: Leg) -> Markup:
    counts = [Counter(m.outcome for m in run.moments) for run in leg.runs]
    seen = [outcome for outcome in Outcome if any(count[outcome] for count in counts)]
    rows = [(run.name, *(str(count[outcome]) for outcome in seen)) for run, count in zip(leg.runs, counts, strict=True)]
    return table(("way", *seen), rows, classes=_lead(leg))


def _lead(leg: Leg) -> list[str]:
    return ["lead" if run.name == leg.ours else "" for run in leg.runs]


def _changes(run: Run) -> Markup:
    if not run.changes:
        return tag("p", "None.")
    rows = [(f"{c.at_s:.2f} s", str(c.old or UNKNOWN), str(c.new), c.cause, c.reason) for c in run.changes]
    return table(("at", "from", "to", "cause", "reason"), rows, words=(0, 1, 2, 3, 4))
