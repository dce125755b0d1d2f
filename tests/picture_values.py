"""Bundles and reports as plain values, for the tests of `splitinfer.picture`: nothing is built, run or written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from splitinfer.bundle import Bundle, CutEntry
from splitinfer.bundle.manifest import Manifest, SegmentEntry, digest_of
from splitinfer.bundle.records import Info
from splitinfer.events import Outcome
from splitinfer.model import TensorSpec
from splitinfer.picture import Change, Figures, Leg, Moment, Report, Run, Stretch
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard

CODECS = ("raw", "raw+zstd1", "half", "int8+zstd1", "int4+zstd1")
STRETCHES = (Stretch("wifi", 0, 4, 24, 8), Stretch("tunnel", 4, 6, 0, 45), Stretch("lte", 6, 10, 6, 45))


def parsed(page: str) -> ET.Element:
    """A page as a tree; it must be well-formed XML."""
    head, _, body = page.partition("\n")
    assert head == "<!DOCTYPE html>"
    return ET.fromstring(body)


def titles(root: ET.Element) -> list[str]:
    """What the pointer shows in the drawings."""
    return [e.text or "" for svg in root.iter("svg") for e in svg.iter("title")]


def words(root: ET.Element) -> str:
    """Everything that can be read."""
    return "\n".join(text for text in root.find("body").itertext())


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _cuts(n: int, name: str) -> Iterator[CutEntry]:
    yield CutEntry("0" * 12, name, (TensorSpec(name, "float32", (None, 3, 64, 64)),))
    for i in range(1, n):
        tensors = tuple(TensorSpec(f"{name}_{i}_{k}", "float32", (None, 8 * k + 1, 16, 16)) for k in range(i % 7 + 1))
        yield CutEntry(f"{i:012x}", f"{name}_{i}", tensors)
    yield CutEntry("f" * 12, "end", ())


def bundle(n: int, *, name: str = "net", holds: int | None = None, scored: bool = True, profiled: bool = True) -> Bundle:
    """A bundle of n segments, the first `holds` of them present; cut i is crossed by i % 7 + 1 tensors."""
    cuts = tuple(_cuts(n, name))
    segments = tuple(SegmentEntry(_sha(f"s{i}"), (_sha(f"w{i}"),), i + 1, 1000 * (i % 5 + 1), (), ()) for i in range(n))
    blobs = {blob: 1000 * (i + 1) for i, s in enumerate(segments) for blob in (s.sha256, *s.weights)}
    outputs = (TensorSpec("scores", "float32", (None, 10)),)
    manifest = Manifest(cuts[0].tensors, outputs, cuts, segments, blobs, {}, None, {}, batches=True)
    held = n if holds is None else holds
    model = manifest.model(digest_of(manifest.encode()), name, "1", frozenset(range(held)))
    times = tuple(0.5 + i if i < held else None for i in range(n))
    scores = {Plan(c.index, codec): _score(c.nbytes, k) for c in model.cuts[:-1] for k, codec in enumerate(CODECS)}
    profile = Profile(model.digest, "desk", "engine 1", times, tail_ms=tuple(float(n - i) for i in range(n + 1)))
    return Bundle(
        path=Path("nowhere"),
        model=model,
        manifest=manifest,
        tables={},
        info=Info(name, "1"),
        scorecard=Scorecard(model.digest, scores) if scored else None,
        profile=profile if profiled else None,
    )


def _score(nbytes: int, k: int) -> PlanScore:
    losses = (0.0, 0.0, None, 0.008, 0.2)
    return PlanScore(nbytes >> k, nbytes >> k, losses[k], losses[k], 64, None)


def run(name: str, mean_ms: float, se_ms: float, changes: tuple[Change, ...] = (), battery: float | None = 0.5) -> Run:
    """A run of 20 requests with every outcome; the rate is unknown in the tunnel."""
    outcomes = list(Outcome)
    moments = tuple(
        Moment(
            at_s=i / 2,
            latency_ms=mean_ms + i,
            plan=Plan(i % 3, "raw"),
            outcome=outcomes[i % len(outcomes)],
            right=i % 9 != 0,
            believed_mbps=None if 8 <= i < 12 else 5.0 + i,
            battery=battery,
        )
        for i in range(20)
    )
    figures = Figures(20, 20, mean_ms, se_ms, 3 * mean_ms, 12_345.0, 2, 0.95, 120.0)
    return Run(name, f"static:{name}", figures, (mean_ms, None, mean_ms), moments, changes)


def report(slowdowns: tuple[float, ...] = (8.0,), name: str = "ours") -> Report:
    """`ours` beats `slow`, is beaten by `fast`, and cannot be told from `twin`."""
    changes = (
        Change(-0.1, None, Plan(2, "none"), "start", "first"),
        Change(1.0, Plan(2, "none"), Plan(1, "int8+zstd1"), "link", "expects 30 ms"),
        Change(5.0, Plan(1, "int8+zstd1"), Plan(2, "none"), "battery", "saves energy"),
    )
    legs = tuple(
        Leg(
            s, name, (run("slow", 90 * s, 1), run("fast", 20 * s, 1), run("twin", 51 * s, 9 * s), run(name, 50 * s, 1, changes))
        )
        for s in slowdowns
    )
    return Report("a demo", "what was run", {"machine": "desk"}, STRETCHES, 250.0, 2, legs)
