"""A model, a device and a cloud as figures: what a simulation needs instead of a network, a phone and a cluster.

Four are built in. Their tensors are those of the published architectures; times and powers are figures from published ranges,
not measured here. Cuts are the places where less crosses than at every place before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from splitinfer.codec import codecs_for
from splitinfer.energy import Power
from splitinfer.events import ModelReady
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard

Stage = tuple[str, float, int]
"""Name, millions of multiply-adds, elements of its output."""

RESNET50: tuple[Stage, ...] = (
    ("conv1", 118, 802_816),
    ("pool", 0, 200_704),
    *((f"layer1.{i}", m, 802_816) for i, m in enumerate((231, 218, 218))),
    *((f"layer2.{i}", m, 401_408) for i, m in enumerate((372, 218, 218, 218))),
    *((f"layer3.{i}", m, 200_704) for i, m in enumerate((372, 218, 218, 218, 218, 218))),
    *((f"layer4.{i}", m, 100_352) for i, m in enumerate((372, 218, 218))),
    ("gap", 0, 2_048),
    ("fc", 2, 1_000),
)
MOBILENET_V2: tuple[Stage, ...] = (
    ("conv", 10.8, 401_408),
    ("block1", 10.4, 200_704),
    ("block2", 27, 75_264),
    ("block3", 19, 75_264),
    ("block4", 14.6, 25_088),
    ("block5", 9.9, 25_088),
    ("block6", 9.9, 25_088),
    ("block7", 8, 12_544),
    ("block8", 10.2, 12_544),
    ("block9", 10.2, 12_544),
    ("block10", 10.2, 12_544),
    ("block11", 13.4, 18_816),
    ("block12", 22, 18_816),
    ("block13", 22, 18_816),
    ("block14", 15.5, 7_840),
    ("block15", 15.8, 7_840),
    ("block16", 15.8, 7_840),
    ("block17", 23.3, 15_680),
    ("last", 20, 62_720),
    ("gap", 0, 1_280),
    ("classifier", 1.3, 1_000),
)
"""He et al. 2016 and Sandler et al. 2018, at 224 x 224."""

ELEMENT_M = 2e-5
"""Millions of multiply-adds that moving one element of an output takes as long as."""
CODECS: tuple[tuple[str, float, float, float], ...] = (
    ("raw", 4.0, 0.0, 0.0),
    ("half", 2.0, 0.7e-6, 0.3e-6),
    ("int8", 1.0, 1.5e-6, 0.5e-6),
    ("int8+zstd1", 0.55, 6.5e-6, 1.0e-6),
    ("int4+zstd1", 0.32, 5.0e-6, 1.0e-6),
)
"""Codec, bytes an element, ms an element to encode on the device and to decode in the cloud."""
FRAMING_BYTES = 200
INPUT_DECODE_MS = 1.0


@dataclass(frozen=True)
class Workload:
    """What is simulated.

    Attributes:
        name: label.
        about: for people.
        ready: model, device and scorecard as figures.
        latency_ms: what requests should take at most.
        power: of the device.
    """

    name: str
    about: str
    ready: ModelReady
    latency_ms: float
    power: Power

    @property
    def local_ms(self) -> float:
        """What the device takes alone."""
        return self.ready.profile.head_ms(self.ready.model.n)

    @cached_property
    def feasible(self) -> bool:
        """Whether the device alone is in time."""
        return self.ready.model.whole and self.local_ms <= self.latency_ms


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its cloud, by how long they take for the whole model.

    Attributes:
        device_ms: on the device.
        cloud_ms: in the cloud.
        compute_w: power of the device when it computes.
        input_bytes: of the input as it crosses at cut 0.
        input_ms: to prepare that.
    """

    device_ms: float
    cloud_ms: float
    compute_w: float
    input_bytes: int
    input_ms: float


