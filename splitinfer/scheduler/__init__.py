"""Events and `now_ms` in, events out: the state machine that keeps the plan.

scheduler    what each event does
pace         how fast the plan may change
exploration  when to look at a link that nobody uses
"""

from splitinfer.scheduler.exploration import PROBE_BYTES
from splitinfer.scheduler.scheduler import PROBE_TAIL_MAX_MS, Scheduler

__all__ = ["PROBE_BYTES", "PROBE_TAIL_MAX_MS", "Scheduler"]
