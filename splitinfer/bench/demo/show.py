"""The demo from end to end: build, cloud, all ways, once for each slowdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from splitinfer.bench.demo.assets import Assets, Progress, make
from splitinfer.bench.demo.run import Ride, Road, Watch, ride
from splitinfer.bench.demo.scenario import COMMUTE, Scenario
from splitinfer.bench.demo.ways import ways
from splitinfer.cloud.serve import ServeSettings, start
from splitinfer.plan import Budget


@dataclass(frozen=True)
class Watching:
    """Who is told what, as it happens.

    Attributes:
        building: of building the bundles: (stage, done, total).
        stage: a line for people.
        event: an event of the running way.
        record: an existing folder that gets a recording of each way; None = none.
    """

    building: Progress | None = None
    stage: Callable[[str], None] = lambda _text: None
    event: Watch | None = None
    record: Path | None = None


Rides = dict[str, Ride]


def show(
    folder: Path, slowdowns: Sequence[float], watching: Watching, scenario: Scenario = COMMUTE
) -> tuple[Assets, dict[float, Rides]]:
    """Runs everything.

    Args:
        folder: for the bundles.
        slowdowns: of the device; the whole timeline is run for each.
        watching: progress.
        scenario: the timeline.

    Returns:
        The assets, and for each slowdown the rides by name of the way.
    """
    watching.stage("building the bundles from the trained network")
    assets = make(folder, watching.building)
    watching.stage("starting the cloud (a local Ray)")
    with start(ServeSettings(bundles=(assets.image.path, assets.plain.path), listen="127.0.0.1:0")) as cloud:
        rides = {slowdown: _ride_all(assets, cloud.addresses[0], scenario, slowdown, watching) for slowdown in slowdowns}
        watching.stage("stopping the cloud")
    return assets, rides


def _ride_all(assets: Assets, cloud: str, scenario: Scenario, slowdown: float, watching: Watching) -> Rides:
    budget = Budget(latency_ms=scenario.latency_ms)
    watching.stage(f"riding all ways, device slowed down {slowdown:g} times")
    road = Road(assets, cloud, scenario, budget, slowdown, watching.event, watching.record)
    return ride(road, ways(assets.image, assets.plain, scenario, budget, slowdown))
