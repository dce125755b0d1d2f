"""Carries out the effects of a flow on a real device: engine, codecs, the cloud, and the clock.

One device has one engine: runs of several requests take turns, while what they sent is on its way. Knows no scheduler; the
terms of a request come with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from splitinfer.engine import Engine, Held, Stop
from splitinfer.errors import Refused, RemoteError, Stopped, Unreachable
from splitinfer.events import Observer, RequestRefused
from splitinfer.flow import Answer, Done, Effect, Encode, Encoded, Flow, Race, Ran, Run, Send, Sent
from splitinfer.payload import Packer, Payload
from splitinfer.plan import Plan
from splitinfer.remote import Remote, Reply

IN_FLIGHT = 8
"""Requests that may wait for the cloud at once, the losers of races included."""


def now_ms() -> float:
    """The device's monotonic clock."""
    return time.monotonic() * 1e3


class Driver:
    """Performs effects. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        packer: Packer,
        remote: Remote | None,
        *,
        observe: Observer = lambda _event: None,
        slowdown: float = 1.0,
    ) -> None:
        """Takes the parts.

        Args:
            engine: runs segments.
            packer: codes tensors.
            remote: the cloud; None = there is none.
            observe: hears when the cloud says no.
            slowdown: stretches coding as `Slowed` stretches the engine.
        """
        self.engine = engine
        self._slowdown = slowdown
        self._packer = packer
        self._remote = remote
        self._observe = observe
        self._engine_lock = Lock()
        self._senders = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="splitinfer-send")

    def drive(self, flow: Flow, encoded: Callable[[Plan], Payload | None] = lambda _plan: None) -> Answer:
        """Runs a flow to its answer.

        Args:
            flow: what to do.
            encoded: a payload that the application brought along (a JPEG at cut 0), where it fits the plan.
        """
        done: Done | None = None
        while True:
            try:
                effect = flow.send(done) if done is not None else next(flow)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            done = self._perform(effect, encoded)

    def close(self) -> None:
        """Waits for nothing: requests in flight were cancelled by whoever closed the remote."""
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _perform(self, effect: Effect, encoded: Callable[[Plan], Payload | None]) -> Done:
        match effect:
            case Run(held, stop):
                return self.run(held, stop)
            case Encode(held, codec):
                return self._encode(held, codec, encoded)
            case Send():
                return self._send(effect)
            case Race():
                return self._race(effect)

    def run(self, held: Held, stop: int, stopper: Stop | None = None) -> Ran:
        """Runs segments one by one, each timed.

        Raises:
            Stopped: the stopper was asked.
        """
        began_ms = now_ms()
        times: list[float] = []
        with self._engine_lock:
            for index in range(held.at, stop):
                segment_began_ms = now_ms()
                held = self.engine.run(index, index + 1, held, stopper)
                times.append(now_ms() - segment_began_ms)
        return Ran(held, now_ms() - began_ms, tuple(times))

    def _encode(self, held: Held, codec: str, encoded: Callable[[Plan], Payload | None]) -> Encoded:
        began_ms, began_cpu_s = now_ms(), time.thread_time()
        brought = encoded(Plan(held.at, codec)) if held.at == 0 else None
        payload = brought or self._packer.pack(held.at, codec, held.plain())
        if self._slowdown > 1:
            time.sleep((self._slowdown - 1) * (time.thread_time() - began_cpu_s))
        return Encoded(payload, now_ms() - began_ms)

    def _send(self, send: Send) -> Sent:
        began_ms = now_ms()
        try:
            reply = self._ask(send, Stop())
        except RemoteError as error:
            return Sent(now_ms() - began_ms, error=error)
        return self._replied(reply, began_ms)

    def _race(self, race: Race) -> Sent:
        began_ms = now_ms()
        give_up, overtaken = Stop(), Stop()
        asking = self._senders.submit(self._ask, race.send, give_up)
        wait([asking], timeout=max(race.start_at_ms - now_ms(), 0.0) / 1e3)
        if asking.done():
            return self._settle(asking, began_ms)
        asking.add_done_callback(lambda done: overtaken.ask() if done.exception() is None else None)
        started_ms = now_ms()
        try:
            ran = self.run(race.rest.held, race.rest.stop, overtaken)
        except Stopped:
            return self._settle(asking, began_ms, raced_ms=now_ms() - started_ms)
        finally:
            give_up.ask()
        return Sent(now_ms() - began_ms, ran=ran)

    def _settle(self, asking: Future[Reply], began_ms: float, raced_ms: float = 0.0) -> Sent:
        error = asking.exception()
        if error is None:
            return self._replied(asking.result(), began_ms, raced_ms)
        if isinstance(error, RemoteError):
            return Sent(now_ms() - began_ms, error=error, raced_ms=raced_ms)
        raise error

    def _replied(self, reply: Reply, began_ms: float, raced_ms: float = 0.0) -> Sent:
        outputs = self._packer.unpack_outputs(reply.payload)
        return Sent(now_ms() - began_ms, reply=reply, outputs=outputs, raced_ms=raced_ms)

    def _ask(self, send: Send, stopper: Stop) -> Reply:
        if self._remote is None:
            raise Unreachable("this client was made without a cloud: give it cloud='HOST:PORT'")
        try:
            return self._remote.send(send.payload, send.patience_until_ms, stopper)
        except Refused as error:
            self._observe(RequestRefused(error.reason))
            raise
