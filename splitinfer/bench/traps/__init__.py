"""Small models, each with one thing that makes cutting hard, and a judge of what a cutter does with them.

control_flow    bodies that read from outside           functions       nodes that are graphs
shapes          sizes that are computed                 structure       ends, exits, absent inputs
types           what crosses as it is, or cast          declarations    names, shapes, domains, opsets
containers      what cannot cross                       nets            networks for pictures
weights         shared, sparse, computed, given out     transformers    heads, masks, caches
quantised       integers that cross as they are         operators       states, other domains

data_files      weights elsewhere, broken files         refused         what must be
chance          random numbers, training                hostile         what takes a process down

trap            what a trap says of itself              parts           what the models are put together from
judge           builds a trap, runs every cut of it, and compares with plain ONNX Runtime

Needs `splitinfer[build]`; onnx is imported when a model is made, or with the judge.
"""

from splitinfer.bench.traps import (
    chance,
    containers,
    control_flow,
    data_files,
    declarations,
    functions,
    hostile,
    nets,
    operators,
    quantised,
    refused,
    shapes,
    structure,
    transformers,
    types,
    weights,
)
from splitinfer.bench.traps.trap import Trap

_THEMES = (
    control_flow,
    shapes,
    types,
    containers,
    weights,
    quantised,
    functions,
    structure,
    declarations,
    nets,
    transformers,
    operators,
    data_files,
    chance,
    refused,
    hostile,
)

TRAPS: tuple[Trap, ...] = tuple(trap for theme in _THEMES for trap in theme.TRAPS)
"""All of them; names are unique."""

__all__ = ["TRAPS", "Trap"]
