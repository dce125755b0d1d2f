"""What lies beside the identity, as JSON: labels, scorecard, reference profile.

Each record that was measured names the digest that it is for. Knows no file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from splitinfer.errors import CorruptBundle
from splitinfer.model import Digest
from splitinfer.plan import Leak, Plan, PlanScore, Profile, Scorecard

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Info:
    """Labels and where the bundle came from.

    Attributes:
        name: label.
        version: label.
        build: anything that JSON can hold.
    """

    name: str
    version: str
    build: Mapping[str, Any] = field(default_factory=dict)


def encode_info(info: Info) -> bytes:
    """Info as JSON."""
    return _encode({"name": info.name, "version": info.version, "build": dict(info.build)})


def decode_info(data: bytes) -> Info:
    """Info from JSON.

    Raises:
        CorruptBundle: it is not info.
    """
    raw = _parse(data, "info.json")
    try:
        return Info(str(raw["name"]), str(raw["version"]), dict(raw["build"]))
    except _MALFORMED as error:
        raise _malformed("info.json") from error


def encode_scorecard(scorecard: Scorecard) -> bytes:
    """A scorecard as JSON."""
    rows = [{"cut": plan.cut, "codec": plan.codec, **asdict(score)} for plan, score in sorted(scorecard.scores.items())]
    return _encode({"digest": scorecard.digest, "metric": scorecard.metric, "dropped": scorecard.dropped, "scores": rows})


def decode_scorecard(data: bytes, digest: Digest) -> Scorecard:
    """A scorecard from JSON.

    Raises:
        CorruptBundle: it is not a scorecard, or not for this digest.
    """
    raw = _parse(data, "the scorecard")
    _check_digest(raw, digest, "the scorecard")
    try:
        scores = {Plan(int(row["cut"]), str(row["codec"])): _score(row) for row in raw["scores"]}
        return Scorecard(digest, scores, str(raw["metric"]), int(raw.get("dropped", 0)))
    except _MALFORMED as error:
        raise _malformed("the scorecard") from error


def encode_profile(profile: Profile) -> bytes:
    """A profile as JSON."""
    data = {
        "digest": profile.digest,
        "device": profile.device,
        "engine": profile.engine,
        "segment_ms": list(profile.segment_ms),
        "encode_ms": {str(plan): ms for plan, ms in sorted(profile.encode_ms.items())},
        "decode_ms": {str(plan): ms for plan, ms in sorted(profile.decode_ms.items())},
        "tail_ms": list(profile.tail_ms),
        "peak_bytes": list(profile.peak_bytes),
        "source": profile.source,
    }
    return _encode(data)


def decode_profile(data: bytes, digest: Digest) -> Profile:
    """A profile from JSON.

    Raises:
        CorruptBundle: it is not a profile, or not for this digest.
    """
    raw = _parse(data, "the profile")
    _check_digest(raw, digest, "the profile")
    try:
        return Profile(
            digest=digest,
            device=str(raw["device"]),
            engine=str(raw["engine"]),
            segment_ms=tuple(_maybe(ms) for ms in raw["segment_ms"]),
            encode_ms={Plan.parse(plan): float(ms) for plan, ms in raw["encode_ms"].items()},
            decode_ms={Plan.parse(plan): float(ms) for plan, ms in raw["decode_ms"].items()},
            tail_ms=tuple(float(ms) for ms in raw["tail_ms"]),
            peak_bytes=_peaks(raw.get("peak_bytes"), len(raw["segment_ms"])),
            source=str(raw["source"]),
        )
    except _MALFORMED as error:
        raise _malformed("the profile") from error


def _peaks(raw: Any, n: int) -> tuple[int | None, ...]:
    """A list, one entry a cut; with format 1 it was one number for all n segments, or null."""
    if raw is None:
        return ()
    peaks = raw if isinstance(raw, list) else [*[None] * n, raw]
    return tuple(None if nbytes is None else int(nbytes) for nbytes in peaks)


def _encode(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode("ascii")


def _parse(data: bytes, what: str) -> dict[str, Any]:
    try:
        raw = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _malformed(what) from error
    if not isinstance(raw, dict):
        raise _malformed(what)
    return raw


def _refuse(constant: str) -> None:
    # A loss of NaN would be within every budget.
    raise ValueError(f"{constant} is no figure")


def _check_digest(raw: Mapping[str, Any], digest: Digest, what: str) -> None:
    if raw.get("digest") != digest:
        raise CorruptBundle(f"{what} is for another bundle than {digest[:12]}: measure it again, or delete the file")


def _score(row: Mapping[str, Any]) -> PlanScore:
    return PlanScore(
        bytes_p50=int(row["bytes_p50"]),
        bytes_p95=int(row["bytes_p95"]),
        accuracy_loss=_maybe(row["accuracy_loss"]),
        accuracy_loss_bound=_maybe(row["accuracy_loss_bound"]),
        n=int(row["n"]),
        output_error=_maybe(row["output_error"]),
        divergence=_maybe(row.get("divergence")),  # this and what follows joined later; format 1 and 2 lack them
        groups=int(row.get("groups", 0)),
        leak_at_least=_leak(row.get("leak_at_least")),
    )


def _leak(raw: Any) -> Leak | None:
    if raw is None:
        return None
    return Leak(
        psnr_db=float(raw["psnr_db"]),
        ssim=_maybe(raw["ssim"]),
        baseline_psnr_db=float(raw["baseline_psnr_db"]),
        baseline_ssim=_maybe(raw["baseline_ssim"]),
        n=int(raw["n"]),
    )


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)


def _malformed(what: str) -> CorruptBundle:
    return CorruptBundle(f"{what} cannot be read: build or measure it again, or copy the bundle again")
