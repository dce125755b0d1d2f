"""What the benchmark of outages promises, as a test: it is simulated, so that it takes a second and is always the same."""

from __future__ import annotations

from splitinfer.bench.policies import outages


def test_a_device_is_remote_again_within_five_seconds_on_every_radio() -> None:
    rows = outages.measure()
    assert len(rows) == len(outages.RADIOS)
    assert all(row.met for row in rows), {row.name: row.value for row in rows}
