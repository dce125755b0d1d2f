"""Real networks to cut, each with inputs that mean something to it. They come out of installed packages, or are drawn.

minilm       a sentence encoder, built from its weights (safetensors reads these)
packaged     text detection and recognition, voice activity, file types: ONNX files as their packages ship them
quantised    EfficientNet-Lite0 in QDQ form
drawn        thousands of nodes; more than 2 GB
installed    where a package keeps a file, or how to get it

Needs the extra `demo`; what else a network needs, its error says.
"""

from splitinfer.bench.zoo.installed import MissingPackage
from splitinfer.bench.zoo.specimens import LARGE, ZOO, Specimen

__all__ = ["LARGE", "ZOO", "MissingPackage", "Specimen"]
