"""Throw-away certificates, made with the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder.

    Attributes:
        cert: its certificate.
        key: its key.
    """

    cert: Path
    key: Path

    @classmethod
    def at(cls, folder: Path) -> Authority:
        """Makes one."""
        folder.mkdir(parents=True)
        authority = cls(folder / "ca.pem", folder / "ca.key")
        _openssl("req", "-x509", *_EC, "-keyout", authority.key, "-out", authority.cert, "-days", "2", "-subj", "/CN=test-ca")
        return authority

    def issue(self, name: str, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, Path]:
        """A certificate for `names` and its key."""
        cert, key = self.cert.with_name(f"{name}.pem"), self.cert.with_name(f"{name}.key")
        _openssl(
            *("req", "-x509", *_EC, "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.cert, "-CAkey", self.key),
        )
        return cert, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
