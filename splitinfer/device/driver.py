"""Carries out the effects of a flow on a real device: engine, codecs, the cloud, and the clock.

One device has one engine: runs of several requests take turns, while what they sent is on its way. Knows no scheduler; the
terms of a request come with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Condition

from splitinfer.engine import Engine, Held, Stop
from splitinfer.errors import (
    CodecError,
    InvalidInput,
    ModelError,
    Reason,
    Refused,
    RemoteError,
    SecurityError,
    Stopped,
    Unreachable,
)
from splitinfer.events import Observer, RequestRefused
from splitinfer.flow import Answer, Done, Effect, Encode, Encoded, Flow, Race, Ran, Run, Send, Sent
from splitinfer.model import Tensors
from splitinfer.payload import Packer, Payload
from splitinfer.plan import Plan
from splitinfer.remote import Remote, Reply

log = logging.getLogger("splitinfer")

IN_FLIGHT = 8
"""Races that may wait for the cloud at once, losers included, and the probes."""
PROBE_PATIENCE_MS = 2000.0


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
        self._turn = _Turn()
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

    def probe(self, sizes: Sequence[int]) -> None:
        """Measures the link with messages of so many bytes, one after the other. Does not wait for them."""
        if self._remote is not None:
            self._senders.submit(self._probe, self._remote, sizes)

    def close(self) -> None:
        """Waits for nothing: what is in flight ends with the connection. Later races do not ask the cloud."""
        self._senders.shutdown(wait=False)

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
        with self._turn.taken(stopper or Stop()):
            for index in range(held.at, stop):
                segment_began_ms = now_ms()
                held = self.engine.run(index, index + 1, held, stopper)
                times.append(now_ms() - segment_began_ms)
        return Ran(held, now_ms() - began_ms, tuple(times))

    def _encode(self, held: Held, codec: str, encoded: Callable[[Plan], Payload | None]) -> Encoded:
        began_ms, began_cpu_s = now_ms(), time.thread_time()
        brought = encoded(Plan(held.at, codec)) if held.at == 0 else None
        try:
            payload = brought or self._packer.pack(held.at, codec, held.plain())
        except (InvalidInput, CodecError) as error:
            return Encoded(None, now_ms() - began_ms, error)
        if self._slowdown > 1:
            time.sleep((self._slowdown - 1) * (time.thread_time() - began_cpu_s))
        return Encoded(payload, now_ms() - began_ms)

    def _send(self, send: Send) -> Sent:
        began_ms = now_ms()
        try:
            reply, outputs = self._ask(send, Stop())
        except (RemoteError, SecurityError) as error:
            return Sent(now_ms() - began_ms, error=error)
        return Sent(now_ms() - began_ms, reply=reply, outputs=outputs)

    def _race(self, race: Race) -> Sent:
        began_ms = now_ms()
        give_up, overtaken = Stop(), Stop()
        try:
            asking = self._senders.submit(self._ask, race.send, give_up)
        except RuntimeError:  # how a pool says that it was shut down
            return Sent(0.0, error=Unreachable("this client was closed"))
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

    def _settle(self, asking: Future[tuple[Reply, Tensors]], began_ms: float, raced_ms: float = 0.0) -> Sent:
        try:
            reply, outputs = asking.result()
        except (RemoteError, SecurityError) as error:
            return Sent(now_ms() - began_ms, error=error, raced_ms=raced_ms)
        return Sent(now_ms() - began_ms, reply=reply, outputs=outputs, raced_ms=raced_ms)

    def _ask(self, send: Send, stopper: Stop) -> tuple[Reply, Tensors]:
        """The reply, and what it carries."""
        if self._remote is None:
            raise Unreachable("this client was made without a cloud: give it cloud='HOST:PORT'")
        try:
            reply = self._remote.send(send.payload, send.patience_until_ms, stopper)
            return reply, self._read(reply)
        except Refused as error:
            self._observe(RequestRefused(error.reason))
            raise
        except SecurityError as error:
            log.warning("the cloud is not used: %s", error)
            self._observe(RequestRefused(Reason.UNAUTHENTICATED))
            raise

    def _read(self, reply: Reply) -> Tensors:
        try:
            return self._packer.unpack_outputs(reply.payload)
        except (CodecError, ModelError) as error:
            raise Refused(f"the cloud's answer cannot be used: {error}", Reason.INTERNAL) from error

    def _probe(self, remote: Remote, sizes: Sequence[int]) -> None:
        for nbytes in sizes:
            remote.probe(nbytes, now_ms() + PROBE_PATIENCE_MS)


class _Turn:
    """Who may use the engine. Unlike a lock it is not waited for by what was stopped: the answer is there already."""

    def __init__(self) -> None:
        self._taken = False
        self._changed = Condition()

    @contextmanager
    def taken(self, stopper: Stop) -> Iterator[None]:
        """Waits for it and holds it.

        Raises:
            Stopped: the stopper was asked first.
        """
        stopper.when_asked(self._wake)
        with self._changed:
            self._changed.wait_for(lambda: stopper.asked or not self._taken)
            if stopper.asked:
                raise Stopped("a run was stopped before it began")
            self._taken = True
        try:
            yield
        finally:
            self._taken = False
            self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
