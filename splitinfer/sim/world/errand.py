"""One request of a simulated device: performs the effects of its flow in virtual time, as `device.driver` does in real time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp
from typing import TYPE_CHECKING

from splitinfer.draw import normal, uniform
from splitinfer.errors import RemoteError, Unreachable
from splitinfer.events import Failed, Inferred, LoadReported, Outcome, Transferred
from splitinfer.flow import Answer, Done, Encode, Encoded, Race, Ran, Run, Send, Sent, infer
from splitinfer.plan import Budget, Plan
from splitinfer.remote import Reply
from splitinfer.sim.world.held import Finished, SimHeld
from splitinfer.sim.world.link import Upload
from splitinfer.terms import Request

if TYPE_CHECKING:
    from splitinfer.sim.world.cloud import Served
    from splitinfer.sim.world.device import Device

JITTER_MS = 3.0
"""Of the server and of the network's ends: uniformly between half and one and a half of it, for each request."""
PACE_SPREAD = 0.05
"""Of ln(time) of all that a device computes, from one request to the next."""
CHUNKED_MS = 100.0
"""Uploads that are expected to take longer are acknowledged piece by piece."""
DOUBT_MS = 300.0
_PACE, _JITTER = 11, 12


class Errand:
    """On its way from `advance(None)` to `done`."""

    def __init__(self, device: Device, budget: Budget, number: int, done: Callable[[Finished], None]) -> None:
        self._device = device
        self._agenda = device.agenda
        self._done = done
        self._began_ms = self._agenda.now_ms
        self._pace = exp(PACE_SPREAD * normal(device.seed, _PACE, number)) * device.slowdown(self._began_ms)
        self._jitter_ms = JITTER_MS * (0.5 + uniform(device.seed, _JITTER, number))
        model, scheduler = device.workload.ready.model, device.scheduler
        self._request = Request(self._began_ms, budget, model.whole, scheduler, lambda: self._agenda.now_ms)
        chosen = None if device.choose is None else device.choose(self._began_ms, self._pace)
        self._followed: Plan | None = chosen
        self._flow = infer(model, SimHeld(0), self._plan if chosen is None else lambda _cut: chosen, self._request.terms())
        self._energy_mj = 0.0
        # of the hand-over:
        self._over = False
        self._send: Send | None = None
        self._rest: Run | None = None
        self._upload: Upload | None = None
        self._sent_ms = 0.0
        self._idle_ms = 0.0
        self._expected_ms = 0.0
        self._chunked = False
        self._race: tuple[float, Ran, float] | None = None  # when it began, what it makes, when it ends

    def advance(self, done: Done | None) -> None:
        """Goes on with the flow until something has to be waited for."""
        while True:
            try:
                effect = next(self._flow) if done is None else self._flow.send(done)
            except StopIteration as end:
                self._answered(end.value)
                return
            except RemoteError as error:
                self._failed(error)
                return
            if isinstance(effect, Run):
                done, at_ms = self._run(effect)
            elif isinstance(effect, Encode):
                done, at_ms = self._encode(effect)
            else:
                self._hand_over(effect)
                return
            if not self._agenda.jump(at_ms):
                self._agenda.at(at_ms, partial(self.advance, done))
                return

    def _plan(self, cut: int) -> Plan:
        self._followed = self._device.scheduler.plan_from(cut)
        return self._followed

    def _run(self, run: Run) -> tuple[Ran, float]:
        pace = self._pace
        times = tuple([ms * pace for ms in self._device.segment_ms[run.held.at : run.stop]])
        ends_ms = self._device.engine(sum(times))
        return Ran(SimHeld(run.stop), ends_ms - self._agenda.now_ms, times), ends_ms

    def _encode(self, effect: Encode) -> tuple[Encoded, float]:
        profile = self._device.workload.ready.profile
        ms = profile.encode_ms.get(Plan(effect.held.at, effect.codec), 0.0) * self._pace
        return Encoded(self._device.payload(effect.held, effect.codec), ms), self._agenda.now_ms + ms

    # The hand-over.

    def _hand_over(self, effect: Send | Race) -> None:
        self._send = send = effect.send if isinstance(effect, Race) else effect
        now_ms, device = self._agenda.now_ms, self._device
        if not device.up:
            self.advance(Sent(0.0, error=Unreachable("the link is down")))
            return
        self._sent_ms, self._idle_ms = now_ms, device.link.idle_ms(now_ms)
        believed = device.scheduler.conditions.uplink
        self._expected_ms = device.scheduler.reply_ms(send.payload.cut, send.payload.nbytes)
        self._chunked = believed is not None and 8e3 * send.payload.nbytes / believed.rate_bps > CHUNKED_MS
        self._upload = device.link.send(send.payload.nbytes, self._departed)
        if send.patience_until_ms is not None:
            self._agenda.at(send.patience_until_ms, self._gave_up)
        if isinstance(effect, Race):
            self._rest = effect.rest
            self._agenda.at(effect.start_at_ms, self._race_starts)

    def _departed(self, upload: Upload) -> None:
        self._sending(upload.departs_ms, upload.nbytes)
        arrives_ms = self._agenda.now_ms + self._rtt_ms / 2 + self._jitter_ms
        self._agenda.at(arrives_ms, self._arrived)

    def _arrived(self) -> None:
        """At the cloud."""
        if self._over or self._send is None or not self._device.cloud.answers(self._agenda.now_ms):
            return
        payload, profile = self._send.payload, self._device.workload.ready.profile
        decode_ms = profile.decode_ms.get(Plan(payload.cut, payload.codec), 0.0)
        now_ms = self._agenda.now_ms
        served = self._device.cloud.serve(now_ms + decode_ms, profile.tail_ms[payload.cut])
        server_ms = served.done_ms - now_ms
        self._agenda.at(served.done_ms + self._rtt_ms / 2, partial(self._replied, served, decode_ms, server_ms))

    def _replied(self, served: Served, decode_ms: float, server_ms: float) -> None:
        if self._over or self._send is None or self._upload is None:
            return
        self._over = True
        now_ms, device, nbytes = self._agenda.now_ms, self._device, self._send.payload.nbytes
        elapsed_ms = now_ms - self._sent_ms
        raced_ms = 0.0
        if self._race is not None:
            raced_ms = now_ms - self._race[0]
            device.stop_engine(self._race[2])
        device.hear(Transferred(nbytes, elapsed_ms - server_ms, first=self._upload.first))
        device.hear(LoadReported(served.queue_ms, served.slow))
        reply = Reply(
            payload=self._send.payload,
            queue_ms=served.queue_ms,
            decode_ms=decode_ms,
            tail_ms=served.tail_ms,
            server_ms=server_ms,
            load_queue_ms=served.queue_ms,
            tail_scale=served.slow,
            elapsed_ms=elapsed_ms,
            uplink_bytes=nbytes,
            rtt_ms=self._rtt_ms,
        )
        self.advance(Sent(elapsed_ms, reply=reply, outputs={}, raced_ms=raced_ms))

    def _race_starts(self) -> None:
        if self._over or self._rest is None:
            return
        ran, ends_ms = self._run(self._rest)
        self._race = self._agenda.now_ms, ran, ends_ms
        self._agenda.at(ends_ms, self._race_won)

    def _race_won(self) -> None:
        if self._over or self._race is None:
            return
        self._over = True
        waited_ms, left = self._agenda.now_ms - self._sent_ms, self._break_off(late=False)
        if not left and self._send is not None and waited_ms > 2 * self._expected_ms:
            self._doubt()
        self.advance(Sent(self._agenda.now_ms - self._sent_ms, ran=self._race[1]))

    def _gave_up(self) -> None:
        """Patience is over; a race that runs goes on alone."""
        if self._over or self._upload is None or self._upload.cancelled:
            return
        left = self._break_off(late=True)
        if not left:
            self._doubt()
        if self._race is None:
            self._over = True
            self.advance(Sent(self._agenda.now_ms - self._sent_ms, error=Unreachable("no answer in time")))

    def _break_off(self, late: bool) -> int:
        """Cancels the upload; says what that tells of the link. Returns the bytes that are known to have arrived."""
        upload, now_ms = self._upload, self._agenda.now_ms
        if upload is None or upload.cancelled:
            return 0
        left = self._device.link.cancel(upload)
        if now_ms < upload.departs_ms:
            self._sending(now_ms, left)
        known = left if self._chunked else 0
        complete = known == upload.nbytes
        elapsed_ms = (upload.departs_ms if complete else now_ms) + (self._rtt_ms if complete else 0.0) - self._sent_ms
        self._device.hear(Transferred(known, elapsed_ms, complete, upload.first, upload.nbytes))
        upload.cancelled = True
        return known

    def _doubt(self) -> None:
        """Nothing came: a dead link if the wait was long for what was sent, or if it does not answer a question."""
        device, now_ms = self._device, self._agenda.now_ms
        _, departs_ms = device.link.departs_ms(now_ms, 100)
        if departs_ms + self._rtt_ms > now_ms + DOUBT_MS:
            device.lost("timeout")

    def _sending(self, until_ms: float, nbytes: int) -> None:
        """Pays for the radio."""
        assert self._upload is not None
        sending_ms = max(until_ms - self._upload.starts_ms, 0.0)
        self._energy_mj += self._device.power.radio(self._device.link.radio.name).energy_mj(sending_ms, nbytes, self._idle_ms)

    @property
    def _rtt_ms(self) -> float:
        return self._device.link.rtt_ms(self._sent_ms)

    # The end.

    def _answered(self, answer: Answer) -> None:
        device, outcome = self._device, answer.outcome
        computed_ms = sum(ms or 0.0 for ms in answer.segment_ms) + answer.cost.encode_ms + answer.raced_ms
        self._energy_mj += device.power.compute_w * computed_ms
        believed_mj = self._energy_mj + (device.workload.power.compute_w - device.power.compute_w) * computed_ms
        cost = answer.cost.with_energy(believed_mj)
        device.spend(self._energy_mj)
        late = self._request.late()
        device.hear(Inferred(answer.plan, cost, outcome, answer.segment_ms, late, answer.departed, answer.raced_ms))
        self._finish(answer.plan, outcome, answer.cost.uplink_bytes)

    def _failed(self, error: RemoteError) -> None:
        plan = self._followed or Plan(0, "raw")
        self._device.spend(self._energy_mj)
        self._device.hear(Failed(plan, Outcome.EXPIRED, str(error)))
        self._finish(plan, Outcome.EXPIRED, 0)

    def _finish(self, plan: Plan, outcome: Outcome, uplink_bytes: int) -> None:
        latency_ms = self._agenda.now_ms - self._began_ms
        self._done(Finished(self._began_ms, latency_ms, plan, outcome, self._energy_mj, uplink_bytes))
