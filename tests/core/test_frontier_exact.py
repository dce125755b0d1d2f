"""The frontier against the exact optimum: the best down-set of a graph is a minimum cut.

The device is the source and the cloud the sink. A step on the cloud's side costs its cloud time, one on the device's side its
device time. A tensor is charged once, however many steps of the cloud read it, through a vertex of its own; nothing comes back
from the cloud. scipy knows integers of 32 bits only, so times are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import onnx
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from splitinfer.bench.models import LIGHT, efficientnet_lite0, light
from splitinfer.build.boundaries import Order, orders
from splitinfer.build.frontier import LOSS_MEAN_MAX, LOSS_WORST_MAX, choose
from splitinfer.build.graph import Graph, operations
from splitinfer.build.load import simplify
from splitinfer.build.prices import CROSSING_MS_PER_BYTE, GRID, MS_PER_OPERATION, REQUEST_BYTES, TENSOR_BYTES, Point, prices
from tests import graphs, models

ALL_MS, NEVER = 10**8, 10**9
"""The price that the others are scaled to, and a capacity that no minimum cut contains."""
ROUNDING = 1e-4

SMALL = [graphs.inverted_residuals, graphs.inception, graphs.u_net, graphs.residuals, graphs.two_rivers]


class Exact:
    """Least latencies of a graph over all down-sets of its steps."""

    def __init__(self, graph: Graph) -> None:
        self.work = np.array([operations(graph, step) for step in graph.steps]) * MS_PER_OPERATION
        makers = {name: at + 2 for at, step in enumerate(graph.steps) for name in step.makes}
        readers: dict[str, list[int]] = {name: [] for name in graph.inputs}
        for at, step in enumerate(graph.steps):
            for name in step.reads:
                readers.setdefault(name, []).append(at + 2)
        self.bytes = np.array([graph.nbytes(name) for name in readers], float)
        self.lossless = np.array([(spec := graph.spec(name)) is None or spec.lossless_only for name in readers])
        vertices = range(len(self.work) + 2, len(self.work) + 2 + len(readers))
        self.tensors = [(makers.get(name, 0), vertex) for name, vertex in zip(readers, vertices, strict=True)]
        self.forbidden = [(vertex, at) for vertex, ats in zip(vertices, readers.values(), strict=True) for at in ats]
        self.forbidden += [(at, makers[name]) for name, ats in readers.items() if name in makers for at in ats]
        self.size = vertices.stop

    def least_ms(self, point: Point) -> float:
        """The least latency at a place of the grid; what each request costs is added where one is made."""
        share = np.where(self.lossless, 1.0, point.coded_share)
        crossing = (self.bytes * share + TENSOR_BYTES) * 8e3 / point.rate_bps + self.bytes * CROSSING_MS_PER_BYTE
        steps = np.arange(len(self.work)) + 2
        scale = ALL_MS / min(self.work.sum() * point.slowness, self.work.sum() * point.load + crossing.sum())
        costs = np.concatenate([self.work * point.load, self.work * point.slowness, crossing]) * scale
        ends = [*((0, at) for at in steps), *((at, 1) for at in steps), *self.tensors, *self.forbidden]
        capacity = np.minimum(np.concatenate([costs.round(), np.full(len(self.forbidden), NEVER)]), NEVER).astype(np.int32)
        network = csr_array((capacity, np.array(ends).T), shape=(self.size, self.size))
        split_ms, all_here_ms = maximum_flow(network, 0, 1).flow_value / scale, self.work.sum() * point.slowness
        return float(min(split_ms + REQUEST_BYTES * 8e3 / point.rate_bps, all_here_ms))


def compare(proto: onnx.ModelProto, points: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What is lost against the optimum at some places of the grid: with all boundaries, and with the frontier's."""
    simplify(proto)
    found = orders(Graph.of(proto))
    order, frontier = choose(found, 6)
    exact = Exact(found[0].graph)
    least = np.array([exact.least_ms(GRID[at]) for at in points])
    every = np.minimum.reduce([_fastest(order) for order in found])[points]
    mine = prices(frontier.boundaries, order.boundaries[-1].operations).min(axis=0)[points]
    return every / least - 1, mine / least - 1


def _fastest(order: Order) -> np.ndarray:
    offered = [boundary for boundary in order.boundaries if boundary.why_not is None]
    return prices(offered, order.boundaries[-1].operations).min(axis=0)


def check(proto: onnx.ModelProto, points: Sequence[int]) -> None:
    every, mine = compare(proto, points)
    assert every.min() > -ROUNDING
    assert every.max() < 0.01
    assert mine.min() > -ROUNDING
    assert mine.mean() <= LOSS_MEAN_MAX
    assert mine.max() <= LOSS_WORST_MAX


@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_the_frontier_is_near_the_optimum(make):
    check(make(), range(0, len(GRID), 7))


@pytest.mark.parametrize("make", [models.branching, models.residual, models.skip_from_input, models.two_inputs])
def test_the_minimum_cut_is_the_best_down_set(make):
    proto = make()
    simplify(proto)
    graph = Graph.of(proto)
    exact = Exact(graph)
    for point in GRID[::29]:
        assert exact.least_ms(point) == pytest.approx(min(_every_down_set(graph, point)), rel=ROUNDING)


def _every_down_set(graph: Graph, point: Point) -> Iterator[float]:
    makers = {name: at for at, step in enumerate(graph.steps) for name in step.makes}
    needs = [{makers[name] for name in step.reads if name in makers} for step in graph.steps]
    for chosen in product((False, True), repeat=len(graph.steps)):
        if any(inside and not all(chosen[other] for other in needs[at]) for at, inside in enumerate(chosen)):
            continue
        tail = [step for step, inside in zip(graph.steps, chosen, strict=True) if not inside]
        live = {name for step in tail for name in step.reads if name not in makers or chosen[makers[name]]}
        total = 0.0
        for step, inside in zip(graph.steps, chosen, strict=True):
            total += operations(graph, step) * MS_PER_OPERATION * (point.slowness if inside else point.load)
        for name in live:
            spec = graph.spec(name)
            share = 1.0 if spec is None or spec.lossless_only else point.coded_share
            total += (graph.nbytes(name) * share + TENSOR_BYTES) * 8e3 / point.rate_bps
            total += graph.nbytes(name) * CROSSING_MS_PER_BYTE
        yield total + (REQUEST_BYTES * 8e3 / point.rate_bps if live else 0)


@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_the_optimum_is_not_always_at_an_end(make):
    proto = make()
    simplify(proto)
    graph = Graph.of(proto)
    exact = Exact(graph)
    whole_ms = exact.work.sum()
    sent_ms = sum(graph.nbytes(name) for name in graph.inputs) * 8e3

    def ends_ms(point: Point) -> float:
        return min(whole_ms * point.slowness, whole_ms * point.load + sent_ms * point.coded_share / point.rate_bps)

    assert max(ends_ms(point) / exact.least_ms(point) for point in GRID[::7]) > 1.01


def test_efficientnet_lite0_is_near_the_optimum():
    check(efficientnet_lite0(), range(0, len(GRID), 7))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_well_known_graphs_are_near_the_optimum_everywhere(name):
    check(light(name), range(len(GRID)))
