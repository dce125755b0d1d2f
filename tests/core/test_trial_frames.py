"""Messages between a trial and its child: everything that may be sent arrives, and nothing else is let in."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from splitinfer.build.trial.frames import BadFrame, Channel, Message
from splitinfer.errors import InvalidInput

SCALARS = st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="<"), hnp.floating_dtypes(endianness="<"))
ARRAYS = hnp.arrays(SCALARS, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def frame(header: Any, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


@settings(derandomize=True, deadline=None)
@given(tensors=st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3), words=st.text())
def test_a_message_arrives_as_it_was_sent(tensors: dict[str, np.ndarray], words: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Channel(ours).send(Message({"words": words, "at": [1, None]}, tensors))
        got = Channel(theirs).receive()
    assert got.fields == {"words": words, "at": [1, None]}
    assert got.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        assert (got.tensors[name].dtype, got.tensors[name].shape) == (array.dtype, array.shape)
        assert got.tensors[name].tobytes() == array.tobytes()


def test_more_than_the_socket_holds_arrives(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    array = np.arange(3_000_000, dtype=np.int64)
    sender = threading.Thread(target=Channel(ours).send, args=(Message({}, {"a": array[::-1]}),))
    sender.start()
    got = Channel(theirs).receive(monotonic() + 30)
    sender.join()
    assert np.array_equal(got.tensors["a"], array[::-1])


@pytest.mark.parametrize("array", [np.array([None]), np.array(["text"]), np.array([b"text"]), np.zeros(2, "f4,i4")])
def test_what_is_no_plain_number_is_not_sent(ends: tuple[socket.socket, socket.socket], array: np.ndarray) -> None:
    ours, theirs = ends
    with pytest.raises(InvalidInput, match="input 'a'"):
        Channel(ours).send(Message({}, {"a": array}))
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"\xff"),
        frame([1]),
        frame({"fields": {}}),
        frame({"fields": 3, "arrays": []}),
        frame({"fields": {}, "arrays": [["a", "<f4"]]}),
        frame({"fields": {}, "arrays": [["a", "|O", [1]]]}, b"\x01" * 8),
        frame({"fields": {}, "arrays": [["a", "<U4", [1]]]}),
        frame({"fields": {}, "arrays": [["a", "f4,O", [1]]]}),
        frame({"fields": {}, "arrays": [["a", "nonsense", [1]]]}),
        frame({"fields": {}, "arrays": [["a", "<f4", [-1, -4]]]}),
        frame({"fields": {}, "arrays": [["a", "<f4", [0, 1 << 70]]]}),
        frame({"fields": {}, "arrays": [["a", "<f4", [float("inf")]]]}),
        frame({"fields": {}, "arrays": [["a", "<f4", [1] * 100]]}),
        frame({"fields": {}, "arrays": [["a", "<f4", [200]], ["b", "<f4", [100]]]}),
        frame(b"[" * 100_000),
        b"\xff" * 8,
    ],
)
def test_what_is_no_message_is_refused(ends: tuple[socket.socket, socket.socket], data: bytes) -> None:
    ours, theirs = ends
    ours.sendall(data)
    with pytest.raises(BadFrame):
        Channel(theirs, bytes_max=1000).receive(monotonic() + 30)


def test_an_end_that_is_closed_within_a_message_is_noticed(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.sendall(frame({"fields": {}, "arrays": [["a", "<f4", [2]]]}, b"\x00" * 4))
    ours.close()
    with pytest.raises(EOFError):
        Channel(theirs).receive(monotonic() + 30)


def test_waiting_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with pytest.raises(TimeoutError):
        Channel(theirs).receive(monotonic() + 0.01)
    with pytest.raises(TimeoutError):
        Channel(ours).send(Message({}, {"a": np.zeros(1 << 22)}), monotonic() + 0.01)
    with pytest.raises(TimeoutError):
        Channel(theirs).receive(monotonic() - 1)
