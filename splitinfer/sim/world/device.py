"""A device in virtual time: its scheduler and the flow of its requests are the real ones, what they ask for is simulated.

Says to the scheduler what a real driver and a real connection would say, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from splitinfer.energy import Power
from splitinfer.engine import Held
from splitinfer.events import Event, LinkChanged, PlanChanged, PowerRead, ProbeDue, Requested, Transferred, Woken
from splitinfer.payload import Part, Payload
from splitinfer.plan import Budget, Plan
from splitinfer.scheduler import Scheduler
from splitinfer.sim.world.agenda import Agenda
from splitinfer.sim.world.cloud import Cloud
from splitinfer.sim.world.errand import Errand
from splitinfer.sim.world.held import Finished
from splitinfer.sim.world.link import Uplink, Upload
from splitinfer.sim.world.workload import Workload

HANDSHAKE_BYTES = 1_500
HANDSHAKE_ROUNDS = 3
LOOK_EVERY_MS = 250.0
LOOK_PATIENCE_MS = 1_000.0
"""A lost link is looked for so often, and each time for so long; on a dear radio only when a request comes."""
DEAR_TAIL_MS = 1_000.0
_ZEROS = memoryview(bytes(1 << 20))


@dataclass(slots=True)
class Charge:
    """A battery. Its gauge shows whole per cents.

    Attributes:
        capacity_mj: when full.
        power: the device's true figures, which its scheduler does not know.
        level: 0..1.
        paid_to_ms: the idle draw is paid so far.
    """

    capacity_mj: float
    power: Power
    level: float = 1.0
    paid_to_ms: float = 0.0

    def pay(self, energy_mj: float, now_ms: float) -> None:
        """Takes energy out, and the idle draw until now."""
        idle_mj = self.power.idle_w * (now_ms - self.paid_to_ms)
        self.paid_to_ms = now_ms
        self.level = max(self.level - (energy_mj + idle_mj) / self.capacity_mj, 0.0)

    @property
    def shown(self) -> float:
        """What the gauge shows."""
        return -(-self.level * 100 // 1) / 100


Tell = Callable[[Event, float], None]


@dataclass(frozen=True, slots=True)
class Around:
    """What a device stands in: the time, its link, the cloud that it shares."""

    agenda: Agenda
    link: Uplink
    cloud: Cloud


class Device:
    """One device. `plan` may be taken over by one who knows more (the oracle)."""

    def __init__(
        self,
        around: Around,
        workload: Workload,
        scheduler: Scheduler,
        *,
        seed: int,
        charge: Charge | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.agenda, self.link, self.cloud = around.agenda, around.link, around.cloud
        self.workload = workload
        self.segment_ms = [ms or 0.0 for ms in workload.ready.profile.segment_ms]
        self.scheduler = scheduler
        self.choose: Callable[[float, float], Plan] | None = None
        self.slowdown: Callable[[float], float] = lambda _at_ms: 1.0
        self.switches = 0
        self.energy_mj = 0.0
        self.seed = seed
        self.charge = charge
        self.up = False
        self.power = charge.power if charge else workload.power
        self._tell = tell
        self._requests = 0
        self._engine_free_ms = 0.0
        self._looked_ms = -inf
        self._woken_ms = inf
        self._payloads: dict[tuple[int, str], Payload] = {}

    def start(self) -> None:
        """Connects, and gets its model."""
        self.up = True
        self.hear(LinkChanged(True, "connected", radio=self.link.radio.name))
        self.read_gauge()
        self.hear(self.workload.ready)

    def hear(self, event: Event) -> None:
        """Tells the scheduler, and does what it says."""
        now_ms = self.agenda.now_ms
        if self._tell is not None:
            self._tell(event, now_ms)
        for said in self.scheduler.handle(event, now_ms):
            if self._tell is not None:
                self._tell(said, now_ms)
            if type(said) is ProbeDue:
                self._probe(said.nbytes)
            elif type(said) is PlanChanged:
                self.switches += 1
        self._sleep()

    def request(self, budget: Budget, done: Callable[[Finished], None]) -> None:
        """One request; `done` is called when it is answered."""
        self._requests += 1
        self.hear(Requested())
        if not self.up and self._dear:
            self._look()
        Errand(self, budget, self._requests, done).advance(None)

    def engine(self, takes_ms: float) -> float:
        """Reserves the engine; returns when it is done."""
        self._engine_free_ms = max(self.agenda.now_ms, self._engine_free_ms) + takes_ms
        return self._engine_free_ms

    def stop_engine(self, ends_ms: float) -> None:
        """Gives a reservation back that would have ended then, if nothing was reserved after it."""
        if self._engine_free_ms == ends_ms:
            self._engine_free_ms = self.agenda.now_ms

    def spend(self, energy_mj: float) -> None:
        """Pays, out of the battery if there is one."""
        self.energy_mj += energy_mj
        if self.charge is not None:
            self.charge.pay(energy_mj, self.agenda.now_ms)

    def read_gauge(self) -> None:
        """Tells the scheduler what the gauge shows."""
        if self.charge is not None:
            self.charge.pay(0.0, self.agenda.now_ms)
            self.hear(PowerRead(self.charge.shown, False))

    @property
    def _dear(self) -> bool:
        return self.link.radio.tail_ms > DEAR_TAIL_MS

    def payload(self, held: Held, codec: str) -> Payload:
        """As large as the scorecard says."""
        key = (held.at, codec)
        if key not in self._payloads:
            ready = self.workload.ready
            score = ready.scorecard.scores.get(Plan(*key))
            nbytes = score.bytes_p50 if score else ready.model.cuts[held.at].nbytes
            pieces, rest = divmod(nbytes, len(_ZEROS))
            part = Part("tensor", "uint8", (nbytes,), codec, (*(_ZEROS,) * pieces, _ZEROS[:rest]))
            self._payloads[key] = Payload(ready.model.digest, held.at, codec, (part,))
        return self._payloads[key]

    def lost(self, cause: str) -> None:
        """Nothing comes any more; it is looked for."""
        if not self.up:
            return
        self.up = False
        self.hear(LinkChanged(False, cause))
        if not self._dear:
            self.agenda.at(self.agenda.now_ms + LOOK_EVERY_MS, self._look)

    def _look(self) -> None:
        """A fresh connection is tried; it succeeds if its handshakes get through in time."""
        now_ms = self.agenda.now_ms
        if self.up is not False or now_ms < self._looked_ms:
            return
        _, departs_ms = self.link.departs_ms(now_ms, HANDSHAKE_BYTES)
        ready_ms = departs_ms + HANDSHAKE_ROUNDS * self.link.rtt_ms(now_ms)
        self._looked_ms = min(ready_ms, now_ms + LOOK_PATIENCE_MS)
        if ready_ms <= now_ms + LOOK_PATIENCE_MS:
            self.agenda.at(ready_ms, self._found)
        elif not self._dear:
            self.agenda.at(now_ms + LOOK_PATIENCE_MS + LOOK_EVERY_MS, self._look)

    def _found(self) -> None:
        if not self.up:
            self.up = True
            self.link.reconnect()
            self.hear(LinkChanged(True, "connected"))

    def _probe(self, nbytes: int) -> None:
        if not self.up:
            return
        now_ms = self.agenda.now_ms
        idle_ms = self.link.idle_ms(now_ms)

        def departed(upload: Upload) -> None:
            self.spend(self.link.radio.energy_mj(upload.departs_ms - upload.starts_ms, nbytes, idle_ms))
            rtt_ms = self.link.rtt_ms(now_ms)
            arrives_ms = self.agenda.now_ms + rtt_ms
            self.agenda.at(arrives_ms, partial(self.hear, Transferred(nbytes, arrives_ms - now_ms, first=upload.first)))

        self.link.send(nbytes, departed)

    def _sleep(self) -> None:
        """Makes an entry for when the scheduler wants to be woken."""
        wakeup_ms = self.scheduler.wakeup_at_ms
        if wakeup_ms is not None and wakeup_ms < self._woken_ms:
            self._woken_ms = wakeup_ms
            self.agenda.at(wakeup_ms, self._wake)

    def _wake(self) -> None:
        self._woken_ms = inf
        wakeup_ms = self.scheduler.wakeup_at_ms
        if wakeup_ms is not None and wakeup_ms <= self.agenda.now_ms:
            self.hear(Woken())
        else:
            self._sleep()
