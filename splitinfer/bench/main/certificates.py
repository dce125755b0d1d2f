"""Throw-away certificates, made with the `openssl` command."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from splitinfer.errors import SplitInferError

_KIND = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True, slots=True)
class Pki:
    """PEM files: a server's certificate and key, the authority that vouches for it, and one that does not."""

    cert: Path
    key: Path
    ca: Path
    other_ca: Path


def make(folder: Path) -> Pki:
    """Makes them, for 127.0.0.1.

    Raises:
        SplitInferError: there is no `openssl` on this machine.
    """
    pki = Pki(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "other.pem")
    for authority in (pki.ca, pki.other_ca):
        _openssl("-keyout", authority.with_suffix(".key"), "-out", authority, "-subj", f"/CN=bench-{authority.stem}")
    _openssl(
        *("-keyout", pki.key, "-out", pki.cert, "-subj", "/CN=bench-server"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"),
        *("-CA", pki.ca, "-CAkey", pki.ca.with_suffix(".key")),
    )
    return pki


def _openssl(*arguments: str | Path) -> None:
    command = shutil.which("openssl")
    if command is None:
        raise SplitInferError("certificates are made with the command openssl: install it")
    line = [command, "req", *_KIND, *map(str, arguments)]
    subprocess.run(line, check=True, capture_output=True)  # noqa: S603  every word of it is ours
