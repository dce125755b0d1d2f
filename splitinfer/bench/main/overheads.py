"""What splitting costs where nothing is gained: cutting, deciding, driving, serving. CPU time, ratios within one run."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.main import serving
from splitinfer.bench.main.bundles import LITE0, build_named
from splitinfer.bench.ratios import Chain, rounds
from splitinfer.bench.rows import Row, at_most, spread_of
from splitinfer.build import random_feeds
from splitinfer.bundle import Bundle
from splitinfer.flow import Done, Encode, Encoded, Ran, Run, Send, Sent, Terms, infer
from splitinfer.payload import Packer
from splitinfer.plan import Budget, Conditions, Cost, Offer, Plan, PlanScore, Uplink
from splitinfer.policy import Robust, Table
from splitinfer.remote import Reply

ROUNDS, WARM = 12, 1
PLANS = 120
DECISIONS = 2000
REQUESTS = 2000
NETWORKS = (LITE0, "light_resnet50")


def measure() -> list[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: build_named(name, Path(folder)) for name in NETWORKS}
        rows = [row for name, bundle in bundles.items() for row in _cutting(name, bundle)]
        return [*rows, _deciding(), _driving(bundles[LITE0]), *serving.measure()]


def _cutting(name: str, bundle: Bundle) -> list[Row]:
    """CPU time of head and tail over the whole, at each inner cut: the head as one session, and as the device runs it."""
    n = bundle.model.n
    chains: dict[str, Chain] = {f"head and tail at cut {at}": ((0, at), (at, n)) for at in range(1, n)}
    for at in range(2, n):
        chains[f"head by segments and tail at cut {at}"] = (*((i, i + 1) for i in range(at)), (at, n))
    engine = OrtEngine(bundle)
    held = engine.hold(0, random_feeds(bundle.model))
    ratios = np.array(list(islice(rounds(engine, held, tuple(chains.values())), WARM, WARM + ROUNDS)))
    return [_ratio_row(f"{name}: CPU of {what}", found) for what, found in zip(chains, ratios.T, strict=True)]


def _ratio_row(name: str, ratios: npt.NDArray[np.float64]) -> Row:
    middle = float(np.median(ratios))
    return Row(name, middle, "ratio", at_most(1.06), "the whole", middle, len(ratios), spread_of(ratios))


def _deciding() -> Row:
    rng = np.random.default_rng(0)
    rows = [
        Offer(
            Plan(index, "int8"),
            Cost(head_ms=float(rng.uniform(0, 80)), encode_ms=0.1, tail_ms=float(rng.uniform(0, 10))),
            PlanScore(int(rng.uniform(1e3, 1e5)), int(1e5), accuracy_loss=0.0),
            index / PLANS,
            local=index == PLANS - 1,
        )
        for index in range(PLANS)
    ]
    table, policy, budget = Table(tuple(rows)), Robust(), Budget(latency_ms=100)
    times = []
    for index in range(DECISIONS):
        conditions = Conditions(link_up=True, uplink=Uplink(1e6 * (1 + index % 50), 0.3, 30.0), battery=0.4, charging=False)
        began = time.perf_counter()
        policy.decide(table, conditions, budget, rows[index % PLANS].plan)
        times.append((time.perf_counter() - began) * 1e6)
    middle = float(np.median(times))
    return Row(f"choosing a plan of {PLANS}, p50", middle, "us", at_most(150), n=DECISIONS, spread=spread_of(times))


def _driving(bundle: Bundle) -> Row:
    """A request with every effect answered at once: what the flow itself takes."""
    model = bundle.model
    engine = OrtEngine(bundle)
    tensors = random_feeds(model)
    held = {0: engine.hold(0, tensors)}
    for index in range(model.n):
        held[index + 1] = engine.run(index, index + 1, held[index])
    plan = Plan(model.n - 1, "raw")
    payload = Packer(model, bundle.tables).pack(plan.cut, plan.codec, held[plan.cut].plain())
    reply = Reply(payload, 0.0, 0.1, 1.0, 1.2, 0.0, None, 5.0, payload.nbytes, 2.0)
    sent = Sent(5.0, reply=reply, outputs=held[model.n].outputs())
    terms = Terms(lambda _plan: None, lambda _cut: None)
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        flow = infer(model, held[0], lambda _cut: plan, terms)
        done: Done | None = None
        try:
            while True:
                effect = next(flow) if done is None else flow.send(done)
                match effect:
                    case Run(before, stop):
                        done = Ran(held[stop], 1.0, (1.0,) * (stop - before.at))
                    case Encode():
                        done = Encoded(payload, 0.1)
                    case Send():
                        done = sent
        except StopIteration:
            times.append((time.perf_counter() - began) * 1e6)
    return Row("flow overhead a request, p50", float(np.median(times)), "us", at_most(50), n=REQUESTS, spread=spread_of(times))
