"""Doubles for the two things between a device and its answers: a cloud that does as it is told, and a link that does as well.

Real sockets on loopback, real gRPC; no model.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import grpc
from grpc_health.v1 import health_pb2

from splitinfer import wire
from splitinfer.errors import Reason, Refused, SplitInferError
from splitinfer.model import Digest
from splitinfer.payload import Part, Payload

DIGEST = Digest("ab" * 32)
LAST_CUT = 9
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"


def payload(nbytes: int = 1000, digest: Digest = DIGEST) -> Payload:
    """A request of about this size."""
    return Payload(digest, 2, "raw", (Part("x", "uint8", (nbytes,), "raw", (bytes(range(256)) * (nbytes // 256 + 1),)),))


def echo(request: Payload) -> wire.Answer:
    """Answers with the digest of the request and the bytes that came."""
    size = request.nbytes.to_bytes(4, "little")
    outputs = (Part("y", "uint8", (4,), "raw", (size,)),)
    reply = replace(request, cut=LAST_CUT, parts=outputs)
    return wire.Answer(reply, queue_ms=1.0, decode_ms=2.0, tail_ms=3.0, encode_ms=4.0, server_ms=0.5, load_queue_ms=7.0)


class CloudDouble:
    """A server.

    Attributes:
        answer: what it says to a request; what it raises becomes a status.
        open: cleared, it holds requests back until it is set again or the call ends.
        draining: it says that it is stopping, to everything.
        requests: how many came.
        others: further addresses that it announces.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        credentials: grpc.ServerCredentials | None = None,
        token: str | None = None,
        control: bool = True,
        announce: bool = True,
    ) -> None:
        self.answer: Callable[[Payload], wire.Answer] = echo
        self.open = threading.Event()
        self.open.set()
        self.cancelled = threading.Event()
        self.draining = False
        self.requests = 0
        self.chunked = 0
        self.others: tuple[str, ...] = ()
        self._token = token
        self._announce = announce
        self._changed = threading.Condition()
        self._stopping = False
        self._pool = ThreadPoolExecutor(48)
        self._server = grpc.server(self._pool, options=(("grpc.so_reuseport", 0),))
        handlers = {
            wire.INFER: grpc.unary_unary_rpc_method_handler(self._infer),
            wire.INFER_CHUNKED: grpc.stream_stream_rpc_method_handler(self._infer_chunked),
            wire.PROBE: grpc.unary_unary_rpc_method_handler(self._probe),
        }
        if control:
            handlers[wire.ENDPOINTS] = grpc.unary_stream_rpc_method_handler(self._endpoints)
        # Not the servicer of grpcio-health-checking: it waits under its lock for a message to go out, and where the call ends
        # meanwhile, the thread that would say so waits for that lock.
        handlers[HEALTH_WATCH] = grpc.unary_stream_rpc_method_handler(self._watch)
        self._server.add_generic_rpc_handlers((_Paths(handlers),))
        where = f"127.0.0.1:{port}"
        bind = self._server.add_insecure_port
        self.port = bind(where) if credentials is None else self._server.add_secure_port(where, credentials)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def announce(self, *others: str) -> None:
        """Announces further servers."""
        with self._changed:
            self.others = others
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends at once, calls included."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.open.set()
        self._server.stop(None).wait()
        self._pool.shutdown()

    def __enter__(self) -> CloudDouble:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _admit(self, context: grpc.ServicerContext) -> None:
        if self.draining:
            self._refuse(context, Refused("this server is stopping", Reason.DRAINING))
        if self._token is not None and ("authorization", f"Bearer {self._token}") not in tuple(context.invocation_metadata()):
            self._refuse(context, Refused("no token, or another one", Reason.UNAUTHENTICATED))

    def _refuse(self, context: grpc.ServicerContext, error: SplitInferError) -> None:
        code, message, details = wire.encode_status(error)
        context.set_trailing_metadata(((wire.STATUS_DETAILS_KEY, details),))
        context.abort(next(c for c in grpc.StatusCode if c.value[0] == code), message)

    def _answer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self._admit(context)
        self.requests += 1
        ended = threading.Event()
        context.add_callback(ended.set)
        while not self.open.wait(0.005):
            if ended.is_set():
                self.cancelled.set()
                return b""
        try:
            return wire.encode_reply(self.answer(wire.decode_request(data)))
        except SplitInferError as error:
            self._refuse(context, error)
            raise

    def _infer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        return self._answer(data, context)

    def _infer_chunked(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._admit(context)
        self.chunked += 1
        total, held = wire.decode_piece(next(messages)), bytearray()
        while len(held) < total:
            held += wire.decode_piece(next(messages))
            yield wire.encode_ack(len(held))
        yield wire.encode_result(self._answer(bytes(held), context))

    def _probe(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self._admit(context)
        return wire.encode_probe_reply(wire.decode_probe(data), 0.1)

    def _endpoints(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._admit(context)
        ended = threading.Event()
        context.add_callback(lambda: (ended.set(), self._wake()))
        said = None
        while not ended.is_set() and not self._stopping:
            news = (self.address, *self.others) if self._announce else ("10.9.8.7:1",)
            if news != said:
                said = news
                yield wire.encode_endpoints(wire.Endpoints(news, (DIGEST,), load_queue_ms=3.0))
                continue
            with self._changed:
                self._changed.wait(0.2)

    def _watch(self, _data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        ended = threading.Event()
        context.add_callback(lambda: (ended.set(), self._wake()))
        yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
        while not ended.is_set() and not self._stopping:
            with self._changed:
                self._changed.wait(0.2)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Paths(grpc.GenericRpcHandler):
    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(details.method)


class Wire:
    """A TCP link to a server.

    Attributes:
        swallow: set, every byte disappears, for connections that live in such a time for ever after.
        up_bytes: sent by the device so far.
    """

    def __init__(self, port: int, uplink_bps: float | None = None) -> None:
        self.port_of_server = port
        self.swallow = threading.Event()
        self.up_bytes = 0
        self._rate = uplink_bps
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.mend()
        self.address = f"127.0.0.1:{self.port}"

    def mend(self) -> None:
        """Takes connections (again)."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Otherwise the kernel takes in what a slow link would not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._spawn(self._accept, listener)

    def cut(self) -> None:
        """Resets every connection and refuses new ones, as the death of a server does."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for one in tuple(self._sockets):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="wire", daemon=True)
        thread.start()  # first: `cut`, in another thread, joins what is in the list
        self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.port_of_server))
                except OSError:
                    near.close()
                    continue
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.add(one)
                dead = threading.Event()
                self._spawn(self._pump, near, far, self._rate, dead)
                self._spawn(self._pump, far, near, None, dead)

    def _pump(self, source: socket.socket, sink: socket.socket, rate_bps: float | None, dead: threading.Event) -> None:
        free_at = time.monotonic()
        with suppress(OSError):
            while data := source.recv(2048 if rate_bps else 65536):
                if self.swallow.is_set():
                    dead.set()
                if dead.is_set():
                    continue
                if rate_bps:
                    free_at = max(free_at, time.monotonic()) + 8 * len(data) / rate_bps
                    time.sleep(max(free_at - time.monotonic(), 0.0))
                    self.up_bytes += len(data)
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            self._sockets.discard(one)
        source.close()
