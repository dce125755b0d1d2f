"""Whether there is a link, and a fresh line when there was none.

One thread per cloud. It holds a line on which a server has answered, listens there to the list of live servers, and looks
again when that ends or somebody doubts it. A connection through which nothing comes is not waited for: its retransmissions back
off for as long as the outage lasted. New ones are tried instead, and the first that is answered takes over.

          answered                      stream broke, or doubt()
    ? ------------> up: listening  <------------------------------> asked again, on the same line
    |                 |   ^                                               |
    | silence         |   | answered on a fresh line                      | silence
    +---------------> down: send() fails at once <------- lost() --------+

Where bytes are dear, lines are quiet, the list of servers is heard once for each, and a lost link is looked for once for each
request that comes (`look`), not several times a second: an idle device sends nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, RLock, Thread

import grpc

from splitinfer import wire
from splitinfer.backends.grpc_remote.address import known_as
from splitinfer.backends.grpc_remote.failure import Failure
from splitinfer.backends.grpc_remote.line import Call, Line
from splitinfer.engine import Stop
from splitinfer.errors import CorruptPayload, DeadlineExceeded, SecurityError, Stopped, Unreachable
from splitinfer.events import Event, LinkChanged, LoadReported, Observer
from splitinfer.plan import Uplink

_log = logging.getLogger(__name__)

PATIENCE_S = 0.3
"""A line that is in doubt has this long to answer, or three round trips."""
ATTEMPT_S = 1.0
"""A fresh line has this long for its handshakes and an answer, or six round trips."""
PAUSE_S = 0.25
"""Between two attempts, and between two listenings."""
QUIET_S = 30.0
"""After a server declined to list the others."""
SILENT = "the cloud does not answer: check the network; the device goes on looking for it"


class Keeper:
    """The link to one cloud.

    Args:
        addresses: as the application gave them; they stay known for ever.
        open_line: opens a channel; the second argument says whether it is a quiet one.
        allowed: whether an address that a server announced may be used.
        observe: hears `LinkChanged` and `LoadReported`, one at a time.
        rate: what is believed of the link.
    """

    def __init__(
        self,
        addresses: tuple[str, ...],
        open_line: Callable[[tuple[str, ...], bool], Line],
        allowed: Callable[[str], bool],
        observe: Observer,
        rate: Callable[[], Uplink | None],
    ) -> None:
        self._given = self._addresses = addresses
        self._announced: tuple[str, ...] = ()
        self._open_line = open_line
        self._allowed = allowed
        self._observe = observe
        self._rate = rate
        self._dear = False
        self._saying = RLock()
        self._changed = Condition()
        self._up: bool | None = None
        self._told: bool | None = None
        self._wanted = True
        self._closed = False
        self._doubted = False
        self._trouble: Unreachable | SecurityError = Unreachable("not connected yet")
        self._line: Line | None = None
        self._attempt: Line | None = None
        self._listening: Call | None = None
        self._thread = Thread(target=self._keep, name="splitinfer-link", daemon=True)
        self._thread.start()

    @contextmanager
    def lent(self, timeout_s: float | None, stopper: Stop | None = None) -> Iterator[Line]:
        """The line, for one call. Waits only while nothing is known yet.

        Raises:
            Stopped: the stopper was asked.
            Unreachable: there is no link.
            DeadlineExceeded: it was not known in time.
            SecurityError: the last attempt failed at that.
        """
        stopper = stopper or Stop()
        stopper.when_asked(self._wake)
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._up is not None or self._closed or stopper.asked, timeout_s)
            if stopper.asked:
                raise Stopped("the request was not needed any more")
            if self._closed:
                raise Unreachable("this connection was closed")
            if self._up is None:
                raise DeadlineExceeded("no connection in time")
            if not self._up or self._line is None:
                # A new exception each time: a traceback belongs to one raise.
                raise type(self._trouble)(*self._trouble.args)
            line = self._line
            line.take()
        try:
            yield line
        finally:
            line.give_back()

    def say(self, event: Event) -> None:
        """Tells the observer; what it raises is logged."""
        with self._saying:
            try:
                self._observe(event)
            except Exception:  # noqa: BLE001  an observer is foreign code and must not cost anybody the link
                _log.exception("an observer failed")

    def lost(self, line: Line) -> None:
        """Nothing comes through `line`: the link is down until something does."""
        with self._changed:
            if line is not self._line:
                return
        self._set(False, "timeout", Unreachable(SILENT))
        self._look_again()

    def doubt(self, line: Line) -> None:
        """Something went wrong with `line`: look whether the link is still there."""
        with self._changed:
            if line is not self._line:
                return
        self._look_again()

    def leave(self, line: Line) -> None:
        """The server at the other end is stopping: a quiet line is led to another one, which requests wait for."""
        with self._changed:
            if line is not self._line or not line.quiet:
                return
            self._up = None
        self._look_again()

    def look(self, dear: bool) -> None:
        """A request came, or the network became another one, on which bytes are dear or not."""
        with self._changed:
            self._wanted, self._dear = True, dear
            unsuited = self._line is not None and self._line.quiet != dear
            self._changed.notify_all()
        if unsuited:
            self._look_again()

    def close(self) -> None:
        """Ends everything, calls included."""
        with self._changed:
            self._closed = True
            lines = (self._line, self._attempt)
            self._changed.notify_all()
        self._look_again()
        for line in lines:
            if line is not None:
                line.close()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closed:
            with self._changed:
                line, self._doubted = self._line, False
            if line is None or not self._up or self._is_silent(line):
                line = self._fresh()
            elif not self._is_current(line):
                line = self._moved(line)
            if line is not None:
                self._listen(line)

    def _is_current(self, line: Line) -> bool:
        """Whether it leads to the servers that are known now, in the way that suits the link."""
        return line.addresses == self._addresses and line.quiet == self._dear

    def _is_silent(self, line: Line) -> bool:
        trouble = line.trouble(self._time_s(PATIENCE_S, 3))
        if trouble is not None:
            self._down(Failure.of(trouble))
        return trouble is not None

    def _fresh(self) -> Line | None:
        """Tries new lines until one is answered; None once closed."""
        while not self._closed:
            self._await_demand()
            line = self._try()
            if line is not None:
                return line
            with self._changed:
                self._changed.wait_for(lambda: self._closed, PAUSE_S)
        return None

    def _await_demand(self) -> None:
        """Waits until an attempt is worth its bytes: for a request, where they are dear."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._closed or not self._dear)
            self._wanted = False

    def _moved(self, line: Line) -> Line:
        """A line to the servers that are known now, lively or quiet as the link is; the old one where that fails."""
        return self._try(quietly=True) or line

    def _try(self, quietly: bool = False) -> Line | None:
        line = self._open_line(self._addresses, self._dear)
        with self._changed:
            self._attempt = line
            if self._closed:
                line.close()
        trouble = line.trouble(self._time_s(ATTEMPT_S, 6))
        if trouble is not None:
            line.close()
            if not quietly:
                self._down(Failure.of(trouble))
            return None
        line.meet()
        with self._changed:
            old, self._line, self._attempt = self._line, line, None
        if old is not None:
            old.retire()
        self._set(True, "connected")
        return line

    def _down(self, failure: Failure) -> None:
        if failure.late:
            self._set(False, "timeout", Unreachable(SILENT))
        elif isinstance(failure.error, SecurityError):
            self._set(False, "not accepted", failure.error)
        else:
            self._set(False, "unreachable", Unreachable(str(failure.error)))

    def _set(self, up: bool, cause: str, trouble: Unreachable | SecurityError | None = None) -> None:
        with self._saying:
            with self._changed:
                if self._closed:
                    return
                self._up = up
                same, self._told = self._told is up, up
                self._trouble = trouble or self._trouble
                self._changed.notify_all()
            if not same:
                self.say(LinkChanged(up, cause))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _look_again(self) -> None:
        with self._changed:
            self._doubted = True
            listening = self._listening
            self._changed.notify_all()
        if listening is not None:
            listening.cancel()

    def _listen(self, line: Line) -> None:
        """Listens until it is time to look again."""
        began, declined = time.monotonic(), False
        try:
            self._hear(line)
        except grpc.RpcError as error:
            declined = Failure.of(error).answered
        except CorruptPayload:
            declined = True
        pause_s: float | None = QUIET_S if declined else PAUSE_S - (time.monotonic() - began)
        if line.quiet and self._is_current(line):
            pause_s = None
        with self._changed:
            self._changed.wait_for(lambda: self._doubted or self._closed, pause_s)

    def _hear(self, line: Line) -> None:
        """Hears the list of servers until it ends, changes, or the line is doubted."""
        call = line.endpoints()
        with self._changed:
            self._listening = call
            if self._doubted or self._closed:
                call.cancel()
        try:
            for message in call:
                if not self._heard(line, message):
                    return
        finally:
            call.cancel()
            with self._changed:
                self._listening = None

    def _heard(self, line: Line, message: bytes) -> bool:
        """Takes one list of servers in; False where the next one is not waited for on this line."""
        endpoints = wire.decode_endpoints(message)
        self.say(LoadReported(endpoints.load_queue_ms, endpoints.tail_scale))
        if endpoints.addresses != self._announced:
            self._announced = endpoints.addresses
            self._learn(endpoints.addresses)
        return self._is_current(line) and not line.quiet

    def _learn(self, announced: tuple[str, ...]) -> None:
        """Takes further servers in, where one that is known is among them.

        Servers behind a proxy announce addresses that lead past it, or nowhere: then what was given is all there is.
        """
        if known_as(self._addresses) & set(announced):
            learned = (address for address in announced if self._allowed(address))
            self._addresses = tuple(dict.fromkeys((*self._given, *learned)))

    def _time_s(self, least_s: float, round_trips: float) -> float:
        uplink = self._rate()
        return least_s if uplink is None else max(least_s, round_trips * uplink.rtt_ms / 1e3)
