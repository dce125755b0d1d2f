"""The page of a simulation: what is best where, how latencies spread, and what each policy did over one link."""

from __future__ import annotations

from collections.abc import Iterator

from splitinfer.picture.markup import Markup, tag
from splitinfer.picture.numbers import UNKNOWN, brief, millis, share, size
from splitinfer.picture.page import facts, note, page, table
from splitinfer.picture.simulated_course import course_plot, most_varied
from splitinfer.picture.simulated_spread import cdf_plot, leading, price_plot
from splitinfer.sim.study import Link, Results, Study, figures, verdict

COLUMNS = ("policy", "mean", "p50", "p95", "p99", "regret", "late", "energy", "bytes up", "switches/min")
SHARES = ("device", "upload", "split", "raced", "given up")


def simulated_page(results: Results, show: str | None = None) -> str:
    """Draws the results of a study.

    Args:
        results: of all its runs.
        show: name of the trace whose course is drawn; None = the one whose rate varies most.

    Returns:
        One HTML document that needs nothing else.
    """
    study = results.study
    shown = next((link for link in study.links if link.trace.name == show), None) or most_varied(study)
    return page(_title(study), _parts(results, shown))


def _title(study: Study) -> str:
    n = len(study.links)
    return f"Simulated: {study.workload.name} over {n} {'trace' if n == 1 else 'traces'}"


def _parts(results: Results, shown: Link) -> Iterator[Markup]:
    study = results.study
    yield tag("h1", _title(study))
    yield tag("p", "Every figure on this page is from a simulation in virtual time; nothing here was measured.")
    yield facts(_facts(study))
    yield _verdict(results)
    yield tag("h2", "All traces" + (", families weighing equally" if len(study.families) > 1 else ""))
    yield _table(results, None)
    yield note(_explained(study))
    yield tag("h3", "How latencies spread")
    yield cdf_plot(results)
    yield tag("h3", "What it costs")
    yield price_plot(results)
    if len(study.families) > 1:
        yield tag("h2", "Family by family")
        for family in study.families:
            yield tag("h3", family)
            yield _table(results, family)
    yield tag("h2", f"One link: {shown.trace.name}")
    yield tag("p", f"{shown.family}, radio {shown.radio}, seed {study.seeds[0]}. Bands: the plan that was followed.")
    yield course_plot(results, shown)
    yield tag("h2", "What this simulation knows, and what it does not")
    yield tag("p", _limits())


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    workload, budget = study.workload, study.budget
    yield "workload", f"{workload.name}: {workload.about}"
    alone = millis(workload.local_ms) if workload.ready.model.whole else "cannot: it does not hold all segments"
    yield "the device alone", alone
    yield "latency budget", "none" if budget.latency_ms is None else millis(budget.latency_ms)
    yield "races", f"the device may compute {share(budget.hedge_max_share)} of the requests besides the cloud"
    yield (
        "requests",
        f"{study.requests} in each run, {brief(study.rate_hz)} a second; seeds: {', '.join(map(str, study.seeds))}",
    )
    for family in study.families:
        links = [link for link in study.links if link.family == family]
        radios = ", ".join(dict.fromkeys(link.radio for link in links))
        yield family, f"{len(links)} {'trace' if len(links) == 1 else 'traces'}, radio {radios}"


def _verdict(results: Results) -> Markup:
    families = results.study.families
    said = [tag("p", tag("strong", verdict(results).text))]
    if len(families) > 1:
        lines = (tag("li", tag("strong", f"{family}: "), verdict(results, family).text) for family in families)
        said.append(tag("ul", *lines))
    return tag("div", *said, class_="verdict")


def _table(results: Results, family: str | None) -> Markup:
    rows = []
    for way in results.study.ways:
        f = figures(results, way, family)
        latency = (millis(f.mean_ms), millis(f.p50_ms), millis(f.p95_ms), millis(f.p99_ms), share(f.regret), _rare(f.late))
        spent = (f"{brief(f.energy_mj)} mJ", size(f.uplink_bytes), brief(f.switches_per_min))
        ends = (share(f.device), share(f.upload), share(f.split), share(f.raced), _rare(f.unanswered))
        rows.append((way.name, *latency, *spent, *ends))
    ours = leading(results.study)
    classes = ["lead" if way == ours else "" for way in results.study.ways]
    return table((*COLUMNS, *SHARES), rows, classes=classes)


def _rare(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.2f} %"


def _explained(study: Study) -> str:
    if study.budget.latency_ms is None:
        late = "late is not given, since there is no budget"
    elif study.workload.feasible:
        late = "late: share of requests over the latency budget"
    else:
        late = "late is not given, since the device alone would not be in time"
    return (
        "Regret: mean latency above that of an oracle, trace by trace; it has the same plans and knows the future; "
        f"{late}. Energy (modelled) and bytes are for each request, with all that was raced, broken off or probed. Raced: "
        "share for which the device had begun, too, when an answer came."
    )


def _limits() -> str:
    return (
        "The link carries bits in order at the rate of the trace, with slow start once a connection and a radio that wakes and "
        "sleeps; it loses nothing, and no other application uses it. The cloud is a queue with drifting load and bursts. "
        "Device and cloud take the times of the workload, with some spread. Energy is a model with published figures. "
        "The scheduler is the one that runs on devices."
    )
