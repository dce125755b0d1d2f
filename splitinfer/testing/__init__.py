"""For who writes a codec: the tests that every codec must pass, ours included, as a class to inherit from.

    # test_mine.py, in your package, which declares the entry point "mine" of the group "splitinfer.codecs"
    from mine import Mine
    from splitinfer.testing import CodecConformance

    class TestMine(CodecConformance):
        codec = Mine()

pytest runs it like any other class of tests. A lossy codec also says how far a value may move (`tolerance`), one that must be
calibrated what with (`samples`), and one that takes special tensors only what they look like (`specs`, `values`).
"""

from __future__ import annotations

from splitinfer.testing.promises import Promises
from splitinfer.testing.round_trips import RoundTrips
from splitinfer.testing.strangers import Strangers

__all__ = ["CodecConformance"]


class CodecConformance(Promises, RoundTrips, Strangers):
    """What a codec must do, whatever its id."""
