"""The networks whose frontier is measured, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from splitinfer.bench.main.bundles import LITE0, save
from splitinfer.bench.models import LIGHT
from splitinfer.bench.zoo.specimens import MINILM

Save = Callable[[Path], Path]

NETWORKS: dict[str, Save] = {name: partial(save, name) for name in (LITE0, *(f"light_{light}" for light in LIGHT))} | {
    MINILM.name: MINILM.save
}
"""Name -> writes it into a folder."""
