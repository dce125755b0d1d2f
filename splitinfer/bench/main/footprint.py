"""What a device pays before the first request: imports, and disk."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from splitinfer.bench.rows import Row, at_most

HEAVY = ("ray", "onnx", "rich", "onnxruntime")


def measure() -> list[Row]:
    """Modules that `import splitinfer` pulls in, and the size of the device's install."""
    return [_imports(), _install()]


def _imports() -> Row:
    code = f"import sys, splitinfer; print(sum(name in sys.modules for name in {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  ours
    return Row(f"import splitinfer: how many of {', '.join(HEAVY)}", float(done.stdout), "modules", at_most(0))


def _install() -> Row:
    """Files of splitinfer and everything its base install needs, without bytecode."""
    found = _closure("splitinfer")
    size = sum(_nbytes(one) for one in found.values())
    return Row("device install, without bytecode", size / 1e6, "MB", at_most(210), n=len(found))


def _closure(name: str) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        key = re.sub(r"[-_.]+", "-", current).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(current)
        except PackageNotFoundError:
            continue  # needed on another platform only
        requires = found[key].requires or ()
        waiting += [re.split(r"[ ;<>=!~\[(]", need, maxsplit=1)[0] for need in requires if "extra ==" not in need]
    return found


def _nbytes(one: Distribution) -> int:
    total = 0
    for file in one.files or ():
        path = file.locate()
        if file.suffix != ".pyc" and path.is_file():  # type: ignore[attr-defined]
            total += path.stat().st_size  # type: ignore[attr-defined]
    return total
