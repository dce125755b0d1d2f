"""Messages between a trial and its child.

    8 bytes    length of the header, little-endian
    header     JSON: {"fields": {...}, "arrays": [[name, dtype, shape], ...]}
    arrays     their plain bytes in C order, one after the other

Bytes go from an array to the socket and from the socket into an array, with no copy between. What the other side says is not
believed: a model may have taken it over. Knows no model and no process.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod
from time import monotonic
from typing import Any

import numpy as np

from splitinfer.errors import InvalidInput
from splitinfer.model import Array, Tensors

NO_MEMORY = 75
"""Exit status of a child that got no more memory."""

_LENGTH_BYTES = 8
_HEADER_BYTES_MAX = 64 << 20
_KINDS = "biuf"  # bool, integers, floats: what a plain buffer can carry


class BadFrame(Exception):
    """The other side sent what is no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        fields: anything that JSON can say.
        tensors: arrays by name.
    """

    fields: Mapping[str, Any]
    tensors: Tensors = field(default_factory=dict)


class Channel:
    """Messages over a connected stream socket, which it owns. For one thread.

    Args:
        end: this side's end.
        bytes_max: of the arrays of a message that arrives.
    """

    def __init__(self, end: socket.socket, bytes_max: float = inf) -> None:
        self._end = end
        self._bytes_max = bytes_max

    def send(self, message: Message, until_s: float = inf) -> None:
        """Sends a message. Copies only arrays that are not C-contiguous.

        Args:
            message: the message.
            until_s: when to give up, by the monotonic clock.

        Raises:
            InvalidInput: an array holds strings or objects.
            TimeoutError: the other side did not take it in time.
            OSError: the other side is gone.
        """
        arrays = {name: _plain(name, array) for name, array in message.tensors.items()}
        listed = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
        header = json.dumps({"fields": message.fields, "arrays": listed}).encode()
        self._put(len(header).to_bytes(_LENGTH_BYTES, "little") + header, until_s)
        for array in arrays.values():
            self._put(_buffer(array), until_s)

    def receive(self, until_s: float = inf) -> Message:
        """Waits for the next message.

        Args:
            until_s: when to give up, by the monotonic clock.

        Raises:
            BadFrame: what came is none.
            TimeoutError: none came in time.
            EOFError: the other side closed its end.
            OSError: the other side is gone.
        """
        length = bytearray(_LENGTH_BYTES)
        self._fill(memoryview(length), until_s)
        header = bytearray(_checked(int.from_bytes(length, "little"), _HEADER_BYTES_MAX))
        self._fill(memoryview(header), until_s)
        fields, arrays = _opened(header, self._bytes_max)
        for array in arrays.values():
            self._fill(_buffer(array), until_s)
        return Message(fields, arrays)

    def close(self) -> None:
        """Closes this end."""
        self._end.close()

    def _put(self, data: bytes | memoryview, until_s: float) -> None:
        self._wait(until_s)
        self._end.sendall(data)

    def _fill(self, space: memoryview, until_s: float) -> None:
        while space.nbytes:
            self._wait(until_s)
            got = self._end.recv_into(space)
            if not got:
                raise EOFError("the other side closed its end")
            space = space[got:]

    def _wait(self, until_s: float) -> None:
        left = until_s - monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        self._end.settimeout(None if until_s == inf else left)


def _plain(name: str, array: Array) -> Array:
    if array.dtype.kind not in _KINDS:
        raise InvalidInput(f"input {name!r}: arrays of {array.dtype.name} cannot be fed, only numbers and booleans")
    return np.asarray(array, order="C")


def _buffer(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _opened(header: bytes | bytearray, bytes_max: float) -> tuple[Mapping[str, Any], dict[str, Array]]:
    """Fields, and arrays that are still to be filled."""
    try:
        found = json.loads(header)
        listed = [(str(name), np.dtype(str(kind)), tuple(map(int, shape))) for name, kind, shape in found["arrays"]]
        if any(kind.kind not in _KINDS or min(shape, default=0) < 0 for _, kind, shape in listed):
            raise BadFrame("an array is none of plain numbers")
        _checked(sum(prod(shape) * kind.itemsize for _, kind, shape in listed), bytes_max)
        return dict(found["fields"]), {name: np.empty(shape, kind) for name, kind, shape in listed}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise BadFrame("the header is none of ours") from error


def _checked(nbytes: int, most: float) -> int:
    if nbytes > most:
        raise BadFrame(f"{nbytes} bytes are more than {most}")
    return nbytes
