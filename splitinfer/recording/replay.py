"""Lives a recording again: a new scheduler, told exactly what the recorded one was told, must say exactly what that said.

It does where the code is the same: of another version, or where codecs are installed that were not (plans differ), it need not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from splitinfer.errors import NoFeasiblePlan, RecordingError
from splitinfer.events import Event, InputsDrifted, PlanChanged, ProbeDue, Recorded
from splitinfer.recording.reader import Recording
from splitinfer.scheduler import Scheduler

ANSWERS = (PlanChanged, InputsDrifted, ProbeDue)
"""What a scheduler says; every other event it is told."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two lives part.

    Attributes:
        line: of the file.
        at_ms: when.
        recorded: what was said then, or was told while an answer was due; None = the recording ends.
        replayed: what is said now; None = nothing.
    """

    line: int
    at_ms: float
    recorded: Event | None
    replayed: Event | None


def replay(recording: Recording) -> Difference | None:
    """The first difference; None = it is identical: plans, causes, reasons, order and times.

    Raises:
        RecordingError: its policy is not known here, or finds no plan for what it is told.
    """
    scheduler = recording.start.scheduler()
    due: deque[Event] = deque()
    at_ms = 0.0
    for recorded in recording.events:
        event, line = recorded.event, recording.line_of(recorded)
        if isinstance(event, ANSWERS):
            said = due.popleft() if due else None
            if said != event or recorded.at_ms != at_ms:
                return Difference(line, recorded.at_ms, event, said)
        elif due:
            return Difference(line, recorded.at_ms, event, due[0])
        else:
            at_ms = recorded.at_ms
            due.extend(tell(scheduler, recording, recorded))
    if due and not recording.torn:
        return Difference(recording.line + 1 + len(recording.events), at_ms, None, due[0])
    return None


def tell(scheduler: Scheduler, recording: Recording, recorded: Recorded) -> list[Event]:
    """Tells a scheduler one event of a recording; returns what it says.

    Raises:
        RecordingError: it finds no plan.
    """
    try:
        return scheduler.handle(recorded.event, recording.start.began_at_ms + recorded.at_ms)
    except NoFeasiblePlan as error:
        raise RecordingError(f"line {recording.line_of(recorded)}: {scheduler.policy.name} finds no plan: {error}") from error
