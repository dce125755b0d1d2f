"""A wall clock's "until 18:00" as a budget. The only module that reads one: all others count from an event."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from splitinfer.plan import Budget


def lasting_until(budget: Budget, until: datetime, now: datetime | None = None) -> Budget:
    """The same budget, and the battery lasts until then.

    Args:
        budget: what else may be spent; a share an hour is given up.
        until: without a time zone it is local time.
        now: None = by the clock.

    Raises:
        ValueError: it is past.
    """
    lasts_ms = (until.timestamp() - (time.time() if now is None else now.timestamp())) * 1e3
    if lasts_ms <= 0:
        raise ValueError(f"{until:%Y-%m-%d %H:%M} is past: the battery can last until later only")
    return replace(budget, battery_lasts_ms=lasts_ms, battery_share_per_h=None)
