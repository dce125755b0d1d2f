"""Chunked uploads: pieces in, acknowledgements out, never more in memory than one budget allows.

A first message says how many bytes follow. What counts against the budget is what has really arrived, so that a promise costs
the others nothing; the promise bounds what one upload may send. Knows no payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from splitinfer.cloud.settings import Limits
from splitinfer.errors import CorruptPayload, PayloadTooLarge, Reason, Refused

RETRY_MS = 1000.0
Acknowledge = Callable[[int], Awaitable[None]]
T = TypeVar("T")


class Uploads:
    """The uploads in progress on one server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held_bytes = 0

    @asynccontextmanager
    async def receive(self, total_bytes: int, pieces: AsyncIterator[bytes], acknowledge: Acknowledge) -> AsyncIterator[bytes]:
        """Collects one upload. Its bytes count until the block is left.

        Args:
            total_bytes: what the sender promised.
            pieces: what it sends.
            acknowledge: told, after each piece, how many bytes have arrived.

        Raises:
            PayloadTooLarge: the promise is larger than one upload may be.
            CorruptPayload: it sent more, less, or an empty piece.
            Refused: the budget of all uploads is used up, or the sender was too slow.
        """
        if total_bytes > self._limits.upload_bytes:
            raise PayloadTooLarge(f"an upload of {total_bytes} bytes; the limit is {self._limits.upload_bytes}")
        held = bytearray()
        try:
            async for piece in pieces:
                self._take(held, piece, total_bytes)
                await acknowledge(len(held))
                if len(held) == total_bytes:
                    break
            if len(held) < total_bytes or not held:
                raise CorruptPayload(f"the upload ended after {len(held)} of {total_bytes} bytes")
            yield bytes(held)
        finally:
            self.held_bytes -= len(held)

    def _take(self, held: bytearray, piece: bytes, total_bytes: int) -> None:
        if not piece:
            raise CorruptPayload("an empty piece in an upload")
        if len(held) + len(piece) > total_bytes:
            raise CorruptPayload(f"more than the {total_bytes} bytes that were announced")
        if self.held_bytes + len(piece) > self._limits.uploads_bytes:
            raise Refused("too many uploads at once: compute on the device or try again later", Reason.OVERLOADED, RETRY_MS)
        held += piece
        self.held_bytes += len(piece)


async def within(seconds: float, waiting: Awaitable[T]) -> T:
    """Waits, but not for ever.

    Raises:
        Refused: DEADLINE_TOO_SHORT, after `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError:
        raise Refused("the request did not arrive in time: send faster or less", Reason.DEADLINE_TOO_SHORT) from None
