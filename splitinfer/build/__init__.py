"""ONNX in, Bundle out.

    make        the build itself, from the file to the bundle

    load        the file, in one plain form                 gate        what must not reach the runtime
    functions   written out                                 target      operators lowered for an older runtime
    dims        sizes that are known                        image       uint8 NHWC -> the input, folded in
    weights     where their bytes are                       trial       models that may crash, in a child process
    graph       steps, tensors, what is recomputed          tryout      what a run tells of them
    order       topological orders                          crossing    what is to be said of a tensor that crosses
    boundaries  every place where it can be cut             prices      what each costs, on a grid
    frontier    the few worth keeping                       reasons     why the others were not
    cuts        those, all, or named ones                   segments    ranges of steps as models of their own
    draft       the bundle to be                            check       every cut against the uncut model
    score       bytes and answers of every plan             reference   times on this machine

Names are imported when they are first used: the child of a trial needs no `onnx`. Needs `splitinfer[build]`. Nothing here runs
on a device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitinfer.build.check import CutCheck as CutCheck
    from splitinfer.build.check import verify as verify
    from splitinfer.build.feeds import random_feeds as random_feeds
    from splitinfer.build.image import ImageInput as ImageInput
    from splitinfer.build.make import build as build
    from splitinfer.build.options import BuildOptions as BuildOptions

_HOME = {
    "BuildOptions": "options",
    "CutCheck": "check",
    "ImageInput": "image",
    "build": "make",
    "random_feeds": "feeds",
    "verify": "check",
}

__all__ = ["BuildOptions", "CutCheck", "ImageInput", "build", "random_feeds", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return found
