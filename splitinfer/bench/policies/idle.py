"""What a client sends on a link where bytes are dear, when nobody asks. Real sockets: counted where they pass."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from splitinfer.bench.main.bundles import toy
from splitinfer.bench.main.cloud import connected
from splitinfer.bench.rows import Row, at_most
from splitinfer.device import Settings
from splitinfer.events import LinkChanged, PowerRead

SETTLE_S = 5.0
IDLE_S = 60.0


def measure() -> list[Row]:
    """A minute on a metered link and, for comparison, on another."""
    with tempfile.TemporaryDirectory() as name:
        metered, free = (_sent_bytes(Path(name), metered) for metered in (True, False))
    about = f"idle client on a metered link: bytes up in {IDLE_S:g} s without requests"
    return [Row(about, float(metered), "bytes", at_most(0), f"not metered: {free} bytes")]


def _sent_bytes(folder: Path, metered: bool) -> int:
    """After a few requests, and a pause in which what they began can end."""
    bundle = toy(folder, (500, 250), work=6)
    with connected(bundle, Settings(read_power=lambda: PowerRead(None))) as (client, proxy):
        client.tell(LinkChanged(True, cause="bench", metered=metered))
        for _ in range(5):
            client.infer({"t0": np.ones((1, 500), np.float32)})
        time.sleep(SETTLE_S)
        before = proxy.total.up_bytes
        time.sleep(IDLE_S)
        return proxy.total.up_bytes - before
