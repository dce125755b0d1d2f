"""What was learnt of networks, kept in a file from one run to the next.

Names in it are hashes (`backends.network`); what is kept of each is two numbers. An observer: it hears events in a thread of
its own, and writes now and then. The last of several clients that share a file wins.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path

from splitinfer.estimate import Prior
from splitinfer.events import Event, Transferred

log = logging.getLogger("splitinfer")

FORMAT = "splitinfer networks 1"
NETWORKS_MAX = 64
"""Those that were used last stay."""
FILE_MAX_BYTES = 65_536
EVERY_MS = 60_000.0

Priors = Mapping[str, Prior]


def recall(path: Path) -> dict[str, Prior]:
    """What a file holds, the network that was used last at the end; nothing where there is none.

    One that cannot be read is logged. It is put aside, so that neither it nor what is learnt from now on is lost.
    """
    try:
        with path.open("rb") as file:
            return _parsed(file.read(FILE_MAX_BYTES + 1))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        log.warning("%s is ignored, what was learnt of networks begins anew: %s", path, error)
    try:
        path.replace(_beside(path, "damaged"))
    except OSError as error:
        log.warning("%s could not be put aside: %s", path, error)
    return {}


class Remembered:
    """Writes what is learnt.

    Args:
        path: where.
        priors: what is known now.
        now_ms: the clock.
        known: what the file holds.
    """

    def __init__(self, path: Path, priors: Callable[[], Priors], now_ms: Callable[[], float], known: Priors) -> None:
        self._path = path
        self._priors = priors
        self._now_ms = now_ms
        self._kept = dict(known)
        self._due_ms = now_ms() + EVERY_MS

    def __call__(self, event: Event) -> None:
        """Writes, if something may have changed and the last time is long ago."""
        if isinstance(event, Transferred) and self._now_ms() >= self._due_ms:
            self.write()

    def write(self) -> None:
        """Writes, if something has changed. That it cannot is logged."""
        self._due_ms = self._now_ms() + EVERY_MS
        changed = {name: prior for name, prior in self._priors().items() if self._kept.get(name) != prior}
        if not changed:
            return
        same = {name: prior for name, prior in self._kept.items() if name not in changed}
        kept = dict([*same.items(), *changed.items()][-NETWORKS_MAX:])
        try:
            _replace(self._path, _formatted(kept))
        except OSError as error:
            log.warning("what was learnt of networks could not be kept in %s: %s", self._path, error)
        else:
            self._kept = kept


def _formatted(priors: Priors) -> str:
    rows = {name: asdict(prior) for name, prior in priors.items()}
    return json.dumps({"format": FORMAT, "networks": rows}, indent=1) + "\n"


def _parsed(data: bytes) -> dict[str, Prior]:
    """Raises ValueError where it is not ours, or damaged."""
    if len(data) > FILE_MAX_BYTES:
        raise ValueError("it is too large")
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("networks"), dict):
        raise ValueError(f"it is not of the format {FORMAT!r}")
    priors = {name: _prior(row) for name, row in content["networks"].items()}
    return dict(list(priors.items())[-NETWORKS_MAX:])


def _prior(row: object) -> Prior:
    if not isinstance(row, dict) or row.keys() != {field.name for field in fields(Prior)}:
        raise ValueError("a network has other figures than ours")
    for value in row.values():
        if type(value) not in (int, float) or not isfinite(value) or value <= 0:
            raise ValueError(f"{value!r} is no figure of a network")
    return Prior(**row)


def _replace(path: Path, text: str) -> None:
    """So that a crash leaves the old file or the new one."""
    beside = _beside(path, f"{os.getpid()}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")
