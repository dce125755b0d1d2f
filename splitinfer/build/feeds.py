"""Inputs to try a model with: random ones, or the user's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnx

from splitinfer.build.graph import DTYPES, Graph, dims_of
from splitinfer.build.load import MAX_BYTES
from splitinfer.errors import InvalidInput, UnsupportedModel
from splitinfer.model import Array, Model, Tensors, TensorSpec

_PLANE = 64
_LENGTH = 16


def random_feed(graph: Graph, batch: int, seed: int = 0) -> Tensors:
    """Seeded random inputs: normal floats, images of 0..255, integers of 0 and 1 (which are valid as indices and as masks).

    Args:
        graph: the model.
        batch: size of axis 0 where it is open.
        seed: of the generator.
    """
    random = np.random.default_rng(seed)
    sizes = _dimension_names(graph, batch)
    return {name: _random(random, graph, name, sizes, batch) for name in graph.inputs}


def random_feeds(model: Model, batch: int = 1, seed: int = 0) -> dict[str, Array]:
    """Seeded random inputs for a model that is cut already, as `random_feed` makes them.

    Args:
        model: of a bundle.
        batch: size of axis 0 where it is open; other open dimensions are guessed.
        seed: of the generator.
    """
    random = np.random.default_rng(seed)
    feeds = {}
    for spec in model.inputs:
        shape = [_guess(axis, len(spec.shape), batch) if dim is None else dim for axis, dim in enumerate(spec.shape)]
        feeds[spec.name] = _values(random, spec.dtype, shape)
    return feeds


def sample_feeds(specs: Sequence[TensorSpec], samples: Mapping[str, Array], batch: int) -> list[Tensors]:
    """The user's samples as batches.

    Args:
        specs: the model's inputs (uint8 NHWC where an image is folded).
        samples: input name -> array with one item a sample along axis 0.
        batch: samples in a feed; the rest of the division makes a smaller last one.

    Raises:
        InvalidInput: a name, a type or a shape does not fit, or the inputs have different numbers of samples.
    """
    names = {spec.name for spec in specs}
    if samples.keys() != names:
        raise InvalidInput(f"samples need exactly the arrays {sorted(names)}, there are {sorted(samples)}")
    for spec in specs:
        array = samples[spec.name]
        if not spec.shape:
            raise InvalidInput(f"input {spec.name!r} is a scalar, which has no axis for samples: leave the samples out")
        if not array.ndim or array.dtype.name != spec.dtype or not spec.fits((spec.shape[0] or len(array), *array.shape[1:])):
            want = ["samples", *("?" if dim is None else dim for dim in spec.shape[1:])]
            raise InvalidInput(
                f"samples {spec.name!r}: expected {spec.dtype} {want}, got {array.dtype.name} {list(array.shape)}"
            )
    counts = {len(array) for array in samples.values()}
    if len(counts) > 1:
        raise InvalidInput(f"the inputs have different numbers of samples: {sorted(counts)}")
    total = counts.pop()
    step = specs[0].shape[0] or batch
    if total % step and specs[0].shape[0] is not None:
        raise InvalidInput(f"the model takes {step} items at once, {total} samples do not divide by that")
    return [{name: array[at : at + step] for name, array in samples.items()} for at in range(0, total, step)]


def has_batch(graph: Graph) -> bool:
    """Whether axis 0 of every input is open, so that several items may be run at once."""
    shapes = [dims_of(graph.values[name]) for name in graph.inputs]
    return all(shape is not None and len(shape) > 0 and shape[0] is None for shape in shapes)


def _dimension_names(graph: Graph, batch: int) -> dict[str, int]:
    """Sizes of the named dimensions: what is the batch of one input is the batch wherever its name stands."""
    sizes: dict[str, int] = {}
    for name in graph.inputs:
        dims = graph.values[name].type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_param:
            sizes[dims[0].dim_param] = batch
    return sizes


def _random(random: np.random.Generator, graph: Graph, name: str, sizes: Mapping[str, int], batch: int) -> Array:
    value = graph.values[name].type.tensor_type
    dtype = DTYPES.get(value.elem_type)
    if dtype is None:
        kind = onnx.TensorProto.DataType.Name(value.elem_type).lower()
        raise UnsupportedModel(f"input {name!r} is of type {kind}, which cannot be fed from Python: put a Cast in front of it")
    rank = len(value.shape.dim)
    shape: list[int] = []
    for axis, dim in enumerate(value.shape.dim):
        known = dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param)
        shape.append(_guess(axis, rank, batch) if known is None else known)
    if prod(shape) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise UnsupportedModel(f"input {name!r} has the shape {shape}, which is larger than 2 GB: nothing so large can cross")
    return _values(random, dtype, shape)


def _guess(axis: int, rank: int, batch: int) -> int:
    """An open dimension: the batch, a side of an image, or the length of a sequence."""
    return batch if axis == 0 else _PLANE if rank == 4 else _LENGTH


def _values(random: np.random.Generator, dtype: str, shape: Sequence[int]) -> Array:
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 256 if dtype == "uint8" else 2, shape).astype(dtype)
