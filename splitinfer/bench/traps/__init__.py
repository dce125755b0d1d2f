"""Small models, each with one thing that makes cutting hard, and a judge of what a cutter does with them.

control_flow    bodies that read from outside           functions       nodes that are graphs
shapes          sizes that are computed                 structure       ends, exits, absent inputs
types           what crosses as it is, cast, or never   declarations    names, shapes, domains, opsets
weights         shared, sparse, computed, given out     nets            networks for pictures
quantised       integers that cross as they are         sequences       states, caches, attention
data_files      weights elsewhere, broken files         refused         what must be
hostile         what takes a process down

trap            what a trap says of itself              parts           what the models are put together from
judge           builds a trap, runs every cut of it, and compares with plain ONNX Runtime

Needs `splitinfer[build]`; onnx is imported when a model is made, or with the judge.
"""

from splitinfer.bench.traps import (
    control_flow,
    data_files,
    declarations,
    functions,
    hostile,
    nets,
    quantised,
    refused,
    sequences,
    shapes,
    structure,
    types,
    weights,
)
from splitinfer.bench.traps.trap import Trap

_THEMES = (
    control_flow,
    shapes,
    types,
    weights,
    quantised,
    functions,
    structure,
    declarations,
    nets,
    sequences,
    data_files,
    refused,
    hostile,
)

TRAPS: tuple[Trap, ...] = tuple(trap for theme in _THEMES for trap in theme.TRAPS)
"""All of them; names are unique."""

__all__ = ["TRAPS", "Trap"]
