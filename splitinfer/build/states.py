"""Which inputs carry a state: what the model said at one step and is told again at the next.

The samples show one step at a time, and what a codec does to a state in one step looks harmless; but it comes back, and adds up
over a recording (Silero VAD: 8 bits cost 0.009 of the area under the curve, 4 bits 0.097). So where a state crosses, only
lossless codecs and `half` are offered. Knows no codec.
"""

from __future__ import annotations

from collections.abc import Collection

from splitinfer.errors import InvalidInput
from splitinfer.model import Tensors


def states(inputs: Tensors, outputs: Tensors, told: Collection[str] | None = None) -> frozenset[str]:
    """The names of the inputs that carry a state.

    Args:
        inputs: of one run.
        outputs: of the same run.
        told: what somebody who knows the model says; None = an input is taken for a state where an output has its type of
            floats and its shape, and the model has other inputs and other outputs besides.

    Raises:
        InvalidInput: there is no input of a name that was told.
    """
    if told is not None:
        if unknown := sorted(set(told) - inputs.keys()):
            raise InvalidInput(f"there is no input {unknown[0]!r} to carry a state: the model has {sorted(inputs)}")
        return frozenset(told)
    if len(inputs) < 2 or len(outputs) < 2:
        return frozenset()
    made = {(array.dtype, array.shape) for array in outputs.values()}
    return frozenset(name for name, array in inputs.items() if array.dtype.kind == "f" and (array.dtype, array.shape) in made)
