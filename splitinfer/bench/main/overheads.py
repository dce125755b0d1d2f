"""What splitting costs where nothing is gained: cutting, deciding, driving, serving. CPU time, ratios within one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from splitinfer.backends.ort import OrtEngine
from splitinfer.bench.models import efficientnet_lite0, light
from splitinfer.bench.rows import Row, at_most
from splitinfer.build import BuildOptions, build, random_feeds
from splitinfer.bundle import Bundle
from splitinfer.engine import Engine, Held
from splitinfer.flow import Done, Encode, Encoded, Ran, Run, Send, Sent, Terms, infer
from splitinfer.payload import Packer
from splitinfer.plan import Budget, Conditions, Cost, Offer, Plan, PlanScore, Uplink
from splitinfer.policy import Robust, Table
from splitinfer.remote import Reply

ROUNDS = 25
PLANS = 120
DECISIONS = 2000
REQUESTS = 2000
FRONTIER_MODELS = ("efficientnet_lite0", "light_resnet50")


def measure() -> list[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: _bundle(name, Path(folder)) for name in FRONTIER_MODELS}
        rows = [row for name, bundle in bundles.items() for row in _cutting(name, bundle)]
        rows += [_deciding(), _driving(bundles["efficientnet_lite0"])]
    return rows


def _bundle(name: str, folder: Path) -> Bundle:
    model = efficientnet_lite0() if name == "efficientnet_lite0" else light(name)
    onnx.save(model, folder / f"{name}.onnx")
    return build(folder / f"{name}.onnx", folder / f"{name}.bundle", BuildOptions(name=name))


def _cutting(name: str, bundle: Bundle) -> list[Row]:
    """CPU time of head + tail over the whole, at each cut of the frontier; and of all segments one by one, as the device runs them."""
    engine = OrtEngine(bundle)
    n = bundle.model.n
    ranges = {f"head and tail at cut {k}": ((0, k), (k, n)) for k in range(1, n)}
    ranges["segment by segment"] = tuple((k, k + 1) for k in range(n))
    rows = []
    for what, chain in ranges.items():
        ratios = _ratios(engine, engine.hold(0, random_feeds(bundle.model)), chain)
        low, middle, high = np.percentile(ratios, [10, 50, 90])
        rows.append(
            Row(
                f"{name}: CPU of {what}, over the whole",
                float(middle),
                "ratio",
                at_most(1.06),
                rival="the uncut model",
                ratio=float(middle),
                n=ROUNDS,
                spread=float(high - low) / 2,
            )
        )
    return rows


def _ratios(engine: Engine, held: Held, chain: tuple[tuple[int, int], ...]) -> list[float]:
    n = engine.model.n
    ratios = []
    for round_ in range(ROUNDS + 3):
        whole_s = _cpu_s(lambda: engine.run(0, n, held))
        parts_s = _cpu_s(lambda: _chain(engine, held, chain))
        if round_ >= 3:
            ratios.append(parts_s / whole_s)
    return ratios


def _chain(engine: Engine, held: Held, chain: tuple[tuple[int, int], ...]) -> None:
    for start, stop in chain:
        held = engine.run(start, stop, held)


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


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
    table, policy, budget = Table(rows), Robust(), Budget(latency_ms=100)
    times = []
    for index in range(DECISIONS):
        conditions = Conditions(link_up=True, uplink=Uplink(1e6 * (1 + index % 50), 0.3, 30.0), battery=0.4, charging=False)
        began = time.perf_counter()
        policy.decide(table, conditions, budget, rows[index % PLANS].plan)
        times.append((time.perf_counter() - began) * 1e6)
    low, middle, high = np.percentile(times, [10, 50, 90])
    return Row(
        f"choosing a plan, {PLANS} plans, p50", float(middle), "us", at_most(150), n=DECISIONS, spread=float(high - low) / 2
    )


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
    low, middle, high = np.percentile(times, [10, 50, 90])
    return Row("flow overhead a request, p50", float(middle), "us", at_most(50), n=REQUESTS, spread=float(high - low) / 2)
