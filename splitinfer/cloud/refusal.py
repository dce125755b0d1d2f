"""The one place where an error becomes the status of an RPC.

What the text says is written by those who raise our errors; of an error that nobody foresaw the client learns nothing.
"""

from __future__ import annotations

import logging
from typing import NoReturn

import grpc

from splitinfer.errors import Reason, Refused, reason_of
from splitinfer.wire import STATUS_DETAILS_KEY, encode_status

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""gRPC's own retries wait this long (gRFC A6)."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_log = logging.getLogger(__name__)


async def refuse(context: grpc.aio.ServicerContext[bytes, bytes], error: Exception) -> NoReturn:
    """Ends an RPC with the status that belongs to `error`: code, a sentence, `google.rpc` details, pushback."""
    if reason_of(error) is Reason.INTERNAL:
        _log.error("a request failed in a way nobody foresaw", exc_info=error)
    code, text, details = encode_status(error)
    trailer: list[tuple[str, str | bytes]] = [(STATUS_DETAILS_KEY, details)]
    if isinstance(error, Refused) and error.retry_after_ms is not None:
        trailer.append((PUSHBACK_KEY, str(max(1, round(error.retry_after_ms)))))
    await context.abort(_CODES[code], text, tuple(trailer))
    raise AssertionError("abort always raises")
