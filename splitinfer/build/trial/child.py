"""The process that a trial starts: `python -m splitinfer.build.trial.child SECONDS BYTES`, with a socket as standard input.

It answers one request after the other and ends when the other side closes the socket. It computes in one thread and limits
itself: memory for good, CPU time anew for each request, so that it also ends where nobody is left to end it. Nothing else
imports this module.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path

from splitinfer.build.trial import work
from splitinfer.build.trial.frames import NO_MEMORY, Channel, Message
from splitinfer.build.walk import Progress
from splitinfer.errors import SplitInferError

_FIRST_TO_GO = "1000"


def main(arguments: Sequence[str]) -> int:
    """Answers until the other side closes its end.

    Args:
        arguments: CPU seconds of one request, and bytes of address space.

    Returns:
        The exit status.
    """
    seconds, memory_bytes = float(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    channel = Channel(_socket())
    _limit(memory_bytes)
    bench = work.Bench()
    try:
        channel.send(Message({}))  # ready
        while True:
            _answer(channel, bench, seconds)
    except MemoryError:
        return NO_MEMORY
    except (EOFError, OSError):
        return 0  # nobody listens any more


def _answer(channel: Channel, bench: work.Bench, seconds: float) -> None:
    """One request; what it needed is free again afterwards."""
    request = channel.receive()
    _allow(seconds)

    def progress(done: int, total: int) -> None:
        channel.send(Message({"step": [done, total]}))
        _allow(seconds)

    try:
        reply = _reply(bench, request, progress)
    except SplitInferError as error:
        reply = Message({"error": type(error).__name__, "words": str(error)})
    channel.send(reply)


def _reply(bench: work.Bench, request: Message, progress: Progress) -> Message:
    fields, feed = request.fields, request.tensors
    match fields["do"]:
        case "load":
            folder = fields["folder"]
            bench.load(feed["model"].tobytes(), None if folder is None else Path(folder))
            return Message({})
        case "run":
            return Message({}, bench.run(feed))
        case "halves":
            return Message({}, work.halves(bench.engine(Path(fields["bundle"]), fields["cut"]), fields["cut"], feed))
        case "chain":
            return Message({}, work.chain(bench.engine(Path(fields["bundle"])), feed, progress))
        case "peaks":
            return Message({"peaks": work.peaks(bench.engine(Path(fields["bundle"])), feed, progress)})
        case other:
            raise ValueError(f"no request is called {other!r}")


def _socket() -> socket.socket:
    """The socket at standard input, moved away from where the runtime could read or write."""
    end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return end


def _limit(memory_bytes: int) -> None:
    _lower(resource.RLIMIT_AS, memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    with suppress(OSError):  # where the system runs out of memory, this process shall be the one that it ends
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, "ascii")


def _allow(seconds: float) -> None:
    """Sets when the kernel ends this process, counted in CPU time from now."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, ceil(spent.ru_utime + spent.ru_stime + seconds) + 1)


def _lower(what: int, value: int) -> None:
    """Sets a soft limit; what the user has forbidden stays forbidden."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
