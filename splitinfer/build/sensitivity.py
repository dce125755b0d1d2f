"""How much the answers depend on each value of a tensor that crosses, found by asking the tail: no gradients, no training.

For each of a few samples the same pattern n of random signs is added to one channel at a time, and d_c is how the outputs move.
Since the signs of different places cancel out in expectation, the products of these movements are the whole channel matrix::

    F[c, e] = mean over samples of  d_c' H d_e / (amplitude^2 places)

with H the outputs' own weights. For a classifier that is the Fisher information of softmax at a high temperature: every class
that might be confused counts, not only the two that stand out in the few samples; for other outputs it is one over the mean
square. Then noise in one band of frequencies at a time says how much each band matters. Where there are many channels, the
directions in which the samples vary most are asked for instead, and a few random ones stand for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from splitinfer.codec.klt import Layout, Sensitivity
from splitinfer.codec.klt.basis import dct_matrix, spectrum
from splitinfer.model import Array, Tensors

Doubles = npt.NDArray[np.float64]

SAMPLES_MAX = 32
DIRECTIONS_MAX = 96
RANDOM_DIRECTIONS = 8
BAND_SAMPLES_MAX, BAND_PATTERNS = 8, 8
BANDS = (0.0, 0.5, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 19.0)
"""Where bands begin: distance from the constant, in half cosines over a block."""
OPERATIONS_MAX = 500e9
"""Multiply-adds spent on the tail, which sets how many samples are asked: about 16 s of one core."""
_AMPLITUDE = 0.3
"""Of the patterns, in standard deviations of the tensor: about what quantisation does."""
_TEMPERATURE = 3.0
"""In standard deviations of a sample's scores. (Lite0: 1 costs 4 to 9 % more bytes at equal error; 3 to 20 cost the same.)"""
_TRUST = 0.7
"""Exponent of what bands were found to matter. (Lite0: 0.5 to 1 give the same bytes at equal agreement.)"""
_TOGETHER = 32


