"""How a device behaves: everything an application may set once, with its unit, default and reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from splitinfer.backends.network import Network, read_network
from splitinfer.backends.power import read_power
from splitinfer.energy import Power
from splitinfer.events import Observer, PowerRead
from splitinfer.policy import Policy


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a `Client`.

    Attributes:
        policy: a policy, or the name of one: "thompson", "robust" (draws nothing), or "static:<cut>/<codec>" to hold on to
            one plan.
        seed: of the draws of a policy that draws; None = one of its own for each client, so that a fleet does not move as one.
        insecure: allow plaintext to addresses other than loopback. For closed networks and tests.
        threads: of the engine. 1: more threads gain little on small models, and cost battery and neighbours.
        slowdown: pretend that this device is so many times slower (it sleeps). For demos and tests on a fast machine.
        power: energy model of the device; its figures are modelled.
        read_power: where the battery is read: a callable of your own on a phone or in a test.
        power_every_ms: how often it is read.
        read_network: where it is read which network this is, whenever the connection comes up: as `read_power`. Not asked where
            the cloud is on this machine.
        state_file: what was learnt of networks is kept there for the next run.
        observers: hear every event, from the first.
        events_file: events as JSON Lines.
        metrics_port: serve Prometheus metrics on loopback at this port; 0 = any free one (`Client.metrics_port`).
        verify: check the bundle's hashes when it is opened. Switch it off only where something else guards the files.
    """

    policy: Policy | str = "thompson"
    seed: int | None = None
    insecure: bool = False
    threads: int = 1
    slowdown: float = 1.0
    power: Power = field(default_factory=Power)
    read_power: Callable[[], PowerRead] = read_power
    power_every_ms: float = 30_000.0
    read_network: Callable[[], Network] = read_network
    state_file: Path | None = None
    observers: tuple[Observer, ...] = ()
    events_file: Path | None = None
    metrics_port: int | None = None
    verify: bool = True
