"""What each RPC does, from its first byte to its status. Knows neither ports nor Ray.

Methods are registered with raw bytes; stock generated stubs notice no difference. Those that carry much or last long are
streams, so that credentials are checked and waiting is bounded before a body is here. `Infer` is not: a stream costs 0.2 ms of
CPU a request. Its body is small and bounded (`Limits.unary_bytes`), and so is the number of calls that may be open.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio

from splitinfer import wire
from splitinfer.cloud.admission import Admission
from splitinfer.cloud.hosted import Answer, Hosted
from splitinfer.cloud.refusal import refuse
from splitinfer.cloud.security import Gate
from splitinfer.cloud.settings import Limits
from splitinfer.cloud.uploads import Uploads, within
from splitinfer.engine import Stop
from splitinfer.errors import CorruptPayload, DigestMismatch, Reason, Refused, reason_of
from splitinfer.events import Event, Observer, RequestRefused, Served
from splitinfer.model import Digest
from splitinfer.payload import Payload

REFRESH_S = 1.0
"""How often a stream of endpoints looks for news."""
Context = grpc.aio.ServicerContext[bytes, bytes]
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Calls:
    """The data calls that are open, and whether new ones are taken."""

    def __init__(self) -> None:
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.leaving = asyncio.Event()
        self.refusing = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one call.

        Raises:
            Refused: DRAINING.
        """
        if self.refusing:
            raise Refused("this server is stopping: ask another one", Reason.DRAINING, 0.0)
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    async def idle(self) -> None:
        """Waits until no call is open."""
        await self._idle.wait()


