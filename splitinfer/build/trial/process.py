"""One child process of a trial, seen from the side that started it: start, ask, end, and the words for what it died of."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from time import monotonic

from splitinfer.build.trial.frames import NO_MEMORY, BadFrame, Channel, Message
from splitinfer.build.walk import Progress
from splitinfer.errors import EngineError, UnsupportedModel

_CHILD = "splitinfer.build.trial.child"
_START_S = 60.0
_DYING_S = 10.0
_SILENCE = (EOFError, OSError, BadFrame)
_NO_START = (
    "onnxruntime cannot be started in a process of its own: see that there is memory for it, and that "
    "`python -c 'import splitinfer.build'` works"
)
_LESS_MEMORY = "give smaller inputs, or build where there is more memory"
_LESS_TIME = "give smaller inputs, or such that every loop of the model ends soon for them"
_OTHERS = "give other inputs (an empty tensor inside is one cause), or try another release of onnxruntime"


class Child:
    """A child that runs, ready for its first request.

    After anything but an answer it is of no use any more: `end` it.

    Args:
        seconds: of one request, or of one step of it.
        memory_bytes: address space.

    Raises:
        EngineError: it cannot be started.
    """

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, memory_bytes)
        try:
            with theirs:
                self._process = _start(theirs, seconds, memory_bytes)
        except OSError as error:
            self._channel.close()
            raise EngineError(_NO_START) from error
        try:
            self._channel.receive(monotonic() + _START_S)
        except BaseException as error:
            self.end()
            if isinstance(error, _SILENCE):
                raise EngineError(_NO_START) from error
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        pid: int = self._process.pid
        return pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def ask(self, doing: str, request: Message, progress: Progress | None = None) -> Message:
        """Sends a request and waits for the answer.

        Args:
            doing: what it does for it, in the past tense, for the message of an error.
            request: the request.
            progress: hears of each segment that is done, where the request goes through several.

        Raises:
            UnsupportedModel: it died or took too long.
            InvalidInput: a tensor of the request cannot be sent.
        """
        until_s = monotonic() + self._seconds
        try:
            self._channel.send(request, until_s)
        except OSError as error:
            raise self._fate(doing, error) from error
        while "step" in (reply := self._receive(doing, until_s)).fields:
            done, total = reply.fields["step"]
            if progress is not None:
                progress(done, total)
            doing, until_s = f"ran segment {done}", monotonic() + self._seconds
        return reply

    def end(self) -> None:
        """Ends it and waits until it is gone."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _receive(self, doing: str, until_s: float) -> Message:
        try:
            return self._channel.receive(until_s)
        except _SILENCE as error:
            raise self._fate(doing, error) from error

    def _fate(self, doing: str, error: Exception) -> UnsupportedModel:
        """What became of it."""
        if isinstance(error, TimeoutError):
            return UnsupportedModel(f"onnxruntime took longer than {self._seconds:g} s while it {doing}: {_LESS_TIME}")
        try:
            end, remedy = _death(self._process.wait(_DYING_S), self._memory_bytes)
        except subprocess.TimeoutExpired:  # it closed its end, or sent nonsense, and lives
            end, remedy = "stopped answering", _OTHERS
        return UnsupportedModel(f"onnxruntime {end} while it {doing}: {remedy}")


def _start(end: socket.socket, seconds: float, memory_bytes: int) -> subprocess.Popen[bytes]:
    # -P: no module out of the folder we are in, which may have come with the model
    line = [sys.executable, "-P", "-m", _CHILD, str(seconds), str(memory_bytes)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, stdin=end.fileno(), stdout=quiet, stderr=quiet, env=_environment())  # noqa: S603  ours


def _environment() -> dict[str, str]:
    """Ours, with modules found where we find them, and one thread for numpy, which would start one for each core."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _death(status: int, memory_bytes: int) -> tuple[str, str]:
    """What the status of a process says of its end, and what would help."""
    if status == NO_MEMORY:
        return f"needed more memory than the {memory_bytes / 1e9:.3g} GB that it may have", _LESS_MEMORY
    if status == -signal.SIGKILL:
        return "was ended by the system (SIGKILL), most likely because memory ran out,", _LESS_MEMORY
    if status == -signal.SIGXCPU:
        return "took longer than it may (SIGXCPU)", _LESS_TIME
    return (f"crashed ({_signal(-status)})" if status < 0 else f"gave up (exit status {status})"), _OTHERS


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
