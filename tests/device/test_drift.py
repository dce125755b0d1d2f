"""A device whose inputs stop being what the codecs were made for: real sockets, a real tail, every answer right."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from splitinfer.bundle import Bundle, trim
from splitinfer.codec import codec
from splitinfer.device import Client, Settings
from splitinfer.events import Inferred, InputsDrifted, LinkChanged, Outcome, PlanChanged, PowerRead
from splitinfer.plan import Budget, Plan, PlanScore, Scorecard
from tests.bundles import tiny_input

LOSSY = Plan(1, "int8")
NOT_AT_CUT_0 = Budget(depth_min=0.01)


@pytest.fixture(scope="module")
def head(bundle_path, tmp_path_factory):
    """A head alone, whose cheapest plan is a lossy one: with the cloud or not at all."""
    trimmed = trim(Bundle.open(bundle_path), tmp_path_factory.mktemp("heads") / "one", 1)
    return trimmed.save_scorecard(Scorecard(trimmed.digest, {LOSSY: PlanScore(10, 10, 0.0, 0.0, 200)})).path


def odd_input():
    """What an activation that is not finite comes from."""
    x = tiny_input(seed=5)["x"]
    x[0, 0, 3, 3] = np.inf
    return {"x": x}


class Ear:
    """Hears everything, and knows when the link is up and when so many requests were told."""

    def __init__(self, requests: int = 0):
        self.events = []
        self.up, self.told = threading.Event(), threading.Event()
        self._requests = requests

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, LinkChanged) and event.up:
            self.up.set()
        if len(self.heard(Inferred)) == self._requests:
            self.told.set()

    def heard(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def settings(self, policy: str = "robust") -> Settings:
        return Settings(policy, observers=(self,), read_power=lambda: PowerRead(None))


def test_odd_inputs_get_right_answers_and_then_a_lossless_plan(cloud, tiny, bundle_path, head):
    ear = Ear(requests=5)
    with Client(bundle_path) as alone:
        want, usual = alone.infer(odd_input()).outputs, alone.infer(tiny_input()).outputs
    with Client(head, cloud.start(tiny).address, budget=NOT_AT_CUT_0, settings=ear.settings()) as client:
        assert ear.up.wait(10)
        assert client.plan == LOSSY
        results = [client.infer(odd_input()) for _ in range(4)]
        last = client.infer(tiny_input())
        assert client.conditions.drifted
        assert ear.told.wait(10)
    for result in (*results, last):
        assert result.outcome is Outcome.REMOTE
    assert not np.isfinite(want["logits"]).all(), "the odd input must be seen in the answer"
    for result in results:
        for name, array in want.items():
            np.testing.assert_allclose(result.outputs[name], array, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last.outputs["logits"], usual["logits"], rtol=1e-5, atol=1e-6)
    seen = [(event.plan == LOSSY, "a" in event.departed) for event in ear.heard(Inferred)]
    assert seen == [(True, True)] * 3 + [(False, False)] * 2
    assert [event.plan for event in ear.heard(InputsDrifted)] == [LOSSY]
    changed = next(event for event in ear.heard(PlanChanged) if event.cause == "drift")
    assert changed.old == LOSSY
    assert codec(changed.new.codec).lossless


def test_devices_with_odd_inputs_and_with_usual_ones_share_a_cloud(cloud, tiny, bundle_path):
    inputs = [odd_input(), tiny_input(), odd_input(), tiny_input(batch=2)]
    with Client(bundle_path) as alone:
        want = [alone.infer(one).outputs for one in inputs]
    got, ear = {}, Ear()
    with Client(bundle_path, cloud.start(tiny).address, settings=ear.settings("static:2/half")) as client:
        assert ear.up.wait(10)
        threads = [
            threading.Thread(target=lambda index=index: got.update({index: client.infer(inputs[index % 4])}))
            for index in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(got) == 12
    for index, result in got.items():
        assert result.outcome is Outcome.REMOTE
        exact = index % 4 in (0, 2)
        np.testing.assert_allclose(result.outputs["logits"], want[index % 4]["logits"], rtol=1e-5 if exact else 1e-2, atol=1e-3)
