"""Workloads as files, and workloads of bundles. docs/json.md describes the file.

A file holds what a simulation uses and nothing else: no weights, no samples, of the network only sizes and times. It gives the
same runs, bit for bit, as the workload that it was written from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from splitinfer.bundle import Bundle
from splitinfer.codec import codec
from splitinfer.energy import RADIOS, Power, Radio
from splitinfer.errors import CorruptBundle, SimulationError, UnknownCodec
from splitinfer.events import ModelReady
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Offer, Plan, PlanScore, Profile, Scorecard, offers
from splitinfer.sim.json_place import Place, parse
from splitinfer.sim.world import Workload

FORMAT = "splitinfer workload 1"
TIME_MAX_MS = 3.6e6
"""Of one stage: an hour."""
_RADIO = ("active_w", "nj_per_bit", "tail_w", "tail_ms", "promotion_w", "promotion_ms")
_CUT = ("name", "depth", "tail_ms", "tensors")
_PLAN = ("cut", "codec", "bytes_p50", "bytes_p95", "encode_ms", "decode_ms", "accuracy_loss", "accuracy_loss_bound", "n")
_TOP = ("format", "name", "about", "latency_ms", "power", "device", "engine", "metric", "segment_ms", "cuts", "plans")


def of_bundle(bundle: Bundle, latency_ms: float = inf, power: Power | None = None) -> Workload:
    """What a bundle says of itself: its model, its reference times, its scorecard.

    Args:
        bundle: any; only what it holds can run on the device.
        latency_ms: what requests should take at most; infinity = no limit.
        power: of the device; None = `Power()`.

    Raises:
        CorruptBundle: it has no reference times.
    """
    if bundle.profile is None:
        raise CorruptBundle(f"{bundle.path} has no reference profile: build it again")
    model = bundle.model
    scorecard = bundle.scorecard or Scorecard(model.digest, {})
    about = f"bundle {model.name}@{model.version}, times of {bundle.profile.device}"
    return Workload(model.name, about, ModelReady(model, bundle.profile, scorecard), latency_ms, power or Power())


def to_text(workload: Workload) -> str:
    """A workload as a JSON document."""
    model, profile, power = workload.ready.model, workload.ready.profile, workload.power
    cuts = zip(model.cuts, profile.tail_ms, strict=True)
    document: dict[str, Any] = {
        "format": FORMAT,
        "name": workload.name,
        "about": workload.about,
        "latency_ms": float(workload.latency_ms) if isfinite(workload.latency_ms) else None,
        "power": {"compute_w": power.compute_w, "idle_w": power.idle_w, **_radios(power)},
        "device": profile.device,
        "engine": profile.engine,
        "metric": workload.ready.scorecard.metric,
        "image_input": model.image_input,
        "segment_ms": [ms if i in model.holds else None for i, ms in enumerate(profile.segment_ms)],
        "cuts": [
            {"name": cut.name, "depth": cut.depth, "tail_ms": tail_ms, "tensors": [asdict(spec) for spec in cut.tensors]}
            for cut, tail_ms in cuts
        ],
        "plans": [_row(offer) for offer in offers(model, profile, workload.ready.scorecard) if not offer.local],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _radios(power: Power) -> dict[str, Any]:
    """Those that are not the usual ones."""
    own = {name: radio for name, radio in power.radios.items() if radio != RADIOS.get(name)}
    written = {name: {key: getattr(radio, key) for key in _RADIO} for name, radio in own.items()}
    return {"radios": written} if written else {}


def _row(offer: Offer) -> dict[str, Any]:
    score, cost = offer.score, offer.cost
    loss, bound = score.accuracy_loss, score.accuracy_loss_bound
    values = (
        offer.plan.cut,
        offer.plan.codec,
        score.bytes_p50,
        score.bytes_p95,
        cost.encode_ms,
        cost.decode_ms,
        loss,
        bound,
        score.n,
    )
    return dict(zip(_PLAN, values, strict=True))


def read(path: str | Path) -> Workload:
    """Reads a file.

    Raises:
        SimulationError: it cannot be read, or is no workload; names the place and what is expected there.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SimulationError(
            f"cannot read the workload {path}: give a file like those of `simulate A --save-workload`"
        ) from error
    try:
        return from_text(text)
    except SimulationError as error:
        raise SimulationError(f"workload {path}: {error}") from error


