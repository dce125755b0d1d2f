"""ONNX in, Bundle out.

    load        the file, in one plain form                 image       uint8 NHWC -> the input, folded in
    graph       steps, tensors, weights                     boundaries  every place where it can be cut
    frontier    the few worth keeping                       cuts        those, all, or named ones
    segments    ranges of steps as models of their own      check       every cut against the uncut model
    score       bytes and answers of every plan             reference   times on this machine

Needs `splitinfer[build]`. Nothing here runs on a device.
"""

from splitinfer.build.build import BuildOptions, build
from splitinfer.build.check import CutCheck, verify
from splitinfer.build.image import ImageInput

__all__ = ["BuildOptions", "CutCheck", "ImageInput", "build", "verify"]