def made_of(name: str, about: str, stages: Sequence[Stage], device: Device, latency_ms: float) -> Workload:
    """A workload from an architecture: cut where less crosses than anywhere before."""
    work = [m + elements * ELEMENT_M for _, m, elements in stages]
    shares = [0.0, *(done / sum(work) for done in accumulate(work))]
    kept = _narrowing(stages)
    places = [0, *(index + 1 for index in kept), len(stages)]
    depths = [shares[place] for place in places]
    n = len(places) - 1
    specs = [TensorSpec("input", "uint8", (device.input_bytes,))]
    specs += [TensorSpec(stages[index][0], "float32", (1, stages[index][2])) for index in kept]
    cuts = [Cut(k, f"{k:012x}", spec.name, (spec,), depths[k]) for k, spec in enumerate(specs)]
    cuts.append(Cut(n, f"{n:012x}", "end", (), 1.0))
    names = [*(spec.name for spec in specs), "output"]
    segments = tuple(Segment(i, f"{i:064x}", 0, 1, 0, (names[i],), (names[i + 1],)) for i in range(n))
    digest = Digest(f"{sum(map(ord, name)):064x}")
    outputs = (TensorSpec("output", "float32", (1, stages[-1][2])),)
    model = Model(digest, name, "1", (specs[0],), outputs, tuple(cuts), segments, frozenset(range(n)))
    ready = ModelReady(model, _profile(digest, device, depths), Scorecard(digest, {}))
    return Workload(name, about, _scored(ready, device, [stages[i][2] for i in kept]), latency_ms, Power(device.compute_w, 0.0))


def _narrowing(stages: Sequence[Stage]) -> list[int]:
    kept: list[int] = []
    for index, (_, _, elements) in enumerate(stages[:-1]):
        if all(elements < stages[before][2] for before in kept):
            kept.append(index)
    return kept


def _profile(digest: Digest, device: Device, depths: Sequence[float]) -> Profile:
    segment_ms = tuple(device.device_ms * (b - a) for a, b in pairwise(depths))
    tail_ms = tuple(device.cloud_ms * (1 - depth) for depth in depths)
    return Profile(digest, "published figures", "none", segment_ms, tail_ms=tail_ms)


def _scored(ready: ModelReady, device: Device, elements: Sequence[int]) -> ModelReady:
    plain = PlanScore(device.input_bytes, device.input_bytes, 0.0, 0.0, 1)
    scores = {Plan(0, codec.id): plain for codec in codecs_for(ready.model.cuts[0]) if codec.lossless}
    encode_ms, decode_ms = dict.fromkeys(scores, device.input_ms), dict.fromkeys(scores, INPUT_DECODE_MS)
    for cut, count in enumerate(elements, 1):
        for codec, wide, encode, decode in CODECS:
            plan, nbytes = Plan(cut, codec), int(count * wide) + FRAMING_BYTES
            scores[plan] = PlanScore(nbytes, nbytes, 0.0, 0.0, 1)
            encode_ms[plan], decode_ms[plan] = count * encode, count * decode
    profile = ready.profile
    timed = Profile(profile.digest, profile.device, profile.engine, profile.segment_ms, encode_ms, decode_ms, profile.tail_ms)
    return ModelReady(ready.model, timed, Scorecard(profile.digest, scores, "assumed"))


WORKLOADS = {
    workload.name: workload
    for workload in (
        made_of("A", "ResNet-50 in 320 ms, raw input of 150 KB", RESNET50, Device(320, 12, 6.0, 150_528, 0.5), 300),
        made_of("B", "ResNet-50 in 320 ms, JPEG input of 32 KB", RESNET50, Device(320, 12, 6.0, 32_000, 4.0), 400),
        made_of("C", "MobileNetV2 in 110 ms, JPEG input of 32 KB", MOBILENET_V2, Device(110, 4, 3.6, 32_000, 6.0), 150),
        made_of("D", "ResNet-50 in 160 ms, JPEG input of 32 KB", RESNET50, Device(160, 12, 3.0, 32_000, 3.0), 200),
    )
}
"""Boards of the class of a Raspberry Pi 5 (A, B) and 4 (C), a phone (D), with the latency that an application may wish for."""
