"""ONNX in, Bundle out.

    analyse     the stages up to the draft, in order:
    load        the file, in one plain form                 image       uint8 NHWC -> the input, folded in
    graph       steps, tensors, weights                     boundaries  every place where it can be cut
    frontier    the few worth keeping                       cuts        those, all, or named ones
    segments    ranges of steps as models of their own      check       every cut against the uncut model
    score       bytes and answers of every plan             reference   times on this machine

Needs `splitinfer[build]`. Nothing here runs on a device.
"""

from splitinfer.build.build import build
from splitinfer.build.check import CutCheck, verify
from splitinfer.build.feeds import random_feeds
from splitinfer.build.image import ImageInput
from splitinfer.build.options import BuildOptions

__all__ = ["BuildOptions", "CutCheck", "ImageInput", "build", "random_feeds", "verify"]
