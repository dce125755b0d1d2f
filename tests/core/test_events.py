"""Events as JSON: what docs/json.md says of them is what is written."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from splitinfer.events import EVENT_VERSION, Event, Inferred, LinkChanged, Outcome, Recorded, as_json
from splitinfer.plan import Cost, Plan

DOCS = Path(__file__).parents[2] / "docs" / "json.md"


def documented() -> dict[str, str]:
    """Type -> its row of the table of events."""
    table = DOCS.read_text(encoding="utf-8").partition("## Events")[2]
    return dict(re.findall(r"^\| `([A-Z]\w+)` \| (.+) \|$", table, re.MULTILINE))


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_field_of_every_event_is_documented(kind):
    assert {field.name for field in fields(kind)} <= set(re.findall(r"\w+", documented()[kind.__name__]))


def test_nothing_else_is_documented():
    assert documented().keys() == {kind.__name__ for kind in get_args(Event)}


def test_an_event_is_plain_json():
    event = Inferred(Plan(2, "int8"), Cost(head_ms=1.5, uplink_ms=2.0), Outcome.REMOTE, (1.5, None))
    written = json.loads(json.dumps(as_json(Recorded(7, 12.34567, event))))
    assert {key: written[key] for key in ("type", "version", "seq", "at_ms")} == {
        "type": "Inferred",
        "version": EVENT_VERSION,
        "seq": 7,
        "at_ms": 12.346,
    }
    assert written["plan"] == {"cut": 2, "codec": "int8"}
    assert written["cost"]["latency_ms"] == 3.5
    assert written["segment_ms"] == [1.5, None]
    assert as_json(Recorded(0, 0.0, LinkChanged(True)))["metered"] is None
