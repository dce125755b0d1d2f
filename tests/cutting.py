"""What tests of the cutter share: a graph in plain form, and one child for many builds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import pytest

from splitinfer.build import build
from splitinfer.build.graph import Graph
from splitinfer.build.load import simplify
from splitinfer.build.trial import Trial
from splitinfer.bundle import Bundle


def graph_of(proto: onnx.ModelProto) -> Graph:
    """Of a model, which is brought into plain form in place."""
    simplify(proto)
    return Graph.of(proto)


class KeptTrial(Trial):
    """A child that stays when a build ends, and measures no memory: starting processes would take longer than all the rest."""

    def __exit__(self, *_error):
        pass

    def peaks(self, bundle, _feed):
        return (None,) * len(Bundle.open(bundle).model.cuts)


@contextmanager
def one_child() -> Iterator[KeptTrial]:
    """All builds inside use one child."""
    child = KeptTrial()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[build.__module__], "Trial", lambda: child)
        yield child
    child.close()