def from_text(text: str) -> Workload:
    """A workload from a JSON document.

    Raises:
        SimulationError: it is none; names the place and what is expected there.
    """
    top = parse(text).fields(_TOP, ("image_input",))
    if top["format"].value != FORMAT:
        top["format"].refuse(f'"{FORMAT}"')
    limit_ms = top["latency_ms"].maybe_number()
    digest = Digest(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
    ready = ModelReady(_model(digest, top), _profile(digest, top), _scorecard(digest, top))
    return Workload(top["name"].text(), top["about"].text(), ready, inf if limit_ms is None else limit_ms, _power(top["power"]))


def _model(digest: Digest, top: dict[str, Place]) -> Model:
    cuts = _cuts(top["cuts"])
    segments_ms = top["segment_ms"].items()
    if len(segments_ms) != len(cuts) - 1:
        top["segment_ms"].refuse(f"{len(cuts) - 1} times, one for each pair of neighbouring cuts")
    if not any(ms.maybe_number() != 0.0 for ms in segments_ms):
        top["segment_ms"].refuse("a time above 0: what takes none cannot be compared with anything")
    names = [tuple(spec.name for spec in cut.tensors) for cut in cuts]
    segments = tuple(Segment(i, f"{i:064x}", 0, 1, 0, names[i], names[i + 1]) for i in range(len(segments_ms)))
    holds = frozenset(i for i, ms in enumerate(segments_ms) if ms.value is not None)
    image = top.get("image_input")
    image_input = None if image is None or image.value is None else image.text()
    return Model(digest, top["name"].text(), "1", cuts[0].tensors, (), cuts, segments, holds, image_input)


def _cuts(place: Place) -> tuple[Cut, ...]:
    places = [item.fields(_CUT) for item in place.items(least=2)]
    cuts = tuple(
        Cut(
            i,
            f"{i:012x}",
            at["name"].text(),
            tuple(_spec(spec) for spec in at["tensors"].items()),
            at["depth"].number(most=1.0),
        )
        for i, at in enumerate(places)
    )
    for at, (before, after) in zip(places, pairwise(cuts), strict=False):
        if not before.tensors:
            at["tensors"].refuse("a list of at least 1; only behind the last cut nothing crosses")
        if after.depth < before.depth:
            places[after.index]["depth"].refuse(f"at least the {before.depth:g} of the cut before")
    if cuts[-1].tensors:
        places[-1]["tensors"].refuse("an empty list: nothing crosses at the last cut")
    return cuts


def _spec(place: Place) -> TensorSpec:
    at = place.fields(("name", "dtype", "shape"))
    try:
        dtype = np.dtype(at["dtype"].text()).name
    except TypeError:
        at["dtype"].refuse('the name of a type, for example "float32"')
    shape = tuple(None if dim.value is None else dim.count() for dim in at["shape"].items())
    return TensorSpec(at["name"].text(), dtype, shape)


def _profile(digest: Digest, top: dict[str, Place]) -> Profile:
    rows = _rows(top)
    return Profile(
        digest,
        top["device"].text(),
        top["engine"].text(),
        tuple(ms.maybe_number(most=TIME_MAX_MS) for ms in top["segment_ms"].items()),
        {plan: at["encode_ms"].number(most=TIME_MAX_MS) for plan, at in rows},
        {plan: at["decode_ms"].number(most=TIME_MAX_MS) for plan, at in rows},
        tuple(item.fields(_CUT)["tail_ms"].number(most=TIME_MAX_MS) for item in top["cuts"].items()),
    )


def _scorecard(digest: Digest, top: dict[str, Place]) -> Scorecard:
    return Scorecard(digest, {plan: _score(at) for plan, at in _rows(top)}, top["metric"].text())


def _rows(top: dict[str, Place]) -> Sequence[tuple[Plan, dict[str, Place]]]:
    last = len(top["cuts"].items()) - 1
    rows = [(_plan(at, last), at) for at in (item.fields(_PLAN) for item in top["plans"].items())]
    seen: set[Plan] = set()
    for plan, at in rows:
        if plan in seen:
            at["codec"].refuse(f"each plan once; {plan} is there twice")
        seen.add(plan)
    return rows


def _plan(at: dict[str, Place], last: int) -> Plan:
    cut, name = at["cut"].count(), at["codec"].text()
    if cut >= last:
        at["cut"].refuse(f"a cut before the last one, at most {last - 1}")
    try:
        codec(name)
    except UnknownCodec:
        at["codec"].refuse("a codec that is installed here")
    return Plan(cut, name)


def _score(at: dict[str, Place]) -> PlanScore:
    loss, bound = (at[key].maybe_number(least=-1e9) for key in ("accuracy_loss", "accuracy_loss_bound"))  # below 0: a gain
    return PlanScore(at["bytes_p50"].count(), at["bytes_p95"].count(), loss, bound, at["n"].count())


def _power(place: Place) -> Power:
    at = place.fields(("compute_w", "idle_w"), ("radios",))
    radios = dict(RADIOS)
    if "radios" in at:
        for name, radio in at["radios"].entries().items():
            figures = radio.fields(_RADIO)
            radios[name] = Radio(name, *(figures[key].number() for key in _RADIO))
    return Power(at["compute_w"].number(), at["idle_w"].number(), radios)
