"""ONNX in, Bundle out.

    make        the build itself, from the file to the bundle
    options     what it may be told

A model is read, brought into one plain form, and tried:

    analyse     from the file to all that is known before cutting
    load        the file, in plain form                     gate        what must not reach the runtime
    functions   written out                                 target      written for an older runtime
    shapes      what is known of them before a run          image       uint8 NHWC -> the input, folded in
    signs       int8 as the runtime computes it             weights     where their bytes are
    trial       models that may crash, in a child           tryout      what a run tells of them
    feeds       inputs to try them with

Then it is known where it can be cut, and the best cuts are kept:

    graph       steps, tensors, what is recomputed          order       topological orders
    crossing    what is to be said of a tensor that crosses
    boundaries  every place where it can be cut             prices      what each costs, on a grid
    frontier    the few worth keeping                       reasons     why the others were not
    cuts        those, all, or named ones

It is cut, checked and measured:

    segments    ranges of steps as models of their own      draft       the bundle to be
    check       every cut against the uncut model           walk        going from cut to cut
    measure     what samples and this machine say
    halves      one chooses, the other reports              states      inputs that come back
    score       bytes and answers of every plan             front       the plans worth keeping
    answers     what counts as one, and how many change     bounds      how sure that is
    divergence  how far they moved                          certainty   what it takes to be surer
    metric      of one's own, by name                       resample    its drop
    reference   times on this machine                       leak        how well the input can be rebuilt

Below them all: nodes, names, schemas (what ONNX says of an operator) and elem_types.

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
