"""Who gets in: five ways to ask a server, and whether each ended as it should."""

from __future__ import annotations

import logging
import socket
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from splitinfer.backends.grpc_remote import GrpcRemote
from splitinfer.bench.main import certificates
from splitinfer.bench.main.bundles import toy
from splitinfer.bench.main.cloud import Counting, serving
from splitinfer.bench.rows import Row, at_least
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.device.driver import now_ms
from splitinfer.errors import SecurityError
from splitinfer.payload import Packer
from splitinfer.remote import Tls

TOKEN = "the token of this benchmark"  # noqa: S105  it opens nothing else
PUBLIC = ("192.0.2.1:8443", "cloud.example:8443")
"""Addresses that are nobody's (RFC 5737, RFC 2606)."""
WAIT_MS = 10_000.0
LISTEN_S = 0.5
log = logging.getLogger(__name__)


def measure() -> list[Row]:
    """How many of the five ended as they should."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, pki = toy(folder), certificates.make(folder)
        (folder / "tokens").write_text(TOKEN, encoding="utf-8")
        served = Counting()
        with serving(bundle, (served,), tls_cert=pki.cert, tls_key=pki.key, token_file=folder / "tokens") as server:
            right, wrong = Tls(ca=str(pki.ca)), Tls(ca=str(pki.other_ca))

            def refused(tls: Tls, token: str | None) -> bool:
                before = served.served
                return _refused(lambda: _ask(server.address, bundle, tls, token)) and served.served == before

            cases = {
                "right authority": _answered(lambda: _ask(server.address, bundle, right, TOKEN)) and served.served == 1,
                "wrong authority": refused(wrong, TOKEN),
                "no token": refused(right, None),
                "wrong token": refused(right, "another token"),
                "plaintext to a public address": _plaintext_stays_here(),
            }
    for case in (case for case, as_it_should in cases.items() if not as_it_should):
        log.error("not as it should be: %s", case)
    return [
        Row(f"as it should be: {', '.join(cases)}", float(sum(cases.values())), "cases", at_least(len(cases)), n=len(cases))
    ]


def _ask(address: str, bundle: Bundle, tls: Tls, token: str | None) -> None:
    payload = Packer(bundle.model, bundle.tables).pack(0, "raw", random_feeds(bundle.model))
    with closing(GrpcRemote((address,), tls=tls, token=token)) as remote:
        remote.send(payload, now_ms() + WAIT_MS)


def _answered(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except SecurityError as error:
        log.error("%s", error)
        return False
    return True


def _refused(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except SecurityError:
        return True
    return False


def _plaintext_stays_here() -> bool:
    """Plaintext to other machines is refused, and before a byte is sent.

    To see that on one machine: 0.0.0.0 counts as public, but a connection to it would arrive at a listener on loopback. Where
    plaintext is allowed one does arrive, so that none arriving means something.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"0.0.0.0:{listener.getsockname()[1]}"
        refused = all(_refused(partial(_open, where)) for where in (*PUBLIC, address))
        silent = not _knocks(listener, LISTEN_S)
        with closing(GrpcRemote((address,), insecure=True)):
            heard = _knocks(listener, WAIT_MS / 1e3)
    return refused and silent and heard


def _open(address: str) -> None:
    GrpcRemote((address,), token=TOKEN).close()


def _knocks(listener: socket.socket, within_s: float) -> bool:
    listener.settimeout(within_s)
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return False
    return True