@dataclass(frozen=True)
class House:
    """What the RPCs of one server share.

    Attributes:
        hosted: bundles by digest.
        gate: who may ask.
        limits: how much.
        pool: threads that run tails, as many as `admission` lets in.
        admission: the queue before them.
        calls: what is open.
        addresses: of all live servers.
        observers: hear `Served` and `RequestRefused`.
    """

    hosted: dict[Digest, Hosted]
    gate: Gate
    limits: Limits
    pool: Executor
    admission: Admission
    calls: Calls
    addresses: Callable[[], tuple[str, ...]]
    observers: Sequence[Observer] = ()

    def tell(self, event: Event) -> None:
        """Tells every observer; what one raises is logged."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001  an observer is foreign code and must not cost anybody an answer
                _log.exception("an observer failed")

    @property
    def tail_scale(self) -> float | None:
        """Tail time over the reference's, the slowest bundle's."""
        return max((h.tail_scale for h in self.hosted.values() if h.tail_scale is not None), default=None)


class Handlers:
    """The RPCs of `splitinfer.v1`, as coroutines."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._uploads = Uploads(house.limits)

    def generic(self) -> tuple[grpc.GenericRpcHandler[bytes, bytes], ...]:
        """What a gRPC server takes: each path with its coroutine."""
        return tuple(
            grpc.method_handlers_generic_handler(path.split("/")[1], {path.split("/")[2]: handler})
            for path, handler in {
                wire.INFER: grpc.unary_unary_rpc_method_handler(self._infer),
                wire.PROBE: grpc.stream_unary_rpc_method_handler(self._guarded(self._probe)),
                wire.INFER_CHUNKED: grpc.stream_stream_rpc_method_handler(self._guarded(self._infer_chunked)),
                wire.ENDPOINTS: grpc.stream_stream_rpc_method_handler(self._guarded(self._endpoints)),
            }.items()
        )

    def _guarded(
        self, method: Callable[[Context], Coroutine[Any, Any, bytes | None]]
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[bytes | None]]:
        async def call(_: AsyncIterator[bytes], context: Context) -> bytes | None:
            return await self._checked(method(context), context)

        return call

    async def _infer(self, body: bytes, context: Context) -> bytes:
        return await self._checked(self._counted(body, context), context)

    async def _counted(self, body: bytes, context: Context) -> bytes:
        with self._house.calls.one():
            return await self._answer(body, context)

    async def _checked(self, work: Coroutine[Any, Any, T], context: Context) -> T:
        try:
            self._house.gate.check(context.invocation_metadata() or ())
            return await work
        except Exception as error:  # noqa: BLE001  the edge: every error becomes a status, see `refusal`
            work.close()
            self._house.tell(RequestRefused(reason_of(error)))
            await refuse(context, error)

    async def _infer_chunked(self, context: Context) -> None:
        limits = self._house.limits

        async def acknowledge(received_bytes: int) -> None:
            await context.write(wire.encode_ack(received_bytes))

        with self._house.calls.one():
            total_bytes = wire.decode_piece(await _read(context, limits.idle_s))
            if not isinstance(total_bytes, int):
                raise CorruptPayload("the first message of an upload must say how many bytes follow")
            async with self._uploads.receive(total_bytes, _pieces(context, limits), acknowledge) as body:
                await context.write(wire.encode_result(await self._answer(body, context)))

    async def _probe(self, context: Context) -> bytes:
        with self._house.calls.one():
            body = await _read(context, self._house.limits.upload_s)
            started = time.perf_counter()
            received_bytes = wire.decode_probe(body)
            return wire.encode_probe_reply(received_bytes, _since_ms(started))

    async def _endpoints(self, context: Context) -> None:
        said = b""
        leaving = self._house.calls.leaving
        while True:
            last = leaving.is_set()
            news = self._news()
            if news != said:
                await context.write(news)
                said = news
            if last:
                return
            await _at_most(REFRESH_S, leaving.wait())

    def _news(self) -> bytes:
        house = self._house
        scale = house.tail_scale
        return wire.encode_endpoints(
            wire.Endpoints(
                house.addresses(),
                tuple(sorted(house.hosted)),
                round(house.admission.queue_ms),
                house.admission.in_flight,
                None if scale is None else round(scale, 2),
            )
        )

    async def _answer(self, body: bytes, context: Context) -> bytes:
        started = time.perf_counter()
        payload = wire.decode_request(body)
        hosted = self._house.hosted.get(payload.digest)
        if hosted is None:
            raise DigestMismatch("no bundle with this digest is served here: serve the bundle that the device holds")
        hosted.check(payload.cut)
        service_ms = hosted.service_ms(payload)
        self._admit(hosted, payload.cut, service_ms, _left_ms(context))
        async with self._house.admission.turn(service_ms):
            queue_ms = _since_ms(started)
            _check_in_time(service_ms, _left_ms(context))
            answer = await self._run(hosted, payload)
        hosted.learn(payload, answer)
        self._house.tell(
            Served(payload.digest, payload.cut, payload.codec, queue_ms, answer.decode_ms, answer.tail_ms, len(body))
        )
        return self._reply(answer, hosted, queue_ms, started)

    def _admit(self, hosted: Hosted, cut: int, service_ms: float, left_ms: float | None) -> None:
        try:
            self._house.admission.check(service_ms, left_ms)
        except Refused as error:
            if error.reason is Reason.DEADLINE_TOO_SHORT:
                hosted.doubt(cut)
            raise

    async def _run(self, hosted: Hosted, payload: Payload) -> Answer:
        stopper = Stop()
        job = self._house.pool.submit(hosted.answer, payload, stopper)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            stopper.ask()
            # The thread is not free before it has stopped, 1-2 ms later. Nobody is there to hear how it ended.
            await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)
            raise

    def _reply(self, answer: Answer, hosted: Hosted, queue_ms: float, started: float) -> bytes:
        admission = self._house.admission
        return wire.encode_reply(
            wire.Answer(
                payload=answer.payload,
                queue_ms=queue_ms,
                decode_ms=answer.decode_ms,
                tail_ms=answer.tail_ms,
                encode_ms=answer.encode_ms,
                server_ms=_since_ms(started),
                load_queue_ms=admission.queue_ms,
                load_in_flight=admission.in_flight,
                tail_scale=hosted.tail_scale,
            )
        )


async def _read(context: Context, seconds: float) -> bytes:
    message = await within(seconds, context.read())
    if not isinstance(message, bytes):
        raise CorruptPayload("the request ended before its message")
    return message


async def _pieces(context: Context, limits: Limits) -> AsyncIterator[bytes]:
    until = time.monotonic() + limits.upload_s
    while True:
        message = await within(min(limits.idle_s, until - time.monotonic()), context.read())
        if not isinstance(message, bytes):
            return  # the end
        piece = wire.decode_piece(message)
        if isinstance(piece, int):
            raise CorruptPayload("an upload says only once how many bytes follow")
        yield piece


async def _at_most(seconds: float, waiting: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return


def _left_ms(context: Context) -> float | None:
    left_s = context.time_remaining()
    return None if left_s is None else left_s * 1e3


def _check_in_time(service_ms: float, left_ms: float | None) -> None:
    if left_ms is not None and service_ms >= left_ms:
        raise Refused("the queue took the time that was left: compute on the device", Reason.OVERLOADED, 0.0)


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
