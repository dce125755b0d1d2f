"""`klt:STEP`: the transform codec.

Sensitivity-weighted Karhunen-Loeve transform over channels, cosine transform over the plane, one step, static frequencies, an
entropy coder (asymmetric numeral systems). docs/codecs.md says how and why.

    layout       which axis holds channels, which blocks the plane has
    basis        the linear transform
    sensitivity  how much the answers depend on the tensor: a value that `build` measures
    fit          a table from samples
    rows         how likely each level is, in integers
    steps        a step, and which rows it picks
    quantiser    a table at one step
    side, coder  the bytes
    table        what a bundle keeps: one for all steps
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from splitinfer.codec.finite import LARGEST
from splitinfer.codec.items import check_accepted
from splitinfer.codec.klt.coder import KltCoder
from splitinfer.codec.klt.fit import fit, layout_for
from splitinfer.codec.klt.layout import Floats, Layout, item_dims, layouts
from splitinfer.codec.klt.quantiser import Quantiser
from splitinfer.codec.klt.sensitivity import Sensitivity
from splitinfer.codec.klt.steps import PATTERN, quarter_octaves
from splitinfer.codec.klt.table import Table, read, write
from splitinfer.errors import CorruptBundle
from splitinfer.model import Array, TensorSpec

__all__ = ["PATTERN", "SAMPLES_MAX", "STEPS", "Klt", "KltCoder", "Layout", "Sensitivity", "layout_of"]

STEPS = ("0.125", "0.2", "0.3", "0.45", "0.6", "0.8", "1", "1.25", "1.6", "2")
"""Offered. 1 is the root mean square of all coefficients."""
SAMPLES_MAX = 64
"""More hardly help: 16, 32, 64, 128 and 400 photos gave 2 349, 2 230, 2 160, 2 139 and 2 124 bytes at one step."""
_LAYOUT_SAMPLES_MAX = 16


class Klt:
    """The transform codec at one step."""

    lossless = False
    needs_table = True

    def __init__(self, step: str) -> None:
        """Makes a codec.

        Args:
            step: a decimal as `PATTERN` has it.
        """
        self.id = f"klt:{step}"
        self._step = step

    def accepts(self, spec: TensorSpec) -> bool:
        """Floats of 32 or 64 bits with an axis that can hold channels."""
        return spec.dtype in ("float32", "float64") and bool(layouts(item_dims(spec)))

    def calibrate(self, spec: TensorSpec, samples: Sequence[Array], sensitivity: object | None = None) -> bytes | None:
        """A table that serves every step; None where no sample is finite.

        Args:
            spec: of the tensor.
            samples: of any batch; at most `SAMPLES_MAX` items, spread over them, are looked at.
            sensitivity: a `Sensitivity`; without one all values matter the same.
        """
        items = _items(spec, samples, SAMPLES_MAX)
        if not items:
            return None
        if not isinstance(sensitivity, Sensitivity):
            sensitivity = Sensitivity.even(layout_of(spec, samples) or layouts(item_dims(spec))[0])
        return write(fit(sensitivity.layout, items, sensitivity))

    def bind(self, spec: TensorSpec, table: bytes | None = None) -> KltCoder:
        """A coder for one tensor."""
        check_accepted(self.id, self.accepts(spec), spec)
        if table is None:
            raise CorruptBundle(f"tensor {spec.name!r} has no table for {self.id!r}: build the bundle with samples")
        found, quarters = _read(spec, table), quarter_octaves(self._step)
        return KltCoder(spec, found.basis, Quantiser.at(found, quarters, float(self._step)), found.gain(quarters))


def layout_of(spec: TensorSpec, samples: Sequence[Array]) -> Layout | None:
    """The layout that suits the samples best; None where there is no finite one."""
    items = _items(spec, samples, _LAYOUT_SAMPLES_MAX)
    return layout_for(layouts(item_dims(spec)), items) if items else None


def _items(spec: TensorSpec, samples: Sequence[Array], most: int) -> list[Floats]:
    """Finite items, spread over the samples."""
    found = [item for sample in samples for item in (sample if spec.shape[:1] == (None,) else [sample])]
    found = [item for item in found if item.size and np.abs(item).max() <= LARGEST]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    return [found[index].astype(np.float32) for index in chosen]


@lru_cache(64)
def _read(spec: TensorSpec, table: bytes) -> Table:
    """Tables are shared by all steps."""
    return read(spec, table)
