"""Inputs to try a model with: random ones, or the user's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from splitinfer.build.elem_types import DTYPES, type_name
from splitinfer.build.graph import Graph
from splitinfer.build.load import MAX_BYTES
from splitinfer.build.nodes import dims_of
from splitinfer.errors import InvalidInput, UnsupportedModel
from splitinfer.model import Array, Model, Tensors, TensorSpec


@dataclass(frozen=True, slots=True)
class Guess:
    """What an open dimension may be: a side of an image, or the length of a sequence."""

    plane: int = 64
    length: int = 16


GUESSES = (Guess(), Guess(224, 256), Guess(32, 512), Guess(640, 4000))
"""Tried in turn until the model runs: some refuse sizes that are too small, or no multiple of something."""


def random_feed(graph: Graph, batch: int, guess: Guess = GUESSES[0]) -> Tensors:
    """Seeded random inputs: normal floats, images of 0..255, integers of 0 and 1 (which are valid as indices and as masks).

    Args:
        graph: the model.
        batch: size of axis 0 where it is open.
        guess: of other open dimensions.
    """
    random = np.random.default_rng(0)
    sizes = _named_sizes(graph, batch, guess)
    return {name: _random(random, graph.values[name], sizes, batch, guess) for name in graph.inputs}


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
        feeds[spec.name] = _values(random, spec.dtype, _guessed(spec.shape, batch))
    return feeds


def sample_feeds(specs: Sequence[TensorSpec], samples: Mapping[str, Array], batch: int) -> list[Tensors]:
    """The user's samples as batches.

    Args:
        specs: the model's inputs (uint8 NHWC where an image is folded).
        samples: input name -> array. Either items of a batch along axis 0; or, with one dimension more than the input, whole
            inputs along axis 0 (a scalar, a state whose first axis is no batch): then each sample is a run of its own.
        batch: samples in a feed; the rest of the division makes a smaller last one.

    Raises:
        InvalidInput: a name, a type or a shape does not fit, or the inputs have different numbers of samples.
    """
    names = {spec.name for spec in specs}
    if samples.keys() != names:
        raise InvalidInput(f"samples need exactly the arrays {sorted(names)}, there are {sorted(samples)}")
    for spec in specs:
        _check_sample(spec, samples[spec.name])
    counts = {len(array) for array in samples.values()}
    if len(counts) > 1:
        raise InvalidInput(f"the inputs have different numbers of samples: {sorted(counts)}")
    total = counts.pop()
    whole = _whole(specs, samples)
    if whole:
        return [{n: a[at, ...] if n in whole else a[at : at + 1] for n, a in samples.items()} for at in range(total)]
    step = specs[0].shape[0] or batch
    if total % step and specs[0].shape[0] is not None:
        raise InvalidInput(f"the model takes {step} items at once, {total} samples do not divide by that")
    return [{name: array[at : at + step] for name, array in samples.items()} for at in range(0, total, step)]


def together(specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> int:
    """How many samples make the smallest run, and so stay together; more than one where axis 0 has a fixed size."""
    return 1 if _whole(specs, samples) else specs[0].shape[0] or 1


def taken(specs: Sequence[TensorSpec], samples: Mapping[str, Array], runs: Sequence[Tensors]) -> list[int]:
    """How many samples went into each of the runs that `sample_feeds` made of them."""
    return [1 if _whole(specs, samples) else len(run[specs[0].name]) for run in runs]


def _whole(specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> set[str]:
    """The inputs of which each sample is all that goes in."""
    return {spec.name for spec in specs if samples[spec.name].ndim > len(spec.shape)}


def _check_sample(spec: TensorSpec, array: Array) -> None:
    whole = array.ndim == len(spec.shape) + 1
    item = array.shape[1:] if whole else (spec.shape[0] or len(array), *array.shape[1:]) if array.ndim and spec.shape else ()
    if array.ndim and array.dtype.name == spec.dtype and spec.fits(item) and (whole or spec.shape):
        return
    want = ["samples", *("?" if dim is None else dim for dim in spec.shape[1:])]
    raise InvalidInput(f"samples {spec.name!r}: expected {spec.dtype} {want}, got {array.dtype.name} {list(array.shape)}")


def has_batch(graph: Graph) -> bool:
    """Whether axis 0 of every input is open, so that several items may be run at once."""
    shapes = [dims_of(graph.values[name].type) for name in graph.inputs]
    return all(shape is not None and len(shape) > 0 and shape[0] is None for shape in shapes)


def has_open_sizes(graph: Graph) -> bool:
    """Whether an input has an open dimension besides axis 0."""
    return any(None in (dims_of(graph.values[name].type) or ())[1:] for name in graph.inputs)


def _named_sizes(graph: Graph, batch: int, guess: Guess) -> dict[str, int]:
    """Sizes of the dimensions that have a name: one name is one size, in all inputs; "P + S" is the sum of two."""
    every = [graph.values[name].type.tensor_type.shape.dim for name in graph.inputs]
    sizes = {dims[0].dim_param: batch for dims in every if len(dims)}
    sums = {dim.dim_param for dims in every for dim in dims if "+" in dim.dim_param}
    for dims in every:
        guessed = _guessed([dim.dim_value if dim.HasField("dim_value") else None for dim in dims], batch, guess)
        for dim, size in zip(dims, guessed, strict=True):
            sizes.setdefault(dim.dim_param, size)
    for name in sums:
        parts = [part.strip() for part in name.split("+")]
        sizes[name] = sum(int(part) if part.isdecimal() else sizes.get(part, guess.length) for part in parts)
    return {name: size for name, size in sizes.items() if name}


def _random(
    random: np.random.Generator, value: onnx.ValueInfoProto, sizes: Mapping[str, int], batch: int, guess: Guess
) -> Array:
    tensor = value.type.tensor_type
    dtype = DTYPES.get(tensor.elem_type)
    if dtype is None:
        kind = type_name(tensor.elem_type)
        raise UnsupportedModel(f"input {value.name!r} is of type {kind}, which no array can carry: put a Cast in front of it")
    named = [dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param) for dim in tensor.shape.dim]
    shape = _guessed(named, batch, guess)
    if prod(shape) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise UnsupportedModel(
            f"input {value.name!r} has the shape {shape}, which is larger than 2 GB: nothing so large can cross"
        )
    return _values(random, dtype, shape)


def _guessed(dims: Sequence[int | None], batch: int, guess: Guess = GUESSES[0]) -> list[int]:
    """Open dimensions: the batch, a side of an image, or the length of a sequence.

    The batch is axis 0, or the only open one behind a fixed axis 0 (the state of a recurrent network).
    """
    state = len(dims) == 3 and dims[0] is not None and dims.count(None) == 1
    side = guess.plane if len(dims) == 4 and dims[1:].count(None) > 1 else guess.length
    return [dim if dim is not None else batch if state or not axis else side for axis, dim in enumerate(dims)]


def _values(random: np.random.Generator, dtype: str, shape: Sequence[int]) -> Array:
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 256 if dtype == "uint8" else 2, shape).astype(dtype)
