"""Small models, each with one thing that makes cutting hard, and a judge of what a cutter does with them.

parts           what they are put together from         trap        what a trap says of itself
control_flow    bodies that read from outside           shapes      sizes that are computed
quantised       integers that cross as they are

judge           builds a trap, runs every cut of it, and compares with plain ONNX Runtime

Needs `splitinfer[build]`; onnx is imported when a model is made, or with the judge.
"""

from splitinfer.bench.traps import control_flow, quantised, shapes
from splitinfer.bench.traps.trap import Trap

TRAPS: tuple[Trap, ...] = (*control_flow.TRAPS, *shapes.TRAPS, *quantised.TRAPS)
"""All of them; names are unique."""

__all__ = ["TRAPS", "Trap"]
