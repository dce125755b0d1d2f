"""The window of an upload in pieces."""

from __future__ import annotations

import threading

import pytest

from splitinfer import wire
from splitinfer.backends.grpc_remote.upload import Upload, window_bytes
from splitinfer.plan import Uplink


@pytest.mark.parametrize(
    ("link", "nbytes"),
    [
        (None, 32 * 1024),
        (Uplink(rate_bps=1e6, spread=0.1, rtt_ms=50.0), 32 * 1024),
        (Uplink(rate_bps=80e6, spread=0.1, rtt_ms=30.0), 800_000),
    ],
)
def test_the_window_covers_rate_times_delay(link, nbytes):
    assert window_bytes(link) == nbytes


def test_pieces_wait_for_the_acknowledgements():
    data = bytes(range(256)) * 400
    upload = Upload(data, window=2 * wire.PIECE_BYTES)
    out: list[int | bytes] = []
    progress = threading.Semaphore(0)

    def consume() -> None:
        for message in upload:
            out.append(wire.decode_piece(message))
            progress.release()

    thread = threading.Thread(target=consume)
    thread.start()
    for _ in range(3):
        assert progress.acquire(timeout=5)
    assert not progress.acquire(timeout=0.1)
    upload.acknowledge(wire.PIECE_BYTES - 1)
    assert not progress.acquire(timeout=0.1)
    upload.acknowledge(wire.PIECE_BYTES)
    assert progress.acquire(timeout=5)
    assert not progress.acquire(timeout=0.1)
    upload.acknowledge(10 * len(data))
    thread.join(5)
    assert out[0] == len(data)
    assert b"".join(piece for piece in out[1:] if isinstance(piece, bytes)) == data
    assert upload.acked_bytes == len(data)


def test_the_end_lets_nothing_more_out():
    upload = Upload(bytes(100_000), window=wire.PIECE_BYTES)
    assert wire.decode_piece(next(upload)) == 100_000
    next(upload)
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(next(upload, None) is None))
    thread.start()
    upload.end()
    thread.join(5)
    assert ended == [True]