@dataclass(frozen=True)
class Probe:
    """One tensor at a cut, and what lies behind it.

    Attributes:
        name: of the tensor.
        layout: that the tensor is seen in.
        samples: all tensors that cross, one sample each.
        tail: runs what is behind the cut; raises nothing that is not the caller's to see.
        stacks: whether samples can be stacked along axis 0.
        operations: of the tail, for one sample.
        pool: runs tails at once.
    """

    name: str
    layout: Layout
    samples: Sequence[Tensors]
    tail: Callable[[Tensors], Tensors]
    stacks: bool
    operations: int
    pool: Executor

    def measure(self) -> Sensitivity:
        """Asks the tail."""
        channels = self._channels()
        if not np.isfinite(channels).all() or not np.trace(channels) > 0:
            return Sensitivity.even(self.layout)
        return Sensitivity(self.layout, channels, self._frequencies(channels))

    @cached_property
    def _amplitude(self) -> float:
        return _AMPLITUDE * float(np.mean([sample[self.name].std(dtype=np.float64) for sample in self.samples])) or 1.0

    def _channels(self) -> Doubles:
        directions = self._directions()
        asked = self._affordable(len(directions), SAMPLES_MAX)
        products = np.zeros((len(directions), len(directions)))
        for index, sample in enumerate(asked):
            pattern = np.random.default_rng(index).choice([-1.0, 1.0], self._plane(sample)).astype(np.float32)
            moved = self._moved(sample, [self._amplitude * np.multiply.outer(d, pattern) for d in directions])
            products += moved @ moved.T / (self._amplitude**2 * pattern.size)
        return self._filled(directions, products / len(asked))

    def _directions(self) -> Doubles:
        """Unit vectors over channels, one a row: all channels, or the strongest principal directions and random other ones."""
        channels = self.layout.channels
        if channels <= DIRECTIONS_MAX:
            return np.eye(channels)
        places = np.concatenate([self._blocks(sample).reshape(channels, -1) for sample in self.samples], axis=1)
        _, vectors = np.linalg.eigh(np.cov(places.astype(np.float64)))
        strongest = vectors[:, ::-1][:, : DIRECTIONS_MAX - RANDOM_DIRECTIONS].T
        others = np.random.default_rng(0).normal(size=(RANDOM_DIRECTIONS, channels))
        others -= others @ strongest.T @ strongest
        return np.concatenate([strongest, others / np.linalg.norm(others, axis=1, keepdims=True)])

    def _filled(self, directions: Doubles, products: Doubles) -> Doubles:
        """The matrix over channels; what was not asked for is as sensitive as the random directions are on average."""
        if len(directions) == self.layout.channels:
            return products
        asked = len(directions) - RANDOM_DIRECTIONS
        strongest = directions[:asked]
        rest = float(np.trace(products[asked:, asked:])) / RANDOM_DIRECTIONS
        others = np.eye(self.layout.channels) - strongest.T @ strongest
        filled: Doubles = strongest.T @ products[:asked, :asked] @ strongest + rest * others
        return filled

    def _frequencies(self, channels: Doubles) -> Doubles:
        """Sensitivity of each frequency, for noise that is even over weighted channels."""
        distance = np.hypot(*np.meshgrid(*(np.arange(length) for length in self.layout.blocks), indexing="ij"))
        bands = np.searchsorted(BANDS, distance, side="right") - 1
        present = np.unique(bands)
        if len(present) < 2:
            return np.ones(self.layout.blocks)
        spread = _inverse_root(channels)
        found = np.zeros(len(BANDS))
        asked = self._affordable(len(present) * BAND_PATTERNS, BAND_SAMPLES_MAX)
        for index, sample in enumerate(asked):
            random = np.random.default_rng(index)
            for band in present:
                patterns = [self._noise(sample, bands == band, spread, random) for _ in range(BAND_PATTERNS)]
                moved = self._moved(sample, patterns)
                found[band] += np.square(moved).sum() / (np.count_nonzero(bands == band))
        powers = np.maximum(found, found.max() * 1e-6)[bands]
        relative: Doubles = powers**_TRUST / np.mean(powers**_TRUST)
        return relative

    def _noise(self, sample: Tensors, band: npt.NDArray[np.bool_], spread: Doubles, random: np.random.Generator) -> Array:
        """Blocks of noise in one band."""
        shape = self._blocks(sample).shape
        noise = random.normal(size=shape).astype(np.float32) * band[None, None, :, None, :]
        height, width = self.layout.blocks
        values = spectrum(noise, dct_matrix(height).T, dct_matrix(width).T)
        mixed = (spread.astype(np.float32) @ values.reshape(len(values), -1)).reshape(shape)
        return mixed * np.float32(self._amplitude)

    def _moved(self, sample: Tensors, patterns: Sequence[Array]) -> Doubles:
        """How the outputs move, [patterns, numbers], in units in which squares are distances."""
        blocks, array = self._blocks(sample), sample[self.name]
        changed = [self.layout.from_blocks(blocks + pattern.astype(np.float32), array.shape) for pattern in patterns]
        feeds = [{**sample, self.name: one.astype(array.dtype, copy=False)} for one in (array, *changed)]
        outputs = self._outputs(feeds)
        parts = []
        for name, first in outputs[0].items():
            if first.dtype.kind == "f" and all(name in one for one in outputs):  # a group's shape may hide one without a batch
                parts.append(_movement(first, [one[name] for one in outputs[1:]]))
        moved = np.concatenate(parts, axis=1) if parts else np.zeros((len(patterns), 1))
        return np.nan_to_num(moved, posinf=0.0, neginf=0.0)

    def _outputs(self, feeds: Sequence[Tensors]) -> list[Tensors]:
        """Of each feed, in order."""
        together = _TOGETHER if self.stacks else 1
        groups = [feeds[at : at + together] for at in range(0, len(feeds), together)]
        stacked = [group[0] if len(group) == 1 else _stacked(group) for group in groups]
        runs = zip(groups, self.pool.map(self.tail, stacked), strict=True)
        return [one for group, run in runs for one in _unstacked(run, len(group))]

    def _affordable(self, runs: int, most: int) -> Sequence[Tensors]:
        """As many samples as may be asked `runs` times each, spread over all; at least two."""
        count = max(2, min(most, int(OPERATIONS_MAX / (max(self.operations, 1) * runs)), len(self.samples)))
        chosen = np.unique(np.linspace(0, len(self.samples) - 1, count).round().astype(int))
        return [self.samples[index] for index in chosen]

    def _blocks(self, sample: Tensors) -> npt.NDArray[np.float32]:
        return self.layout.to_blocks(sample[self.name])

    def _plane(self, sample: Tensors) -> tuple[int, ...]:
        return self._blocks(sample).shape[1:]


def _movement(before: Array, after: Sequence[Array]) -> Doubles:
    """Weighted differences to one output, [runs, numbers]; zero where its shape changed."""
    start = before.astype(np.float64).ravel()
    runs = np.array([one.astype(np.float64).ravel() if one.shape == before.shape else start for one in after])
    if before.ndim == 2 and len(before) == 1 and before.shape[1] > 1:
        return _of_a_classifier(start, runs)
    size = np.sqrt(np.square(start).mean())
    return (runs - start) / (size or 1.0)


def _of_a_classifier(start: Doubles, runs: Doubles) -> Doubles:
    """In scores, centred and weighted by softmax at a high temperature; shares are taken as logarithms."""
    if (start >= 0).all() and abs(start.sum() - 1) < 1e-3:
        start, runs = (np.log(np.maximum(shares, 1e-7)) for shares in (start, runs))
    temperature = _TEMPERATURE * start.std() or 1.0
    weights = np.exp((start - start.max()) / temperature)
    weights /= weights.sum()
    moved = runs - start
    moved -= moved @ weights[:, None]
    weighted: Doubles = moved * np.sqrt(weights)
    return weighted


def _stacked(feeds: Sequence[Tensors]) -> Tensors:
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def _unstacked(outputs: Tensors, count: int) -> Iterator[Tensors]:
    if count == 1:
        yield outputs
        return
    for index in range(count):
        yield {name: array[index : index + 1] for name, array in outputs.items() if len(array) == count}


def _inverse_root(matrix: Doubles) -> Doubles:
    values, vectors = np.linalg.eigh(matrix)
    floor = max(values.mean() * 0.1, 1e-30)
    root: Doubles = (vectors / np.sqrt(np.maximum(values, floor) / values.mean())) @ vectors.T
    return root
