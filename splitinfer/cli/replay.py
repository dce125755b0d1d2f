"""`splitinfer replay`: a recorded log once more, as it was or with another policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import click

import splitinfer
from splitinfer.cli.output import json_option, print_json, print_table
from splitinfer.events import Event, Failed, Inferred, Recorded, as_json
from splitinfer.policy import Policy, policy
from splitinfer.recording import ANSWERS, Asked, Compared, Difference, Recording, compare, read, replay

PAIRS_SHOWN = 20


def _policy(_ctx: click.Context, _option: click.Parameter, name: str | None) -> Policy | None:
    try:
        return None if name is None else policy(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("replay")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--policy", "rule", callback=_policy, help="Show what this policy would have done, for example robust.")
@json_option
def command(log: Path, rule: Policy | None, as_json: bool) -> int:
    """Run the recorded LOG again: the scheduler must say the same, event by event. Exit code 1 where it does not.

    A log is what --events, or Settings(events_file=...), writes.
    """
    recordings = read(log)
    if rule is not None:
        compared = [compare(recording, rule) for recording in recordings]
        _show_compared(recordings, compared, rule, as_json)
        return 0
    differences = [replay(recording) for recording in recordings]
    _show_replayed(recordings, differences, as_json)
    return 1 if any(differences) else 0


def _show_replayed(recordings: Sequence[Recording], differences: Sequence[Difference | None], as_json: bool) -> None:
    pairs = [*zip(recordings, differences, strict=True)]
    if as_json:
        rows = [_facts(recording) | {"difference": difference and _difference(difference)} for recording, difference in pairs]
        print_json({"identical": not any(differences), "recordings": rows})
        return
    _print_facts(recordings)
    for recording, difference in pairs:
        click.echo(f"line {recording.line}: " + ("identical" if difference is None else _parted(recording, difference)))


def _parted(recording: Recording, difference: Difference) -> str:
    lines = [
        f"DIFFERENT from line {difference.line} on, at {difference.at_ms:.1f} ms",
        f"  recorded: {difference.recorded or 'nothing, the recording ends'}",
        f"  replayed: {difference.replayed or 'nothing'}",
    ]
    if recording.start.splitinfer != splitinfer.__version__:
        lines.append(f"  recorded by splitinfer {recording.start.splitinfer}, replayed by {splitinfer.__version__}")
    return "\n".join(lines)


def _show_compared(recordings: Sequence[Recording], compared: Sequence[Compared], rule: Policy, as_json: bool) -> None:
    pairs = [*zip(recordings, compared, strict=True)]
    if as_json:
        print_json({"policy": rule.name, "recordings": [_facts(recording) | _compared(c) for recording, c in pairs]})
        return
    _print_facts(recordings)
    for recording, one in pairs:
        _print_compared(recording, one)
    click.echo(
        f"\nWhat {rule.name} would have measured is not known. It is predicted from what was believed when each request came, "
        "and the policy was told what the recorded plans measured."
    )


def _print_compared(recording: Recording, compared: Compared) -> None:
    recorded, other = recording.start.policy, compared.policy
    print_table(
        ("plans", "switches", "mean ms, measured", "mean ms, predicted"),
        [
            (f"{recorded}, recorded", compared.switches, compared.measured_ms, compared.predicted_ms),
            (f"{other}, instead", compared.other_switches, None, compared.other_predicted_ms),
        ],
        title=f"\nline {recording.line}: {len(compared.asked)} requests, the same plan for {_share(compared.agree)} of them",
    )
    groups: defaultdict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in compared.asked:
        groups[str(one.plan), str(one.other)].append(one)
    largest = islice(sorted(groups.items(), key=lambda item: -len(item[1])), PAIRS_SHOWN)
    print_table(
        (f"plan of {recorded}", f"plan of {other}", "requests", "ms, measured", "ms, predicted", f"ms of {other}, predicted"),
        [
            (
                mine,
                theirs,
                len(group),
                _mean(one.measured_ms for one in group),
                _mean(one.predicted_ms for one in group),
                _mean(one.other_predicted_ms for one in group),
            )
            for (mine, theirs), group in largest
        ],
        title="",
    )


def _print_facts(recordings: Sequence[Recording]) -> None:
    columns = ("line", "policy", "seed", "duration_ms", "events", "answers", "requests")
    rows = [(_facts(recording), "its last line was cut off" if recording.torn else "") for recording in recordings]
    print_table((*columns, ""), [(*(facts[name] for name in columns), torn) for facts, torn in rows], sentences=True)


def _facts(recording: Recording) -> dict[str, Any]:
    start, events = recording.start, recording.events
    return {
        "line": recording.line,
        "splitinfer": start.splitinfer,
        "policy": start.policy,
        "seed": start.seed,
        "duration_ms": events[-1].at_ms - events[0].at_ms if events else 0.0,
        "events": len(events),
        "answers": sum(isinstance(recorded.event, ANSWERS) for recorded in events),
        "requests": sum(isinstance(recorded.event, Inferred | Failed) for recorded in events),
        "torn": recording.torn,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "line": difference.line,
        "at_ms": difference.at_ms,
        "recorded": _event(difference.recorded),
        "replayed": _event(difference.replayed),
    }


def _event(event: Event | None) -> dict[str, Any] | None:
    """As in a log, but without number and time."""
    if event is None:
        return None
    return {name: value for name, value in as_json(Recorded(0, 0.0, event)).items() if name not in ("version", "seq", "at_ms")}


def _compared(compared: Compared) -> dict[str, Any]:
    return {
        "agree": compared.agree,
        "measured_ms": compared.measured_ms,
        "predicted_ms": compared.predicted_ms,
        "other_predicted_ms": compared.other_predicted_ms,
        "switches": compared.switches,
        "other_switches": compared.other_switches,
        "asked": [asdict(one) for one in compared.asked],
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _share(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"
